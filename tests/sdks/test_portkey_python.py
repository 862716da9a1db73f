"""portkey-ai for Python against the scripted upstream: the calls of Portkey's speech-to-text guide."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from portkey_ai import AsyncPortkey, Portkey
from portkey_ai._vendor import openai as vendored

from tests.flow.scripts import READ_ALL, error, reply, send
from tests.flow.stage import CALLER_KEY, TRANSCRIPTIONS, TRANSLATIONS
from tests.sdks.ways import GATEWAY_KEY, VIRTUAL_KEY, arrived, event_stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.flow.stage import Stage

pytestmark = pytest.mark.xdist_group("sdks")

BEARER = f"Bearer {CALLER_KEY}"
NAMED = {"provider": "up", "Authorization": BEARER}
WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "provider and Authorization": (NAMED, CALLER_KEY),
    "provider and api_key": ({"provider": "up", "api_key": CALLER_KEY}, CALLER_KEY),
    "virtual key": ({"virtual_key": "vk"}, VIRTUAL_KEY),
    "virtual key as provider": ({"provider": "@vk"}, VIRTUAL_KEY),
    "config": ({"config": {"virtual_key": "vk"}}, VIRTUAL_KEY),
    "config with a retry": ({"config": {"virtual_key": "vk", "retry": {"attempts": 2}}}, VIRTUAL_KEY),
    "saved config": ({"config": "saved"}, VIRTUAL_KEY),
}


def options(stage: Stage, way: dict[str, Any]) -> dict[str, Any]:
    return {"base_url": f"http://127.0.0.1:{stage.gateway.port}/v1", "trace_id": stage.token, **way}


@contextmanager
def connected(stage: Stage, **way: Any) -> Iterator[Portkey]:
    """Yield a client; its connections are the vendored client's to close."""
    client = Portkey(**options(stage, way))
    with client.openai_client:
        yield client


def ours(stage: Stage) -> dict[str, str]:
    return {"x-script": stage.token}


@pytest.mark.parametrize("endpoint", ["transcriptions", "translations"])
@pytest.mark.parametrize(("way", "key"), WAYS.values(), ids=WAYS)
def test_the_guides_calls_arrive_byte_for_byte(
    stage: Stage, recording: Path, way: dict[str, Any], key: str, endpoint: str
) -> None:
    with connected(stage, **way) as client, recording.open("rb") as file:
        create = getattr(client.audio, endpoint).create
        answer = create(file=file, model="whisper-1", extra_headers=ours(stage))
    assert answer.text == "hello"
    target = TRANSCRIPTIONS if endpoint == "transcriptions" else TRANSLATIONS
    arrived(stage, recording, key=key, target=target, framing="length")
    assert stage.record()["route"] == endpoint


def test_a_virtual_key_in_the_model_needs_nothing_else(stage: Stage, recording: Path) -> None:
    with connected(stage) as client, recording.open("rb") as file:
        client.audio.transcriptions.create(file=file, model="@vk/whisper-1", extra_headers=ours(stage))
    arrived(stage, recording, key=VIRTUAL_KEY)


def test_a_gateway_key_is_sent_as_portkeys_own(keyed: Stage, recording: Path) -> None:
    with connected(keyed, api_key=GATEWAY_KEY, virtual_key="vk") as client, recording.open("rb") as file:
        answer = client.audio.transcriptions.create(file=file, model="whisper-1", extra_headers=ours(keyed))
    assert answer.text == "hello"
    arrived(keyed, recording, key=VIRTUAL_KEY)
    assert keyed.record()["key_name"] == "app"


def test_a_gateway_key_goes_beside_the_providers_own(keyed: Stage, recording: Path) -> None:
    with connected(keyed, api_key=GATEWAY_KEY, **NAMED) as client, recording.open("rb") as file:
        client.audio.transcriptions.create(file=file, model="whisper-1", extra_headers=ours(keyed))
    arrived(keyed, recording, key=CALLER_KEY)


