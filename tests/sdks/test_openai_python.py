"""openai-python against the scripted upstream: what is called is what arrives, and what is answered is what returns."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.flow.scripts import READ_ALL, chunk, chunked_head, event, hold, reply, send, stepwise
from tests.flow.stage import CALLER_KEY, TRANSLATIONS
from tests.sdks.ways import GATEWAY_KEY, VIRTUAL_KEY, WAYS, Way, arrived, event_stream, openai_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.flow.stage import Stage

pytestmark = pytest.mark.xdist_group("sdks")

EVENTS: list[dict[str, Any]] = [
    {"type": "transcript.text.delta", "delta": "hel"},
    {"type": "transcript.text.delta", "delta": "lo"},
    {"type": "transcript.text.done", "text": "hello", "usage": {"type": "duration", "seconds": 1}},
]
WORDS = {
    "text": "hello",
    "duration": 1.5,
    "language": "english",
    "words": [{"word": "hello", "start": 0.0, "end": 0.5}],
}


class Pipe(io.RawIOBase):
    """A recording of unknown length, as from a microphone: the SDK sends it in chunks."""

    def __init__(self, recording: Path) -> None:
        self.name = str(recording)
        self._data = io.BytesIO(recording.read_bytes())

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(buffer)


# The guide's calls


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_transcription_arrives_byte_for_byte(
    stage: Stage, connect: Callable[..., OpenAI], recording: Path, way: Way, framing: str
) -> None:
    with recording.open("rb") as opened:
        file: Any = opened if framing == "length" else Pipe(recording)
        transcription = connect(way).audio.transcriptions.create(file=file, model=way.model)
    assert transcription.text == "hello"
    rewritten = way.model != "whisper-1"
    arrived(stage, recording, key=way.key, framing=None if rewritten else framing)
    record = stage.record()
    assert (record["status"], record["provider"]) == (200, "up")
    assert (record["model_requested"], record["model_used"]) == (way.model, "whisper-1")


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # OpenAI's for translations as a whole
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_translation_arrives_byte_for_byte(
    stage: Stage, connect: Callable[..., OpenAI], recording: Path, way: Way, framing: str
) -> None:
    with recording.open("rb") as opened:
        file: Any = opened if framing == "length" else Pipe(recording)
        translation = connect(way).audio.translations.create(file=file, model=way.model)
    assert translation.text == "hello"
    arrived(stage, recording, key=way.key, target=TRANSLATIONS)
    assert stage.record()["route"] == "translations"


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_file_may_come_before_the_fields(
    stage: Stage, connect: Callable[..., OpenAI], recording: Path, way: Way
) -> None:
    """The SDK's own method puts the file last; its generic one keeps the order it is given."""
    files = [("file", (recording.name, recording.read_bytes())), ("model", (None, way.model.encode()))]
    answer = connect(way).post(
        "/audio/transcriptions",
        cast_to=object,
        options={"headers": {"Content-Type": "multipart/form-data"}},
        files=files,
    )
    assert answer == {"text": "hello"}
    seen = arrived(stage, recording, key=way.key)
    if way.model == "whisper-1":
        assert [part.name for part in seen.parts] == ["file", "model"]


def test_a_gateway_key_and_a_virtual_key_are_what_the_hosted_portkey_asks_for(keyed: Stage, recording: Path) -> None:
    way = Way({"x-portkey-api-key": GATEWAY_KEY, "x-portkey-virtual-key": "vk"}, bearer=GATEWAY_KEY)
    with OpenAI(**openai_options(keyed, way)) as client:
        assert client.audio.transcriptions.create(file=recording, model="whisper-1").text == "hello"
    arrived(keyed, recording, key=VIRTUAL_KEY)
    assert keyed.record()["key_name"] == "app"


async def test_the_async_client_transcribes(stage: Stage, recording: Path) -> None:
    async with AsyncOpenAI(**openai_options(stage, WAYS["virtual key"])) as client:
        transcription = await client.audio.transcriptions.create(file=recording, model="whisper-1")
    assert transcription.text == "hello"
    arrived(stage, recording, key=VIRTUAL_KEY)


# Fields and headers


def test_every_field_arrives_known_or_not(stage: Stage, client: OpenAI, recording: Path) -> None:
    client.audio.transcriptions.create(
        file=recording,
        model="whisper-1",
        language="en",
        prompt="Ein Größen-Test: 日本",
        response_format="verbose_json",
        temperature=0.2,
        timestamp_granularities=["word", "segment"],
        include=["logprobs"],
        extra_body={"hotwords": "audiogate", "vad_filter": "true"},
    )
    seen = arrived(stage, recording)
    assert {part.name: seen.fields(part.name or "") for part in seen.parts if part.name != "file"} == {
        "model": ["whisper-1"],
        "language": ["en"],
        "prompt": ["Ein Größen-Test: 日本"],
        "response_format": ["verbose_json"],
        "temperature": ["0.2"],
        "timestamp_granularities[]": ["word", "segment"],
        "include[]": ["logprobs"],
        "hotwords": ["audiogate"],
        "vad_filter": ["true"],
    }


