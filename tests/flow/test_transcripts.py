"""What was said is in the record: exactly, in every format and framing, as far as it is wanted."""

from __future__ import annotations

import gzip
import json
import zlib
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.flow.conftest import base_settings
from tests.flow.forms import field, file, form, usual
from tests.flow.gateway import Gateway, serving
from tests.flow.scripts import READ_ALL, RESET, chunk, chunked_head, event, head, hold, reply, send
from tests.flow.stage import TRANSCRIPTIONS, TRANSLATIONS, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.flow.driver import Upstream

SPEECH = "/v1/audio/speech"
CAP = 262_144  # characters of a transcript
DIGITS = "0123456789"

TEXT = "Go forward ten m\u00e8tres. My card is 4242 4242 4242 4242, mail jane@example.com \U0001f600"
REDACTED = "Go forward ten m\u00e8tres. My card is [card], mail [e-mail] \U0001f600"
PARTS = [TEXT[:44], TEXT[44:]]  # the card is in both
SEGMENTS = [
    {"start": 0.0, "end": 1.5, "text": PARTS[0], "speaker": None},
    {"start": 1.5, "end": 3.0, "text": PARTS[1], "speaker": None},
]
SPOKEN = [{**segment, "speaker": speaker} for segment, speaker in zip(SEGMENTS, "AB", strict=True)]
CUES = [{**segment, "text": str(segment["text"]).strip()} for segment in SEGMENTS]
VTT = f"WEBVTT\n\n00:00.000 --> 00:01.500\n{PARTS[0]}\n\n00:01.500 --> 00:03.000\n{PARTS[1]}\n\n"
SRT = f"1\r\n00:00:00,000 --> 00:00:01,500\r\n{PARTS[0]}\r\n\r\n2\r\n00:00:01,500 --> 00:00:03,000\r\n{PARTS[1]}\r\n"


def events(*documents: dict[str, Any]) -> bytes:
    return b"".join(event(document) for document in documents) + event("[DONE]")


def delta(text: str) -> dict[str, Any]:
    return {"type": "transcript.text.delta", "delta": text}


DONE = {"type": "transcript.text.done", "text": TEXT, "usage": {"type": "duration", "seconds": 3}}

# What an upstream sends: its type, its body, and the segments in it.
FORMATS: dict[str, tuple[str, bytes, Any]] = {
    "json": ("application/json", json.dumps({"text": TEXT, "usage": {"seconds": 3}}).encode(), None),
    "verbose_json": ("application/json", orjson.dumps({"duration": 3.0, "text": TEXT, "segments": SEGMENTS}), SEGMENTS),
    "diarized_json": ("application/json", orjson.dumps({"text": TEXT, "segments": SPOKEN}), SPOKEN),
    "text": ("text/plain; charset=utf-8", TEXT.encode() + b"\n", None),
    "srt": ("text/plain; charset=utf-8", SRT.encode(), CUES),
    "vtt": ("text/vtt", VTT.encode(), CUES),
    "events": ("text/event-stream", events(delta(PARTS[0]), delta(PARTS[1]), DONE), None),
    "diarized events": (
        "text/event-stream; charset=utf-8",
        events(*({"type": "transcript.text.segment", "id": "s", **each} for each in SPOKEN), DONE),
        SPOKEN,
    ),
}


def encoded(body: bytes, encoding: str | None) -> bytes:
    if encoding is None:
        return body
    return gzip.compress(body, mtime=0) if encoding == "gzip" else zlib.compress(body)


def framed(content_type: str, body: bytes, framing: str, encoding: str | None = None) -> bytes:
    """Return a whole reply: with a Content-Length, in chunks of 100 bytes, or until the connection closes."""
    headers = [("Content-Encoding", encoding)] if encoding else []
    body = encoded(body, encoding)
    if framing == "length":
        return reply(200, body, headers, content_type=content_type)
    if framing == "close":
        return head(200, [("Content-Type", content_type), ("Connection", "close"), *headers]) + body
    chunks = b"".join(chunk(body[at : at + 100]) for at in range(0, len(body), 100))
    return chunked_head(200, content_type, headers) + chunks + b"0\r\n\r\n"


