"""openai and portkey-ai for Node against the scripted upstream: fields in any order, lengths known and unknown."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.scripts import READ_ALL, error, reply, send
from tests.flow.stage import CALLER_KEY, TRANSCRIPTIONS, TRANSLATIONS
from tests.sdks.ways import VIRTUAL_KEY, WAYS, Way, arrived, event_stream

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flow.stage import Stage
    from tests.sdks.driver import Node

pytestmark = pytest.mark.xdist_group("sdks")

BEARER = f"Bearer {CALLER_KEY}"
PORTKEY: dict[str, tuple[dict[str, Any], str]] = {
    "provider and Authorization": ({"provider": "up", "Authorization": BEARER}, CALLER_KEY),
    "provider and apiKey": ({"provider": "up", "apiKey": CALLER_KEY}, CALLER_KEY),
    "virtual key": ({"virtualKey": "vk"}, VIRTUAL_KEY),
    "virtual key as provider": ({"provider": "@vk"}, VIRTUAL_KEY),
    "config": ({"config": {"virtual_key": "vk"}}, VIRTUAL_KEY),
    "saved config": ({"config": "saved"}, VIRTUAL_KEY),
}
ENDPOINTS = {"transcribe": TRANSCRIPTIONS, "translate": TRANSLATIONS}


def base(stage: Stage) -> str:
    return f"http://127.0.0.1:{stage.gateway.port}/v1"


def openai(stage: Stage, way: Way = WAYS["provider and Authorization"], **options: Any) -> dict[str, Any]:
    """The request for a call of ``openai``."""
    client = {"apiKey": way.bearer, "baseURL": base(stage), "defaultHeaders": way.headers, **options}
    return {"sdk": "openai", "client": client, "headers": ours(stage)}


def portkey(stage: Stage, way: dict[str, Any]) -> dict[str, Any]:
    """The request for a call of ``portkey-ai``."""
    client = {"baseURL": base(stage), "traceID": stage.token, **way}
    return {"sdk": "portkey", "client": client, "headers": ours(stage)}


def ours(stage: Stage) -> dict[str, str]:
    return {"x-script": stage.token, "x-portkey-trace-id": stage.token}


def file(recording: Path, how: str = "stream", place: str = "last") -> dict[str, str]:
    return {"path": str(recording), "as": how, "place": place}


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize(("how", "framing"), [("stream", "chunked"), ("buffer", "length")])
@pytest.mark.parametrize("call", ENDPOINTS)
def test_openai_uploads_arrive_in_the_order_they_were_given(
    stage: Stage, node: Node, recording: Path, call: str, how: str, framing: str, place: str
) -> None:
    answer = node.call(
        **openai(stage), call=call, file=file(recording, how, place), fields={"model": "whisper-1", "language": "en"}
    )
    assert answer["value"] == {"text": "hello"}
    seen = arrived(stage, recording, target=ENDPOINTS[call], framing=framing)
    names = ["model", "language"]
    assert [part.name for part in seen.parts] == (["file", *names] if place == "first" else [*names, "file"])


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_openai_finds_its_provider_every_way(stage: Stage, node: Node, recording: Path, way: Way, place: str) -> None:
    answer = node.call(
        **openai(stage, way), call="transcribe", file=file(recording, place=place), fields={"model": way.model}
    )
    assert answer["value"] == {"text": "hello"}
    arrived(stage, recording, key=way.key)


@pytest.mark.parametrize("how", ["stream", "buffer"])
@pytest.mark.parametrize("call", ENDPOINTS)
@pytest.mark.parametrize(("way", "key"), PORTKEY.values(), ids=PORTKEY)
def test_portkeys_calls_arrive_byte_for_byte(
    stage: Stage, node: Node, recording: Path, way: dict[str, Any], key: str, call: str, how: str
) -> None:
    answer = node.call(
        **portkey(stage, way), call=call, file=file(recording, how, "first"), fields={"model": "whisper-1"}
    )
    assert answer["value"]["text"] == "hello"
    arrived(stage, recording, key=key, target=ENDPOINTS[call])


@pytest.mark.parametrize("response_format", ["text", "srt", "vtt"])
def test_text_and_subtitles_come_back_as_they_are(
    stage: Stage, node: Node, recording: Path, response_format: str
) -> None:
    stage.script(READ_ALL, send(reply(body=b"1\nhello\n", content_type="text/plain; charset=utf-8")))
    fields = {"model": "whisper-1", "response_format": response_format}
    answer = node.call(**openai(stage), call="transcribe", file=file(recording), fields=fields)
    assert answer["value"] == "1\nhello\n"


def test_repeated_fields_and_the_replys_headers_cross(stage: Stage, node: Node, recording: Path) -> None:
    body = {"text": "hello", "words": [{"word": "hello", "start": 0, "end": 0.5}]}
    stage.script(READ_ALL, send(reply(body=json.dumps(body).encode(), headers=[("x-request-id", "req-1")])))
    fields = {
        "model": "whisper-1",
        "response_format": "verbose_json",
        "timestamp_granularities": ["word", "segment"],
    }
    answer = node.call(**openai(stage), call="transcribe", file=file(recording), fields=fields)
    assert answer["value"] == body
    assert answer["headers"]["x-request-id"] == "req-1"
    assert answer["headers"]["x-portkey-trace-id"] == stage.token
    assert arrived(stage, recording).fields("timestamp_granularities[]") == ["word", "segment"]


@pytest.mark.parametrize(
    "sdk", [openai, lambda stage: portkey(stage, PORTKEY["virtual key"][0])], ids=["openai", "portkey"]
)
def test_a_stream_is_a_stream_of_events(stage: Stage, node: Node, recording: Path, sdk: str) -> None:
    events: list[dict[str, Any]] = [
        {"type": "transcript.text.delta", "delta": "hello"},
        {"type": "transcript.text.done", "text": "hello"},
    ]
    stage.script(READ_ALL, send(event_stream(events)))
    fields = {"model": "gpt-4o-transcribe", "stream": True}
    request = openai(stage) if sdk == "openai" else portkey(stage, {"virtualKey": "vk"})
    answer = node.call(**request, call="transcribe", file=file(recording), fields=fields)
    assert answer["value"] == events
    assert stage.record()["stream"] is True


def test_speech_comes_back_byte_for_byte(stage: Stage, node: Node) -> None:
    sound = bytes(range(256)) * 300
    stage.script(READ_ALL, send(reply(body=sound, content_type="audio/mpeg")))
    fields = {"model": "tts-1", "input": "Hello", "voice": "alloy"}
    answer = node.call(**openai(stage), call="speak", fields=fields)
    assert answer["value"] == {"length": len(sound), "sha256": sha256(sound).hexdigest()}
    assert json.loads(stage.seen().body) == fields


def test_models_are_listed_through_the_gateway(stage: Stage, node: Node) -> None:
    model = {"id": "whisper-1", "object": "model", "created": 1, "owned_by": "openai"}
    stage.script(send(reply(body=json.dumps({"object": "list", "data": [model]}).encode())))
    assert node.call(**openai(stage), call="models")["value"]["data"] == [model]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "AuthenticationError"), (429, "RateLimitError"), (500, "InternalServerError")]
)
def test_an_upstreams_error_is_the_exception_of_its_status(
    stage: Stage, node: Node, recording: Path, status: int, kind: str
) -> None:
    stage.script(READ_ALL, send(error(status, "its_own_code")))
    request = openai(stage, maxRetries=0)
    answer = node.call(**request, call="transcribe", file=file(recording, "buffer"), fields={"model": "whisper-1"})
    found = answer["error"]
    assert (found["class"], found["status"], found["code"]) == (kind, status, "its_own_code")
    assert "the upstream says no" in found["message"]


def test_portkey_sends_no_upload_twice(stage: Stage, node: Node, recording: Path) -> None:
    """It sends a 5xx again unless the reply has a trace id: a transcription would be paid for twice."""
    stage.script(READ_ALL, send(error(500)))
    request = portkey(stage, PORTKEY["provider and Authorization"][0])
    answer = node.call(**request, call="transcribe", file=file(recording), fields={"model": "whisper-1"})
    assert answer["error"]["status"] == 500
    arrived(stage, recording)


@pytest.mark.parametrize(
    ("way", "kind", "code"),
    [
        (Way(), "BadRequestError", "missing_provider"),
        (Way({"x-portkey-provider": "up"}), "AuthenticationError", "missing_provider_key"),
        (Way({"x-portkey-config": "{"}), "BadRequestError", "invalid_config"),
    ],
    ids=["no provider", "no key", "no JSON"],
)
@pytest.mark.parametrize("how", ["stream", "buffer"])
def test_the_gateways_refusal_is_read_while_the_upload_goes_on(
    stage: Stage, node: Node, recording: Path, way: Way, kind: str, code: str, how: str
) -> None:
    answer = node.call(
        **openai(stage, way), call="transcribe", file=file(recording, how), fields={"model": "whisper-1"}
    )
    found = answer["error"]
    assert (found["class"], found["code"]) == (kind, code)
    assert stage.record()["error_code"] == code
    stage.unseen()