def test_metadata_and_trace_id_are_in_the_record(stage: Stage, connect: Callable[..., OpenAI], recording: Path) -> None:
    metadata = {"_user": "ada", "team": "mobile"}
    client = connect(Way({"x-portkey-provider": "up", "x-portkey-metadata": json.dumps(metadata)}, bearer=CALLER_KEY))
    client.audio.transcriptions.create(file=recording, model="whisper-1")
    record = stage.record()
    assert record["metadata"] == metadata
    assert record["trace_id"] == stage.token


def test_the_raw_response_has_the_gateways_headers_and_the_upstreams(
    stage: Stage, client: OpenAI, recording: Path
) -> None:
    stage.script(READ_ALL, send(reply(headers=[("x-request-id", "req-1"), ("openai-processing-ms", "7")])))
    raw = client.audio.transcriptions.with_raw_response.create(file=recording, model="whisper-1")
    assert raw.parse().text == "hello"
    assert raw.request_id == "req-1"
    wanted = {
        "openai-processing-ms": "7",
        "x-portkey-trace-id": stage.token,
        "x-portkey-provider": "up",
        "x-portkey-last-used-option-index": "config",
        "x-portkey-retry-attempt-count": "0",
        "x-portkey-cache-status": "DISABLED",
    }
    assert {name: raw.headers.get(name) for name in wanted} == wanted
    assert "upstream;dur=" in raw.headers["server-timing"]


# Replies


@pytest.mark.parametrize(
    ("response_format", "text"),
    [
        ("text", "hello\n"),
        ("srt", "1\n00:00:00,000 --> 00:00:00,500\nhello\n\n"),
        ("vtt", "WEBVTT\n\n00:00.000 --> 00:00.500\nhello\n\n"),
    ],
)
def test_text_and_subtitles_come_back_as_they_are(
    stage: Stage, client: OpenAI, recording: Path, response_format: Any, text: str
) -> None:
    stage.script(READ_ALL, send(reply(body=text.encode(), content_type="text/plain; charset=utf-8")))
    answer: Any = client.audio.transcriptions.create(file=recording, model="whisper-1", response_format=response_format)
    assert answer == text
    assert stage.record()["response_format"] == response_format


def test_verbose_json_has_its_words(stage: Stage, client: OpenAI, recording: Path) -> None:
    stage.script(READ_ALL, send(reply(body=json.dumps(WORDS).encode())))
    answer = client.audio.transcriptions.create(
        file=recording, model="whisper-1", response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert answer.words is not None
    assert [(word.word, word.start, word.end) for word in answer.words] == [("hello", 0.0, 0.5)]


def test_each_event_of_a_stream_comes_when_it_is_sent(stage: Stage, client: OpenAI, recording: Path) -> None:
    stage.script(READ_ALL, *stepwise([*(event(data) for data in EVENTS), event("[DONE]")]))
    with client.audio.transcriptions.create(file=recording, model="gpt-4o-transcribe", stream=True) as stream:
        for index, wanted in enumerate(EVENTS):
            stage.release(f"event-{index}")
            assert next(stream).model_dump(exclude_unset=True) == wanted
        stage.release(f"event-{len(EVENTS)}")
        stage.release("end")
        assert list(stream) == []
    assert stage.record()["stream"] is True


async def test_the_async_client_reads_the_same_events(stage: Stage, recording: Path) -> None:
    stage.script(READ_ALL, send(event_stream(EVENTS)))
    async with AsyncOpenAI(**openai_options(stage, WAYS["virtual key"])) as client:
        stream = await client.audio.transcriptions.create(file=recording, model="gpt-4o-transcribe", stream=True)
        assert [event.model_dump(exclude_unset=True) async for event in stream] == EVENTS


def test_speech_is_heard_while_it_is_made(stage: Stage, client: OpenAI) -> None:
    stage.script(
        READ_ALL,
        send(chunked_head(content_type="audio/mpeg") + chunk(b"first")),
        hold(),
        send(chunk(b"second") + b"0\r\n\r\n"),
    )
    said = {"model": "tts-1", "input": "Guten Tag", "voice": "alloy", "instructions": "slowly"}
    with client.audio.speech.with_streaming_response.create(**said) as response:  # type: ignore[arg-type]
        parts = response.iter_bytes()
        assert next(parts) == b"first"
        stage.release()
        assert b"".join(parts) == b"second"
        assert response.headers["content-type"] == "audio/mpeg"
    seen = stage.seen()
    assert json.loads(seen.body) == said
    assert seen.header("authorization") == f"Bearer {CALLER_KEY}"


def test_models_are_listed_through_the_gateway(stage: Stage, client: OpenAI) -> None:
    model = {"id": "whisper-1", "object": "model", "created": 1, "owned_by": "openai"}
    stage.script(send(reply(body=json.dumps({"object": "list", "data": [model]}).encode())))
    assert [model.id for model in client.models.list()] == ["whisper-1"]
    seen = stage.seen()
    assert (seen.method, seen.target) == ("GET", "/v1/models")


def test_a_client_that_stops_reading_a_stream_leaves_the_upstream(
    stage: Stage, client: OpenAI, recording: Path
) -> None:
    stage.script(READ_ALL, send(chunked_head() + chunk(event(EVENTS[0]))), hold("never"))
    with client.audio.transcriptions.create(file=recording, model="gpt-4o-transcribe", stream=True) as stream:
        next(stream)
    client.close()
    stage.seen("cut")
    assert stage.record()["outcome"] == "client_left"