def kept(record: dict[str, Any]) -> tuple[Any, Any, Any]:
    return record["transcript"], record["segments"], record["transcript_cut"]


NOTHING = (None, None, False)


def _running(upstream: Upstream, folder: Any, **records: Any) -> Iterator[Gateway]:
    wanted = {"store": "none", "stdout_transcripts": True, **records}
    with serving(folder, base_settings(upstream, records=wanted)) as running:
        yield running


@pytest.fixture(scope="module")
def telling_gateway(upstream: Upstream, folder: Any) -> Iterator[Gateway]:
    yield from _running(upstream, folder)


@pytest.fixture(scope="module")
def redacting_gateway(upstream: Upstream, folder: Any) -> Iterator[Gateway]:
    yield from _running(upstream, folder, transcripts="redacted")


@pytest.fixture
def telling(telling_gateway: Gateway, upstream: Upstream) -> Iterator[Stage]:
    """A stage before a gateway whose stdout tells what was said."""
    yield Stage(telling_gateway, upstream)
    telling_gateway.check()


@pytest.fixture
def redacting(redacting_gateway: Gateway, upstream: Upstream) -> Iterator[Stage]:
    yield Stage(redacting_gateway, upstream)
    redacting_gateway.check()


@pytest.mark.parametrize("target", [TRANSCRIPTIONS, TRANSLATIONS])
@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_record_has_exactly_what_was_said_and_the_client_the_same_bytes(
    telling: Stage, name: str, framing: str, encoding: str | None, target: str
) -> None:
    content_type, body, segments = FORMATS[name]
    telling.script(READ_ALL, send(framed(content_type, body, framing, encoding)), *([["close"]] * (framing == "close")))
    got = telling.post(form(field("model", "m"), field("stream", "true"), file()), target=target)
    assert (got.status, got.clean, got.header("content-encoding")) == (200, True, encoding)
    assert sha256(got.body).digest() == sha256(encoded(body, encoding)).digest()
    assert kept(telling.record()) == (TEXT, segments, False)