async def test_the_async_client_transcribes(stage: Stage, recording: Path) -> None:
    client = AsyncPortkey(**options(stage, NAMED))
    async with client.openai_client:
        with recording.open("rb") as file:
            answer = await client.audio.transcriptions.create(file=file, model="whisper-1", extra_headers=ours(stage))
    assert answer.text == "hello"
    arrived(stage, recording)


def test_metadata_reaches_the_record_and_the_reply_tells_where_it_went(stage: Stage, recording: Path) -> None:
    metadata = {"_user": "ada", "team": "mobile"}
    with connected(stage, metadata=metadata, **NAMED) as client, recording.open("rb") as file:
        answer = client.audio.transcriptions.create(file=file, model="whisper-1", extra_headers=ours(stage))
    headers = answer.get_headers()
    assert headers["trace-id"] == stage.token
    assert headers["provider"] == "up"
    assert headers["last-used-option-index"] == "config"
    record = stage.record()
    assert record["metadata"] == metadata
    assert record["trace_id"] == stage.token


def test_verbose_json_has_its_words(stage: Stage, recording: Path) -> None:
    words = [{"word": "hello", "start": 0.0, "end": 0.5}]
    body = {"text": "hello", "language": "english", "duration": "1.5", "words": words}
    stage.script(READ_ALL, send(reply(body=json.dumps(body).encode())))
    with connected(stage, **NAMED) as client, recording.open("rb") as file:
        answer = client.audio.transcriptions.create(
            file=file,
            model="whisper-1",
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
            extra_headers=ours(stage),
        )
    assert [word.word for word in answer.words] == ["hello"]
    assert arrived(stage, recording).fields("timestamp_granularities[]") == ["word", "segment"]


def test_a_stream_is_a_stream_of_events(stage: Stage, recording: Path) -> None:
    events: list[dict[str, Any]] = [
        {"type": "transcript.text.delta", "delta": "hello"},
        {"type": "transcript.text.done", "text": "hello"},
    ]
    stage.script(READ_ALL, send(event_stream(events)))
    with connected(stage, **NAMED) as client, recording.open("rb") as file:
        stream = client.audio.transcriptions.create(
            file=file, model="gpt-4o-transcribe", stream=True, extra_headers=ours(stage)
        )
        assert [item.model_dump(exclude_unset=True) for item in stream] == events


def test_speech_comes_back_byte_for_byte(stage: Stage) -> None:
    sound = bytes(range(256)) * 300
    stage.script(READ_ALL, send(reply(body=sound, content_type="audio/mpeg")))
    with connected(stage, **NAMED) as client:
        answer = client.audio.speech.create(model="tts-1", input="Hello", voice="alloy", extra_headers=ours(stage))
        assert answer.read() == sound
    assert json.loads(stage.seen().body)["input"] == "Hello"


@pytest.mark.parametrize(("status", "kind"), [(401, "AuthenticationError"), (500, "InternalServerError")])
def test_an_upstreams_error_is_told_once(stage: Stage, recording: Path, status: int, kind: str) -> None:
    """The SDK sends a 5xx again unless the reply has a trace id: a transcription would be paid for twice."""
    stage.script(READ_ALL, send(error(status, "its_own_code")))
    says_no = pytest.raises(getattr(vendored, kind), match="the upstream says no")
    with connected(stage, **NAMED) as client, recording.open("rb") as file, says_no:
        client.audio.transcriptions.create(file=file, model="whisper-1", extra_headers=ours(stage))
    arrived(stage, recording)
    assert stage.record()["status"] == status


def test_the_gateways_refusal_has_the_gateways_words(stage: Stage, recording: Path) -> None:
    refused = pytest.raises(vendored.BadRequestError, match="nobody")
    with connected(stage, provider="nobody", Authorization=BEARER) as client, recording.open("rb") as file, refused:
        client.audio.transcriptions.create(file=file, model="whisper-1", extra_headers=ours(stage))
    assert stage.record()["error_code"] == "invalid_provider"
