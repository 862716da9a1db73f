"""The engine speaks OpenAI's audio API: every form of reply, streams that grow, refusals, limits."""

from __future__ import annotations

import asyncio
import io
import itertools
import re
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import orjson
import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout, FormData

from proxy.engines import Limits, RunningEngine, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse

pytestmark = pytest.mark.asyncio(loop_scope="module")

VECTORS = Path(__file__).parent.parent / "vectors"
SENTENCE = "go forward ten meters and then turn left"
TRANSCRIPTIONS = "/v1/audio/transcriptions"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session() -> AsyncIterator[ClientSession]:
    """One for the module: it lives in the same event loop as the engine."""
    async with ClientSession(timeout=ClientTimeout(total=60)) as client:
        yield client


def form(audio: bytes | None = None, name: str = "speech.wav", **fields: str) -> FormData:
    """An OpenAI form around ``audio``, or else around the vector called ``name``."""
    data = FormData({"model": "any", **fields})
    content = (VECTORS / name).read_bytes() if audio is None else audio
    data.add_field("file", io.BytesIO(content), filename=name)
    return data


def wav(pcm: bytes, times: int = 1) -> bytes:
    """A wav file that says the same ``times`` times, with a pause of 0.75 s after each."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes((pcm + bytes(24_000)) * times)
    return file.getvalue()


async def events(reply: ClientResponse) -> list[dict[str, Any] | None]:
    """All server-sent events; None for the end mark."""
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    lines = (await reply.text()).split("\n\n")
    assert lines.pop() == ""
    assert all(line.startswith("data: ") for line in lines)
    return [None if line == "data: [DONE]" else orjson.loads(line[6:]) for line in lines]


@pytest.mark.parametrize("name", ["speech.wav", "cbr.mp3", "speech.flac", "vorbis.ogg"])
async def test_each_container_comes_back_word_for_word(
    engine: RunningEngine, session: ClientSession, name: str
) -> None:
    async with session.post(engine.url + TRANSCRIPTIONS, data=form(name=name)) as reply:
        assert reply.content_type == "application/json"
        assert await reply.json() == {"text": SENTENCE, "usage": {"type": "duration", "seconds": 4}}


async def test_translations_answer_the_same_english(
    engine: RunningEngine, session: ClientSession, phrase_pcm: bytes
) -> None:
    data = form(wav(phrase_pcm), response_format="verbose_json", language="en")
    async with session.post(f"{engine.url}/v1/audio/translations", data=data) as reply:
        body = await reply.json()
    assert (body["task"], body["language"], body["text"]) == ("translate", "english", "go forward")
    assert body["duration"] == 0.9 + 0.75
    assert [segment["text"] for segment in body["segments"]] == ["go forward"]
    assert "words" not in body


async def test_openais_own_client_reads_words_with_rising_times(engine: RunningEngine) -> None:
    async with openai.AsyncOpenAI(base_url=f"{engine.url}/v1", api_key="none", max_retries=0) as client:
        result = await client.audio.transcriptions.create(
            model="whisper-1",
            file=VECTORS / "speech.wav",
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
    assert result.words is not None
    assert [word.word for word in result.words] == SENTENCE.split()
    times = [time for word in result.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= float(result.duration)


@pytest.mark.parametrize(
    ("response_format", "pattern"),
    [
        ("text", r"go forward\n"),
        ("srt", r"1\n00:00:00,\d{3} --> 00:00:00,\d{3}\ngo forward\n\n"),
        ("vtt", r"WEBVTT\n\n00:00:00\.\d{3} --> 00:00:00\.\d{3}\ngo forward\n\n"),
    ],
)
async def test_text_and_subtitles_are_plain_text(
    engine: RunningEngine, session: ClientSession, phrase_pcm: bytes, response_format: str, pattern: str
) -> None:
    data = form(wav(phrase_pcm), response_format=response_format)
    async with session.post(engine.url + TRANSCRIPTIONS, data=data) as reply:
        assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert re.fullmatch(pattern, await reply.text())


async def test_a_stream_grows_to_the_done_text(engine: RunningEngine, session: ClientSession) -> None:
    async with session.post(engine.url + TRANSCRIPTIONS, data=form(stream="true")) as reply:
        *deltas, done, end = await events(reply)
    assert end is None
    assert done == {
        "type": "transcript.text.done",
        "text": SENTENCE,
        "usage": {"type": "duration", "seconds": 4},
    }
    assert len(deltas) > 1
    assert all(event and event["type"] == "transcript.text.delta" for event in deltas)
    assert "".join(event["delta"] for event in deltas if event) == SENTENCE


async def test_words_are_sent_while_the_recogniser_still_listens(
    engine: RunningEngine, session: ClientSession, phrase_pcm: bytes
) -> None:
    data = form(wav(phrase_pcm, 3), stream="true")
    async with session.post(engine.url + TRANSCRIPTIONS, data=data) as reply:
        first = await reply.content.readuntil(b"\n\n")
        async with session.get(f"{engine.url}/health") as health:
            assert (await health.json())["requests"] == 1
        rest = await reply.read()
    assert b'"delta":"go"' in first
    assert b"go" not in first.replace(b'"delta":"go"', b"")
    assert b'"text":"go forward go forward go forward"' in rest


@pytest.mark.parametrize(
    ("data", "param", "message"),
    [
        (form(language="de"), "language", "knows English only"),
        (form(response_format="diarized_json"), "response_format", "Invalid value: 'diarized_json'"),
        (form(name="raw.aac"), None, "Invalid file format. Supported formats: ['flac', "),
        (form(name="faststart.m4a"), None, "Invalid file format."),
        (form(b""), "file", "The audio file is empty."),
        (form(b"ID3" + bytes(500)), None, "Audio file might be corrupted or unsupported"),
        (
            FormData({"model": "any", "fil": "x"}, default_to_multipart=True),
            "file",
            "Missing required parameter",
        ),
        (FormData({"model": "any"}), None, "The body must be multipart/form-data"),
    ],
)
async def test_a_refusal_has_openais_shape(
    engine: RunningEngine, session: ClientSession, data: FormData, param: str | None, message: str
) -> None:
    async with session.post(engine.url + TRANSCRIPTIONS, data=data) as reply:
        assert reply.status == 400
        error = (await reply.json())["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert message in error["message"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("POST", "/", 404), ("GET", TRANSCRIPTIONS, 405)],
)
async def test_a_wrong_address_is_refused_in_json_too(
    engine: RunningEngine, session: ClientSession, method: str, path: str, status: int
) -> None:
    async with session.request(method, engine.url + path) as reply:
        assert reply.status == status
        assert (await reply.json())["error"]["type"] == "invalid_request_error"


async def test_models_and_health_say_what_this_is(engine: RunningEngine, session: ClientSession) -> None:
    async with session.get(f"{engine.url}/v1/models") as reply:
        assert [model["id"] for model in (await reply.json())["data"]] == ["pocketsphinx-en-us"]
    async with session.get(f"{engine.url}/health") as reply:
        body = await reply.json()
    assert body["status"] == "ok"
    assert "for trying things out" in body["note"]


async def test_silence_is_an_empty_text(engine: RunningEngine, session: ClientSession) -> None:
    async with session.post(engine.url + TRANSCRIPTIONS, data=form(wav(b"", 2))) as reply:
        assert await reply.json() == {"text": "", "usage": {"type": "duration", "seconds": 2}}


async def test_the_limits_hold_and_a_client_that_leaves_frees_its_place(
    session: ClientSession, sentence_pcm: bytes, phrase_pcm: bytes
) -> None:
    small = await serve(port=0, limits=Limits(max_body_bytes=4_000_000, max_seconds=100, recognisers=1, waiting=0))
    try:
        url = small.url + TRANSCRIPTIONS
        async with session.post(url, data=form(bytes(5_000_000))) as reply:
            assert reply.status == 413
            assert "Maximum content size limit (4000000) exceeded" in (await reply.json())["error"]["message"]
        async with session.post(url, data=form(wav(b"", 160))) as reply:
            assert "longer than 100 seconds" in (await reply.json())["error"]["message"]

        long = await session.post(url, data=form(wav(sentence_pcm, 25), stream="true"))
        await long.content.readuntil(b"\n\n")
        async with session.post(url, data=form()) as reply:
            assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
            assert (await reply.json())["error"]["code"] == "overloaded"

        long.close()  # with about ten seconds of work left
        left_at = time.monotonic()
        for _ in itertools.count():
            async with session.get(f"{small.url}/health") as health:
                if (await health.json())["requests"] == 0:
                    break
            assert time.monotonic() - left_at < 5
            await asyncio.sleep(0.02)
        async with session.post(url, data=form(wav(phrase_pcm))) as reply:
            assert (await reply.json())["text"] == "go forward"
    finally:
        await small.close()


async def test_a_request_waits_for_a_recogniser_when_there_is_a_place(
    session: ClientSession, phrase_pcm: bytes
) -> None:
    one = await serve(port=0, limits=Limits(recognisers=1, waiting=1))
    try:

        async def text() -> str:
            async with session.post(one.url + TRANSCRIPTIONS, data=form(wav(phrase_pcm))) as reply:
                return str((await reply.json())["text"])

        assert {await text for text in [asyncio.create_task(text()) for _ in range(2)]} == {"go forward"}
    finally:
        await one.close()