@pytest.mark.parametrize("encoding", [None, "gzip"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_redacted_is_so_in_every_format_and_the_client_has_it_all(
    redacting: Stage, name: str, framing: str, encoding: str | None
) -> None:
    content_type, body, segments = FORMATS[name]
    redacting.script(READ_ALL, send(framed(content_type, body, framing, encoding)))
    got = redacting.post()
    assert sha256(got.body).digest() == sha256(encoded(body, encoding)).digest()
    text, found, cut = kept(redacting.record())
    assert not cut
    assert text.replace("[card] [card]", "[card]") == REDACTED  # two cues, each with its half
    assert (found is None) == (segments is None)
    assert not any(c in DIGITS or c == "@" for each in found or [] for c in each["text"])


@pytest.mark.parametrize("value", ["false", " FALSE "])
@pytest.mark.parametrize("name", ["json", "events"])
def test_a_request_that_is_not_to_be_kept_is_not(telling: Stage, name: str, value: str) -> None:
    content_type, body, _ = FORMATS[name]
    telling.script(READ_ALL, send(framed(content_type, body, "chunked")))
    got = telling.post(None, [("x-portkey-debug", value)])
    assert got.body == body
    record = telling.record()
    assert kept(record) == NOTHING
    assert record["audio"]["filename"] == "speech.wav"
    assert TEXT[:10] not in "".join(line for line in telling.gateway.lines() if telling.token in line)


def test_a_request_that_may_be_kept_is(telling: Stage) -> None:
    telling.script(READ_ALL, send(reply()))
    telling.post(None, [("x-portkey-debug", "true")])
    assert kept(telling.record()) == ("hello", None, False)


@pytest.mark.parametrize(
    ("records", "transcript"),
    [
        ({"transcripts": "off", "stdout_transcripts": True}, None),
        ({"transcripts": "full"}, None),  # in the store, but not on stdout
        ({"transcripts": "redacted", "stdout_transcripts": True}, REDACTED),
    ],
)
def test_stdout_tells_what_settings_say_and_a_reload_changes_that(
    own_gateway: Callable[..., Stage], records: dict[str, Any], transcript: str | None
) -> None:
    stage = own_gateway(records={"store": "none", **records})
    content_type, body, _ = FORMATS["json"]
    stage.script(READ_ALL, send(framed(content_type, body, "length")))
    assert stage.post().body == body
    assert kept(stage.record()) == (transcript, None, False)
    told = {"store": "none", "transcripts": "full", "stdout_transcripts": True}
    stage.gateway.write_settings({**stage.gateway.settings, "records": told})
    later = Stage(stage.gateway, stage.upstream)

    def tells() -> bool:
        fresh = Stage(stage.gateway, stage.upstream)
        fresh.script(READ_ALL, send(framed(content_type, body, "length")))
        fresh.post()
        return bool(fresh.record()["transcript"] == TEXT)

    later.gateway.wait_for(tells, "the new settings")
    stage.gateway.stop()


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_of_a_stream_that_breaks_there_is_what_the_client_got(telling: Stage, encoding: str | None) -> None:
    said = event(delta("Go forward")) + event(delta(" ten"))
    deflate = zlib.compressobj(wbits=31)
    data = deflate.compress(said) + deflate.flush(zlib.Z_SYNC_FLUSH) if encoding else said
    headers = [("Content-Encoding", encoding)] if encoding else []
    telling.script(READ_ALL, send(chunked_head(headers=headers)), send(chunk(data)), hold(), RESET)
    with telling.connect() as connection:
        telling.begin(connection, len(usual()))
        connection.send(usual())
        answer = connection.read_head()
        assert connection.read_chunk() == data
        telling.release()
        connection.read_body(answer)
        assert not answer.clean
    record = telling.record()
    assert (record["outcome"], kept(record)) == ("upstream_error", ("Go forward ten", None, False))


def test_of_json_that_breaks_off_there_is_what_came(redacting: Stage) -> None:
    body = orjson.dumps({"text": "My card is 4242 4242 4242 4242", "duration": 3})
    cut = body[: body.index(b"4242 42") + 9]
    redacting.script(READ_ALL, send(chunked_head(200, "application/json")), send(chunk(cut)), hold(), RESET)
    with redacting.connect() as connection:
        redacting.begin(connection, len(usual()))
        connection.send(usual())
        connection.read_head()
        assert connection.read_chunk() == cut
        redacting.release()
        assert connection.at_end()
    record = redacting.record()
    assert (record["outcome"], record["transcript"]) == ("upstream_error", "My card is [account]")


def test_a_client_that_leaves_has_heard_what_it_has_heard(telling: Stage) -> None:
    telling.script(READ_ALL, send(chunked_head()), send(chunk(event(delta("Go")))), hold())
    with telling.connect() as connection:
        telling.begin(connection, len(usual()))
        connection.send(usual())
        connection.read_head()
        connection.read_chunk()
    record = telling.record()
    assert (record["outcome"], record["transcript"]) == ("client_left", "Go")


def large(size: int) -> tuple[bytes, str]:
    """Return a verbose_json of at least ``size`` bytes, and its text."""
    texts: list[str] = []
    segments: list[dict[str, Any]] = []
    while len(segments) * 220 < size:
        number = len(segments)
        texts.append(f" This is sentence number {number} of many.")
        segments.append({"id": number, "start": number, "end": number + 1, "text": texts[-1], "tokens": [50257] * 24})
    return orjson.dumps({"task": "transcribe", "text": "".join(texts), "segments": segments}), "".join(texts)


@pytest.mark.parametrize("encoding", [None, "gzip"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_of_a_reply_of_three_megabytes_the_beginning_is_kept(
    telling: Stage, framing: str, encoding: str | None
) -> None:
    body, text = large(3_000_000)
    assert len(body) > 3_000_000
    telling.script(READ_ALL, send(framed("application/json", body, framing, encoding)))
    got = telling.post()
    assert sha256(got.body).digest() == sha256(encoded(body, encoding)).digest()
    found, segments, cut = kept(telling.record())
    assert cut
    assert len(found) == CAP
    assert text.startswith(found)
    assert len(segments) > 1000


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, b'{"text":"not said"}'), (500, b'{"text":"not said"}'), (302, b'{"text":"not said"}'), (204, b"")],
)
def test_what_is_no_good_answer_says_nothing(telling: Stage, status: int, body: bytes) -> None:
    telling.script(READ_ALL, send(reply(status, body)))
    telling.post()
    record = telling.record()
    assert (record["status"], kept(record)) == (status, NOTHING)


def test_an_answer_of_the_gateways_own_says_nothing(telling: Stage) -> None:
    telling.post(form(file()), without=("x-portkey-provider",))
    assert kept(telling.record()) == NOTHING


@pytest.mark.parametrize("content_type", ["audio/mpeg", "application/json", "text/event-stream"])
def test_speech_is_never_kept(telling: Stage, content_type: str) -> None:
    telling.script(READ_ALL, send(reply(200, b'{"text":"sound"}', content_type=content_type)))
    body = json.dumps({"model": "tts-1", "input": "hello", "voice": "alloy"}).encode()
    headers = [("Content-Type", "application/json")]
    assert telling.request("POST", SPEECH, body, headers).status == 200
    assert kept(telling.record()) == NOTHING


def test_what_passes_through_is_never_kept(telling: Stage) -> None:
    telling.script(READ_ALL, send(reply(200, b'{"text":"something else"}')))
    assert telling.request("GET", "/v1/models").status == 200
    assert kept(telling.record()) == NOTHING


def test_a_retry_tells_what_the_client_got_and_nothing_else(telling: Stage) -> None:
    config = json.dumps({"retry": {"attempts": 1, "on_status_codes": [500]}})
    telling.script(READ_ALL, send(reply(500, b'{"text":"the first"}')))
    telling.script(READ_ALL, send(reply(200, b'{"text":"the second"}')))
    assert telling.post(None, [("x-portkey-config", config)]).json() == {"text": "the second"}
    assert telling.record()["transcript"] == "the second"


def test_markup_is_text_like_any_other(telling: Stage) -> None:
    said = '<img src=x onerror=alert(1)> \u2028 \x00 \\u0000 "quoted"'
    telling.script(READ_ALL, send(reply(200, json.dumps({"text": said}).encode())))
    telling.post()
    assert telling.record()["transcript"] == said.replace("\x00", "\ufffd")


def test_workers_tell_what_was_said_as_well_also_when_it_was_much(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway(workers=2, records={"store": "none", "stdout_transcripts": True})
    body = json.dumps({"text": "\u0001" * CAP}).encode()  # each character is six in the line
    small = Stage(stage.gateway, stage.upstream)
    stage.script(READ_ALL, send(reply(200, body)))
    assert stage.post().body == body
    small.script(READ_ALL, send(reply()))
    small.post()
    assert small.record()["transcript"] == "hello"
    found, _, cut = kept(stage.record())
    assert cut  # the reply was six times as long as the text in it
    assert found == "\u0001" * len(found)
    assert len(found) > 100_000
    stage.gateway.stop()


def test_workers_keep_what_was_said_to_themselves_unless_it_is_wanted(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway(workers=2, records={"store": "none"})
    stage.script(READ_ALL, send(reply()))
    stage.post()
    assert kept(stage.record()) == NOTHING
    assert "hello" not in "".join(stage.gateway.lines())
    stage.gateway.stop()
