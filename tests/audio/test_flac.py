"""A FLAC file lasts as long as its last whole frame says, whether or not its head promised that."""

from __future__ import annotations

import math
import random
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audio.duration import Duration
from proxy.audio.flac import FlacProbe
from proxy.audio.flac_frames import FrameHeader, crc8, divisible, read_header
from tests.audio.made import made, piped
from tests.cuts import random_cuts, same_report

if TYPE_CHECKING:
    from collections.abc import Iterable

VECTORS = Path(__file__).parents[1] / "vectors"
RATE = 16_000
BLOCK = 4096
FRAME = 60  # bytes of the frames made here


def measure(chunks: Iterable[bytes]) -> Duration:
    probe = FlacProbe()
    for chunk in chunks:
        probe.feed(chunk)
    return probe.finish()


def crc16(data: bytes) -> int:
    """RFC 9639 section 9.3, bit by bit."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x8005) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc


def number(value: int) -> bytes:
    """Section 9.1.5: as UTF-8 does, to 36 bits."""
    if value < 0x80:
        return bytes([value])
    more = 1
    while value >> 6 * more + 6 - more:
        more += 1
    rest = [0x80 | value >> 6 * place & 0x3F for place in range(more - 1, -1, -1)]
    return bytes([0xFF00 >> more + 1 & 0xFF | value >> 6 * more, *rest])


def frame(coded: int, *, samples: int = BLOCK, variable: bool = False, body: bytes = bytes(FRAME)) -> bytes:
    """A frame that says it is number ``coded`` (or begins at that sample)."""
    head = bytes([0xFF, 0xF9 if variable else 0xF8, 0x75 if samples != BLOCK else 0xC5, 0x08]) + number(coded)
    head += struct.pack(">H", samples - 1) if samples != BLOCK else b""
    head += bytes([crc8(head)])
    return head + body + struct.pack(">H", crc16(head + body))


def block(kind: int, body: bytes, *, last: bool = False) -> bytes:
    return bytes([kind | last << 7]) + len(body).to_bytes(3, "big") + body


def streaminfo(total: int, *, rate: int = RATE, longest: int = BLOCK, last: bool = False) -> bytes:
    packed = rate << 44 | 0 << 41 | 15 << 36 | total
    return block(0, struct.pack(">HH", longest, longest) + bytes(6) + packed.to_bytes(8, "big") + bytes(16), last=last)


def flac(*frames: bytes, total: int = 0) -> bytes:
    return b"fLaC" + streaminfo(total, last=True) + b"".join(frames)


FOUR = [frame(at) for at in range(3)] + [frame(3, samples=1000)]
SAMPLES = 3 * BLOCK + 1000
WHOLE = SAMPLES / RATE
VARIABLE = [frame(at * 2000, samples=2000, variable=True) for at in range(100)]
JOINED = [frame(at) for at in range(200, 300)]

FILES: dict[str, tuple[bytes, Duration]] = {
    "as promised": (flac(*FOUR, total=SAMPLES), Duration(WHOLE, "header")),
    "nothing promised": (flac(*FOUR), Duration(WHOLE, "walked")),
    "less promised than there is": (flac(*FOUR, total=5), Duration(WHOLE, "walked")),
    "more promised than there is": (flac(*FOUR, total=10**6), Duration(WHOLE, "walked", ended_early=True)),
    "cut within a frame": (flac(*FOUR, total=SAMPLES)[:-1], Duration(3 * BLOCK / RATE, "walked", ended_early=True)),
    "cut within a frame, nothing promised": (flac(*FOUR)[:-30], Duration(3 * BLOCK / RATE, "walked", ended_early=True)),
    "cut between frames": (flac(*FOUR[:3], total=SAMPLES), Duration(3 * BLOCK / RATE, "walked", ended_early=True)),
    "cut within the first frame": (flac(FOUR[0], total=SAMPLES)[:-3], Duration(0.0, "walked", ended_early=True)),
    "cut before the first frame": (flac(total=SAMPLES), Duration(0.0, "walked", ended_early=True)),
    "no audio at all": (flac(), Duration(0.0, "walked")),
    "cut within the metadata": (flac()[:20], Duration(None, "unknown", ended_early=True)),
    "frames numbered by their samples": (flac(*VARIABLE), Duration(200_000 / RATE, "walked")),
    "frames that do not begin at 0": (flac(*JOINED), Duration(100 * BLOCK / RATE, "walked")),
    "what looks like a frame within the last one": (
        flac(frame(0), frame(1, body=frame(7)[:-2] + b"xy")),
        Duration(2 * BLOCK / RATE, "walked"),
    ),
    "an ID3v1 tag at the end": (flac(*FOUR, b"TAG" + bytes(125), total=SAMPLES), Duration(WHOLE, "header")),
    "a picture": (
        b"fLaC" + streaminfo(SAMPLES) + block(6, bytes(100_000)) + block(1, b"", last=True) + b"".join(FOUR),
        Duration(WHOLE, "header"),
    ),
    "frames that say nothing, but a promise that may be true": (
        flac(frame(0), bytes(500_000), total=RATE),
        Duration(1.0, "header"),
    ),
    "frames that say nothing, and a promise that cannot be true": (
        flac(frame(0), bytes(400_000), total=2**36 - 1),
        Duration((400_000 + len(frame(0))) // 10 * BLOCK / RATE, "header", ended_early=True),
    ),
    "nothing promised, and no frames": (flac(bytes(400_000)), Duration(None, "unknown")),
    "a frame of a number that the bytes cannot hold": (
        flac(frame(0), frame(2**30), bytes(400_000)),
        Duration(None, "unknown"),
    ),
    "no marker": (b"FLAC" + flac(*FOUR), Duration(None, "unknown")),
    "no STREAMINFO": (b"fLaC" + block(1, bytes(34), last=True) + b"".join(FOUR), Duration(None, "unknown")),
    "two STREAMINFO": (b"fLaC" + streaminfo(1) + streaminfo(1, last=True), Duration(None, "unknown")),
    "a rate of 0, which is no audio": (b"fLaC" + streaminfo(9, rate=0, last=True), Duration(None, "unknown")),
    "blocks without end": (b"fLaC" + streaminfo(9) + block(1, b"") * 1000 + b"".join(FOUR), Duration(None, "unknown")),
}


@pytest.mark.parametrize(("file", "expected"), FILES.values(), ids=FILES)
def test_a_file_is_measured_the_same_however_it_is_cut(file: bytes, expected: Duration) -> None:
    assert same_report(file, measure) == expected


@pytest.mark.parametrize(("name", "source"), [("speech.flac", "header"), ("piped.flac", "walked")])
def test_the_vectors_last_as_long_as_they_do(name: str, source: str) -> None:
    found = same_report((VECTORS / name).read_bytes(), measure)
    assert found.seconds == pytest.approx(3.035, abs=0.02)
    assert (found.source, found.ended_early) == (source, False)


@pytest.mark.parametrize("seconds", [0.01, 1.0, 3.77])
@pytest.mark.parametrize(
    ("rate", "channels", "options"),
    [
        (8_000, 1, ()),
        (11_025, 1, ("-compression_level", "0")),
        (16_000, 2, ("-compression_level", "12")),
        (44_100, 2, ("-sample_fmt", "s32")),
        (48_000, 6, ("-frame_size", "1024")),
    ],
)
def test_what_ffmpeg_writes_is_measured(
    tmp_path: Path, rate: int, channels: int, options: tuple[str, ...], seconds: float
) -> None:
    samples = round(seconds * rate)
    file = made(tmp_path, "made.flac", *options, seconds=samples / rate, rate=rate, channels=channels)
    assert measure([file]) == Duration(samples / rate, "header")
    stream = piped("flac", *options, seconds=samples / rate, rate=rate, channels=channels)
    assert measure([stream]) == Duration(samples / rate, "walked")


@pytest.mark.parametrize("name", ["speech.flac", "piped.flac"])
def test_a_file_that_was_cut_tells_which_frames_arrived_whole(name: str) -> None:
    file = (VECTORS / name).read_bytes()
    begin = file.index(b"\xff\xf8", 42)
    for size in random.Random(5).choices(range(begin, len(file)), k=60):
        found = measure([file[:size]])
        assert found.ended_early
        assert found.seconds is not None
        blocks = found.seconds * RATE / 1152  # the vector's block size
        assert blocks == int(blocks)
        assert found.seconds <= 3.035


def test_the_audio_so_far_is_looked_at_once_in_a_while_and_finish_may_be_asked_early() -> None:
    frames = [frame(at, body=bytes(8000)) for at in range(300)]
    probe = FlacProbe()
    probe.feed(flac(*frames[:100]))
    assert probe.seconds == 0.0
    assert probe.finish().seconds == 100 * BLOCK / RATE
    probe.feed(b"".join(frames[100:200]))
    assert probe.seconds == 200 * BLOCK / RATE
    probe.feed(b"".join(frames[200:]))
    assert probe.finish() == Duration(300 * BLOCK / RATE, "walked")


def test_only_the_tail_is_held_whatever_passes() -> None:
    probe = FlacProbe()
    probe.feed(b"fLaC" + streaminfo(0) + block(6, b"")[:1] + b"\xff\xff\xff")
    for _ in range(168):
        probe.feed(bytes(100_000))
    assert not probe._held
    probe = FlacProbe()
    probe.feed(flac(frame(0)))
    for size in [1, 100_000, 7, 1000] * 300:
        probe.feed(bytes(size))
        assert len(probe._tail) <= 2 * probe._keep + 100_000
        assert probe._keep <= 131_072


@given(st.binary(max_size=200))
def test_a_frame_is_what_its_crc_divides(body: bytes) -> None:
    whole = body + struct.pack(">H", crc16(body))
    assert divisible(whole)
    assert divisible(whole + b"\x01") == (crc16(whole + b"\x01") == 0)


@given(st.integers(0, 2**36 - 1), st.integers(1, 65_535))
def test_a_header_is_read_back(start: int, samples: int) -> None:
    data = b"x" + frame(start, samples=samples, variable=True, body=bytes(16))
    assert read_header(data, 1) == FrameHeader(start, samples)
    assert read_header(data, 0) is None


@given(st.binary(max_size=20))
def test_bytes_that_are_no_header_are_none(noise: bytes) -> None:
    found = read_header(b"\xff\xf8" + noise, 0)
    assert found is None or found.samples > 0


def test_a_tail_of_headers_is_not_looked_at_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = 0

    def counting(data: bytes) -> bool:
        nonlocal checks
        checks += 1
        return divisible(data)

    monkeypatch.setattr("proxy.audio.flac_frames.divisible", counting)
    assert measure([flac(*[frame(0)[:6]] * 100_000)]).seconds is None
    assert 0 < checks < 25


def test_the_last_whole_frame_is_found_behind_frames_that_were_cut() -> None:
    assert measure([flac(*FOUR[:3], FOUR[3][:-1], b"junk" * 20)]) == Duration(
        3 * BLOCK / RATE, "walked", ended_early=True
    )


@given(st.binary(max_size=400), st.sampled_from([b"", b"fLaC", flac(total=9), flac(FOUR[0]), flac(*FOUR)]))
def test_no_bytes_make_it_raise_or_say_the_absurd(tail: bytes, head: bytes) -> None:
    check_anything(head + tail)


@given(
    st.sampled_from([file for file, _ in FILES.values() if len(file) < 20_000]),
    st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4),
    st.integers(0, 2000),
)
def test_no_change_makes_it_raise_or_say_the_absurd(file: bytes, changes: list[tuple[int, bytes]], size: int) -> None:
    for at, new in changes:
        file = file[:at] + new + file[at + len(new) :]
    check_anything(file[:size])


def check_anything(file: bytes) -> None:
    found = measure([file])
    if found.seconds is not None:
        assert math.isfinite(found.seconds)
        assert 0 <= found.seconds <= len(file) / 10 * 65_535 / 1000  # frames of one value may hold this much
    for pieces in random_cuts(file, 3):
        assert measure(pieces) == found
