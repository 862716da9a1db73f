"""What an upstream said is kept as it came, within a bound, and read once by whoever wants to know."""

from __future__ import annotations

import gzip
import json
import threading
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.records.heard import MOST_TEXT, Heard, heard_from, told, untold
from proxy.records.record import Record
from proxy.records.replies import said_in
from tests.cuts import random_cuts, same_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MIB = 1_048_576
JSON, EVENTS, PLAIN = "application/json", "text/event-stream; charset=utf-8", "text/plain; charset=utf-8"
SEGMENTS = [
    {"start": 0.0, "end": 1.5, "text": " Go forward", "speaker": None},
    {"start": 1.5, "end": 3.0, "text": " ten \u00e9t\u00e9s \U0001f600", "speaker": "A"},
]
TEXT = "Go forward ten \u00e9t\u00e9s \U0001f600"
VERBOSE = json.dumps({"text": TEXT, "segments": SEGMENTS, "usage": {"seconds": 3}}, ensure_ascii=False).encode()
STREAM = b"".join(
    b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"
    for event in (
        {"type": "transcript.text.delta", "delta": "Go forward"},
        {"type": "transcript.text.delta", "delta": " ten \u00e9t\u00e9s \U0001f600"},
        {"type": "transcript.text.done", "text": TEXT},
    )
)
SRT = (
    "1\n00:00:00,000 --> 00:00:01,500\nGo forward\n\n2\n00:00:01,500 --> 00:00:03,000\nten \u00e9t\u00e9s \U0001f600\n"
)


def raw_deflate(data: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(data) + deflate.flush()


def heard(
    chunks: Iterable[bytes], content_type: str = JSON, encoding: str | None = None, *, redact: bool = False
) -> Heard:
    found = heard_from(content_type, encoding, redact=redact)
    assert found is not None
    for chunk in chunks:
        found.feed(chunk)
    return found


def record(what: Heard | None, outcome: str = "ok") -> dict[str, Any]:
    begun = Record("transcriptions", "POST", 100.0, status=200, outcome=outcome, heard=what)  # type: ignore[arg-type]
    return begun.close(101.0)


def said(
    chunks: Iterable[bytes], content_type: str = JSON, encoding: str | None = None, **more: Any
) -> tuple[Any, ...]:
    outcome = more.pop("outcome", "ok")
    found = told(record(heard(chunks, content_type, encoding, **more), outcome))
    return found["transcript"], found["segments"], found["transcript_cut"]


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [(None, bytes), ("identity", bytes), ("gzip", gzip.compress), ("x-GZIP", gzip.compress), ("deflate", zlib.compress),
     ("deflate", raw_deflate)],
)  # fmt: skip
@pytest.mark.parametrize(
    ("content_type", "body", "segments"),
    [
        (JSON, VERBOSE, SEGMENTS),
        (EVENTS, STREAM, None),
        (PLAIN, TEXT.encode(), None),
        (PLAIN, SRT.encode(), [{**each, "text": str(each["text"]).strip(), "speaker": None} for each in SEGMENTS]),
    ],
    ids=["json", "events", "text", "srt"],
)
def test_however_it_is_cut_or_compressed_it_says_the_same(
    content_type: str, body: bytes, segments: Any, encoding: str | None, compress: Callable[[bytes], bytes]
) -> None:
    found = same_report(compress(body), lambda chunks: said(chunks, content_type, encoding))
    assert found == (TEXT, segments, False)


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(("content_type", "body"), [(JSON, VERBOSE), (EVENTS, STREAM), (PLAIN, TEXT.encode())])
def test_of_a_reply_that_broke_off_there_is_what_came(
    content_type: str, body: bytes, compress: Callable[[bytes], bytes]
) -> None:
    encoding = "gzip" if compress is gzip.compress else None
    data = compress(body)
    lengths = []
    for end in range(len(data) + 1):
        text, _, cut = said([data[:end]], content_type, encoding, outcome="upstream_error")
        assert TEXT.startswith((text or "").rstrip("\ufffd"))
        assert not cut
        lengths.append(len((text or "").rstrip("\ufffd")))
    assert lengths == sorted(lengths)
    assert lengths[0] == 0
    assert lengths[-1] == len(TEXT)


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [("audio/mpeg", None), ("application/octet-stream", None), ("image/png", None), (JSON, "br"), (JSON, "zstd"),
     (JSON, "gzip, gzip")],
)  # fmt: skip
def test_what_nobody_could_read_is_not_kept(content_type: str, encoding: str | None) -> None:
    assert heard_from(content_type, encoding, redact=False) is None


