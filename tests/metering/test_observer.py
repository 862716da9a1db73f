"""What is read beside a reply: by its own content type, compressed or not, and never at the reply's cost."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
import zlib
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.metering.observer import observer_for, usage_in
from proxy.metering.usage import Usage, usage_of
from tests.cuts import random_cuts, same_report

SEVEN = Usage(seconds=Decimal(7))
REPLY = b'{"text":"The sun \\"rises\\" ...","usage":{"type":"duration","seconds":7}}'
EVENTS = b'data: {"type":"transcript.text.delta","delta":"I"}\n\ndata: {"usage":{"seconds":7}}\n\ndata: [DONE]\n\n'
WHOLE = 262_144  # bytes of JSON that are parsed at once


def observed(chunks: list[bytes], content_type: str = "application/json", encoding: str | None = None) -> Usage | None:
    observer = observer_for(content_type, encoding)
    for chunk in chunks:
        observer.feed(chunk)
    return observer.finish()


def deflated(data: bytes, window: int) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, window)
    return deflate.compress(data) + deflate.flush()


@pytest.mark.parametrize(
    ("content_type", "body", "usage"),
    [
        ("application/json", REPLY, SEVEN),
        ("application/json; charset=utf-8", REPLY, SEVEN),
        ("Application/JSON ;charset=UTF-8", REPLY, SEVEN),
        ("text/event-stream", EVENTS, SEVEN),
        ("text/event-stream; charset=utf-8", EVENTS, SEVEN),
        ("application/json", EVENTS, None),
        ("text/event-stream", REPLY, None),
        ("text/plain; charset=utf-8", REPLY, None),
        ("text/html", REPLY, None),
        ("text/vtt", REPLY, None),
        ("application/x-subrip", REPLY, None),
        ("audio/mpeg", REPLY, None),
        ("application/octet-stream", REPLY, None),
        ("application/jsonl", REPLY, None),
        ("", REPLY, None),
        (";", REPLY, None),
    ],
)
def test_the_replys_own_content_type_decides_how_it_is_read(
    content_type: str, body: bytes, usage: Usage | None
) -> None:
    assert usage_in(body, content_type) == usage
    assert same_report(body, lambda chunks: observed(chunks, content_type)) == usage


ENCODINGS = {
    "gzip": ("gzip", 31),
    "x-gzip": (" X-GZIP ", 31),
    "deflate": ("deflate", 15),
    "deflate without zlib's format, as some send it": ("Deflate", -15),
}


@pytest.mark.parametrize(("encoding", "window"), ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize(("content_type", "body"), [("application/json", REPLY), ("text/event-stream", EVENTS)])
def test_a_compressed_reply_is_read_however_it_is_cut(
    content_type: str, body: bytes, encoding: str, window: int
) -> None:
    packed = deflated(body, window)
    assert usage_in(packed, content_type, encoding) == SEVEN
    assert same_report(packed, lambda chunks: observed(chunks, content_type, encoding)) == SEVEN


@pytest.mark.parametrize("window", [31, 15, -15])
def test_nothing_is_left_inside_the_decompressor(window: int) -> None:
    encoding = "gzip" if window == 31 else "deflate"
    nested = b'","b":' + b'{"a":' * 200 + b"1" + b"}" * 201  # its end is one repetition, which a limit can halve
    for size in range(65_500, 65_900):
        head = REPLY[:-1] + b',"a":"'
        reply = head + b"x" * (size - len(head) - len(nested)) + nested
        assert usage_in(deflated(reply, window), "application/json", encoding) == SEVEN


def test_events_are_read_as_they_are_flushed_though_the_stream_never_ends() -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [deflate.compress(line + b"\n") + deflate.flush(zlib.Z_SYNC_FLUSH) for line in EVENTS.split(b"\n")]
    assert observed(pieces, "text/event-stream", "gzip") == SEVEN


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "x", "identity, gzip"])
def test_a_reply_in_an_encoding_that_is_not_read_says_nothing(encoding: str) -> None:
    for body in (REPLY, gzip.compress(REPLY)):
        assert usage_in(body, "application/json", encoding) is None


@pytest.mark.parametrize("encoding", ["", "identity", "Identity", None])
def test_a_reply_that_is_not_encoded_is_read_as_it_is(encoding: str | None) -> None:
    assert usage_in(REPLY, "application/json", encoding) == SEVEN


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_damaged_or_shortened_reply_says_nothing(encoding: str) -> None:
    packed = deflated(REPLY, 31 if encoding == "gzip" else 15)
    wrong_sum = bytearray(packed)
    wrong_sum[-5 if encoding == "gzip" else -1] ^= 1  # gzip's last four bytes are the length
    for body in (packed[: len(packed) // 2], b"\x00" + packed, packed[:1], REPLY, bytes(wrong_sum)):
        assert same_report(body, lambda chunks: observed(chunks, "application/json", encoding)) is None


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
@pytest.mark.parametrize(("encoding", "window"), ENCODINGS.values(), ids=ENCODINGS)
def test_a_reply_that_grows_beyond_measure_is_given_up_at_once(content_type: str, encoding: str, window: int) -> None:
    body = REPLY if content_type == "application/json" else EVENTS
    bomb = deflated(body + b"\n" * 20_000_000, window)
    for chunks in ([bomb], [bomb[at : at + 4_096] for at in range(0, len(bomb), 4_096)]):
        assert observed(chunks, content_type, encoding) is None
    assert usage_in(deflated(body + b"\n" * 60_000, window), content_type, encoding) == SEVEN


def test_the_words_of_a_long_transcript_compress_well_and_are_no_bomb() -> None:
    words = [{"word": "the", "start": at / 10, "end": at / 10 + 0.1} for at in range(60_000)]
    packed = gzip.compress(json.dumps({"words": words, "usage": {"seconds": 7}}, indent=2).encode())
    for chunks in random_cuts(packed, 5):
        assert observed(chunks, "application/json", "gzip") == SEVEN


def padded(seed: int, usage: dict[str, Any]) -> bytes:
    """Return a reply beyond the bound with the members of ``usage`` at random places."""
    chance = random.Random(seed)
    word = {"word": 'a "usage":{"seconds":9}', "start": 0.5, "end": 1.25, "usage": {"seconds": 9}, "duration": 9}
    others = {
        "text": chance.choice(['"usage":9,\\ ', "é\n", "plain ", "]}"]) * chance.randint(1, 40_000),
        "words": [word] * chance.randint(0, 3_000),
        "segments": [{"id": 1, "tokens": [1, 2, 3], "words": [word, word]}] * chance.randint(0, 1_500),
        "results": {"channels": [{"alternatives": [{"words": [word] * 1_000, "duration": 9}]}], "seconds": 9},
        "language": "x" * (WHOLE + 1),
    }
    members = [*others.items(), *usage.items()]
    chance.shuffle(members)
    return json.dumps(dict(members), ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, 1])).encode()


USAGES = st.dictionaries(
    st.sampled_from(["usage", "metadata", "duration", "seconds", "audio_duration", "audio_duration_ms"]),
    st.floats(0, 1e6)
    | st.fixed_dictionaries(
        {}, optional={"seconds": st.integers(-1, 99), "duration": st.floats(0, 9), "cost": st.none()}
    )
    | st.sampled_from(["8.5", "8s", '"', "\\"]),
)


@given(st.integers(0, 2**32), USAGES)
def test_a_long_reply_says_what_it_says_when_parsed_whole(seed: int, usage: dict[str, Any]) -> None:
    reply = padded(seed, usage)
    assert len(reply) > WHOLE
    expected = usage_of(orjson.loads(reply))
    for chunks in [[reply], *random_cuts(reply, 2, seed=seed)]:
        assert observed(chunks) == expected
    assert observed([reply[at : at + 16_384] for at in range(0, len(reply), 16_384)]) == expected


def test_of_a_long_reply_nothing_is_held() -> None:
    observer = observer_for("application/json")
    piece = b'{"word":"the \\"usage\\"","start":0.5,"end":1.25},' * 1_000
    tracemalloc.start()
    observer.feed(b'{"usage":{"seconds":7},"words":[')
    for _ in range(100):
        observer.feed(piece)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 20_000
    observer.feed(b"{}]}")
    assert observer.finish() == SEVEN


@pytest.mark.parametrize("size", [WHOLE - 1, WHOLE, WHOLE + 1, WHOLE + 2])
def test_replies_on_both_sides_of_the_bound_are_read_alike(size: int) -> None:
    reply = REPLY[:-1] + b',"x":"' + b"x" * (size - len(REPLY) - 7) + b'"}'
    assert len(reply) == size
    for chunks in [[reply], [reply[:-1], reply[-1:]], *random_cuts(reply, 5)]:
        assert observed(chunks) == SEVEN


@pytest.mark.parametrize("size", [len(REPLY), WHOLE * 2])
def test_a_reply_that_was_cut_short_says_nothing(size: int) -> None:
    reply = REPLY[:-1] + b" " * (size - len(REPLY)) + b"}"
    assert observed([reply]) == SEVEN
    assert observed([reply[:-1]]) is None


@pytest.mark.parametrize("content_type", ["text/plain", "audio/mpeg", "application/octet-stream"])
def test_observing_nothing_keeps_nothing(content_type: str) -> None:
    assert observer_for(content_type) is observer_for("image/png", "gzip")
    assert not hasattr(observer_for(content_type), "__dict__")


@given(
    st.lists(st.binary(max_size=200), max_size=8),
    st.sampled_from(["application/json", "text/event-stream", "audio/mpeg"]) | st.text(max_size=20),
    st.sampled_from(["gzip", "deflate", "br", None]) | st.text(max_size=9),
)
def test_no_reply_makes_it_raise(chunks: list[bytes], content_type: str, encoding: str | None) -> None:
    assert observed(chunks, content_type, encoding) == usage_in(b"".join(chunks), content_type, encoding)