@pytest.mark.parametrize("content_type", [JSON, "Application/JSON ; charset=utf-8", "", "text/vtt", EVENTS])
def test_whatever_can_be_read_is_kept(content_type: str) -> None:
    assert heard_from(content_type, None, redact=False) is not None


# Bounds


def verbose(count: int) -> tuple[bytes, str]:
    """Return a verbose_json with ``count`` segments, and its text."""
    texts = [f" This is the sentence with the number {number}." for number in range(count)]
    segments = [
        {"id": n, "seek": 0, "start": n, "end": n + 1, "text": text, "tokens": [7] * 40, "avg_logprob": -0.2}
        for n, text in enumerate(texts)
    ]
    return orjson.dumps({"task": "transcribe", "text": "".join(texts), "segments": segments}), "".join(texts)


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_of_three_megabytes_the_first_one_is_read(compress: Callable[[bytes], bytes]) -> None:
    body, text = verbose(15_000)
    assert len(body) > 3_000_000
    data = compress(body)
    chunks = [data[at : at + 65_536] for at in range(0, len(data), 65_536)]
    found, segments, cut = said(chunks, JSON, "gzip" if compress is gzip.compress else None)
    assert cut
    assert len(found) == MOST_TEXT
    assert text.startswith(found)
    assert len(segments) > 1_000
    assert all(each["text"] == f" This is the sentence with the number {n}." for n, each in enumerate(segments))


def test_a_long_reply_whose_text_comes_first_keeps_all_of_its_text() -> None:
    body, text = verbose(5_000)
    found, segments, cut = said([body[at : at + 30_000] for at in range(0, len(body), 30_000)])
    assert (len(body) > MIB, found == text, cut) == (True, True, True)
    assert 1_000 < len(segments) < 5_000


@pytest.mark.parametrize("size", [1, 2, 100, 65_536, 262_144])
def test_a_reply_takes_no_more_memory_than_it_says_however_small_its_chunks(size: int) -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = heard(bytes([65 + number % 26]) * size for number in range(2 * MIB // (size + 33)))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept.size <= MIB + size + 100
    assert taken < 1.3 * kept.size + 100_000


def test_the_bytes_go_when_they_have_been_read_and_the_size_stays() -> None:
    body, _ = verbose(2_000)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = heard([body + b" "])
        del body
        size = kept.size
        held = tracemalloc.get_traced_memory()[0] - before
        told(record(kept))
        assert tracemalloc.get_traced_memory()[0] - before < held + len(_words(kept)) * 20
        assert kept.size == size
    finally:
        tracemalloc.stop()


def _words(kept: Heard) -> str:
    return kept.read(torn=False).text or ""


@pytest.mark.parametrize(("length", "cut"), [(MOST_TEXT, False), (MOST_TEXT + 1, True), (MOST_TEXT * 3, True)])
def test_a_text_ends_at_its_cap_and_says_so(length: int, *, cut: bool) -> None:
    text, _, was_cut = said([json.dumps({"text": "\u00e9" * length}, ensure_ascii=False).encode()])
    assert (text, was_cut) == ("\u00e9" * MOST_TEXT, cut)


def test_segments_are_bounded_in_number_and_in_words() -> None:
    many = [{"start": n, "end": n, "text": "a"} for n in range(12_000)]
    _, segments, cut = said([orjson.dumps({"text": "a", "segments": many})])
    assert (len(segments), cut) == (10_000, True)
    long = [{"start": n, "end": n, "text": "a" * 100_000} for n in range(3)]
    _, segments, cut = said([orjson.dumps({"text": "a", "segments": long})])
    assert (len(segments), cut) == (2, True)


def test_a_bomb_is_not_inflated() -> None:
    bomb = gzip.compress(b"a" * 200 * MIB)
    tracemalloc.start()
    try:
        text, _, _ = said([bomb], PLAIN, "gzip")
        assert tracemalloc.get_traced_memory()[1] < 12 * MIB
    finally:
        tracemalloc.stop()
    assert set(text) == {"a"}
    assert len(text) <= MOST_TEXT


@pytest.mark.parametrize("damage", [0, 3, 30])
def test_damaged_data_says_what_came_before(damage: int) -> None:
    data = bytearray(gzip.compress(VERBOSE))
    data[damage] ^= 0xFF
    text, _, cut = said([bytes(data)], JSON, "gzip", outcome="upstream_error")
    assert text is None or TEXT.startswith(text)
    assert not cut


# Reading


def test_a_record_is_told_in_plain_words_and_stays_as_it_was() -> None:
    closed = record(heard([VERBOSE]))
    plain = told(closed)
    assert isinstance(closed["transcript"], Heard)
    assert list(plain) == list(closed)
    assert plain | {"transcript": None, "segments": None} == untold(closed)
    assert orjson.loads(orjson.dumps(plain)) == plain
    assert told(plain | {"transcript": None})["transcript"] is None


def test_a_record_without_anything_heard_is_told_and_untold_as_it_is() -> None:
    closed = record(None)
    assert told(closed) == closed
    assert untold(closed) is closed


@pytest.mark.parametrize("body", [b"", b"no json", b'{"error":{"message":"x"}}', b"\x00\xff"])
def test_a_reply_that_says_nothing_has_no_transcript(body: bytes) -> None:
    assert said([body]) == (None, None, False)


def test_silence_is_a_transcript() -> None:
    assert said([b'{"text":""}']) == ("", None, False)


def test_the_one_character_that_no_database_takes_is_replaced() -> None:
    body = {"text": "a\0b", "segments": [{"start": 0, "end": 1, "text": "a\0b", "speaker": "c\0d"}]}
    text, segments, _ = said([orjson.dumps(body)])
    assert text == "a\ufffdb"
    assert segments == [{"start": 0, "end": 1, "text": "a\ufffdb", "speaker": "c\ufffdd"}]


def test_two_sinks_read_a_reply_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(body: bytes, media_type: str) -> Any:
        calls.append(media_type)
        return said_in(body, media_type)

    monkeypatch.setattr("proxy.records.heard.said_in", counted)
    closed = record(heard([VERBOSE]))
    ready = threading.Barrier(8)
    found: list[dict[str, Any]] = []

    def sink() -> None:
        ready.wait()
        found.append(told(closed))

    threads = [threading.Thread(target=sink) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [JSON]
    assert [each["transcript"] for each in found] == [TEXT] * 8


def test_a_reply_that_nobody_thought_of_costs_its_transcript_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_body: bytes, _media_type: str) -> Any:
        raise RuntimeError("nobody thought of it")

    monkeypatch.setattr("proxy.records.heard.said_in", fail)
    assert said([VERBOSE]) == (None, None, False)
    assert "what a reply said could not be read" in caplog.text


# Redaction

CARD = "4242 4242 4242 4242"


def test_what_is_to_be_redacted_is_so_in_text_and_segments_alike() -> None:
    segments = [
        {"start": 0, "end": 1, "text": " my card is 4242 4242", "speaker": "jane@example.com"},
        {"start": 1, "end": 2, "text": " 4242 4242 thanks", "speaker": None},
    ]
    body = orjson.dumps({"text": f"my card is {CARD} thanks", "segments": segments})
    text, found, _ = said([body], redact=True)
    assert text == "my card is [card] thanks"
    assert [each["text"] for each in found] == [" my card is [card]", "[card] thanks"]
    assert found[0]["speaker"] == "[e-mail]"
    assert said([body])[0] == f"my card is {CARD} thanks"


@pytest.mark.parametrize("outcome", ["upstream_error", "client_left"])
def test_of_a_number_that_the_reply_broke_off_in_nothing_is_left(outcome: str) -> None:
    body = orjson.dumps({"text": f"my card is {CARD}"})
    for end in range(len(body) - 2):
        text, _, _ = said([body[:end]], redact=True, outcome=outcome)
        assert not any(c.isdigit() for c in text or "")


@pytest.mark.parametrize("shift", range(24))
def test_of_a_number_at_the_cap_nothing_is_left(shift: int) -> None:
    text = "a" * (MOST_TEXT - shift) + " " + CARD + " b" * 10_000
    found, _, cut = said([orjson.dumps({"text": text})], redact=True)
    assert cut
    assert not any(c.isdigit() for c in found)


@given(st.binary(max_size=300), st.sampled_from([JSON, EVENTS, PLAIN, ""]), st.sampled_from([None, "gzip", "deflate"]))
def test_no_bytes_raise(body: bytes, content_type: str, encoding: str | None) -> None:
    for chunks in random_cuts(body, 2):
        kept = heard(chunks, content_type, encoding, redact=True)
        assert kept.read(torn=True) is kept.read(torn=False)
