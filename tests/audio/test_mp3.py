"""An MP3 file lasts as long as its frames, counted: not as its bitrate, its size or its first frame would have it."""

from __future__ import annotations

import math
import random
import struct
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audio.duration import Duration
from proxy.audio.mp3 import Mp3Probe
from proxy.audio.mp3_frames import ANY_HEADER, kind_of, stride_of
from proxy.audio.mp3_walk import FrameWalker
from tests.audio.made import made
from tests.cuts import random_cuts, same_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

VECTORS = Path(__file__).parents[1] / "vectors"
TRUE = 3.035
STRIDES = 300  # frames: long enough that they are taken in strides


def about(seconds: float, slack: float = 1e-6) -> Any:
    return pytest.approx(seconds, abs=slack)


def measure(chunks: Iterable[bytes]) -> Duration:
    probe = Mp3Probe()
    for chunk in chunks:
        probe.feed(chunk)
    return probe.finish()


class Sort(NamedTuple):
    """A sort of frames: the header's second byte, the third without bitrate and padding, and what follows from them."""

    second: int
    rate_bits: int
    rate: int
    samples: int
    bitrates: Sequence[int]
    slot: int = 1

    def length(self, index: int, padding: int = 0) -> int:
        return (self.samples // 8 * self.bitrates[index] * 1000 // (self.rate * self.slot) + padding) * self.slot

    def frame(self, index: int = 9, padding: int = 0, body: bytes = b"") -> bytes:
        head = bytes([0xFF, self.second, index << 4 | self.rate_bits | padding << 1, 0])
        return (head + body).ljust(self.length(index, padding), b"\x5a")

    def constant(self, count: int, index: int = 9) -> bytes:
        """As encoders do it: padded where the rounded lengths fall behind the bitrate."""
        exact = self.samples // 8 * self.bitrates[index] * 1000 / (self.rate * self.slot)
        ends = [int(exact * at) for at in range(count + 1)]
        low = self.length(index) // self.slot
        return b"".join(self.frame(index, after - before - low) for before, after in pairwise(ends))

    def seconds(self, count: float) -> float:
        return count * self.samples / self.rate


V1_L1 = [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448]
V1_L2 = [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384]
V1_L3 = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
V2_L1 = [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256]
V2_L3 = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]

SORTS = {
    "MPEG 1 layer III 44.1 kHz": Sort(0xFB, 0x0, 44_100, 1152, V1_L3),
    "MPEG 1 layer III 48 kHz, with CRC": Sort(0xFA, 0x4, 48_000, 1152, V1_L3),
    "MPEG 1 layer III 32 kHz": Sort(0xFB, 0x8, 32_000, 1152, V1_L3),
    "MPEG 1 layer II 44.1 kHz": Sort(0xFD, 0x0, 44_100, 1152, V1_L2),
    "MPEG 1 layer I 44.1 kHz": Sort(0xFF, 0x0, 44_100, 384, V1_L1, 4),
    "MPEG 2 layer III 22.05 kHz": Sort(0xF3, 0x0, 22_050, 576, V2_L3),
    "MPEG 2 layer III 24 kHz": Sort(0xF3, 0x4, 24_000, 576, V2_L3),
    "MPEG 2 layer II 16 kHz": Sort(0xF5, 0x8, 16_000, 1152, V2_L3),
    "MPEG 2 layer I 22.05 kHz": Sort(0xF7, 0x0, 22_050, 384, V2_L1, 4),
    "MPEG 2.5 layer III 8 kHz": Sort(0xE3, 0x8, 8_000, 576, V2_L3),
    "MPEG 2.5 layer III 11.025 kHz": Sort(0xE3, 0x0, 11_025, 576, V2_L3),
}
USUAL = SORTS["MPEG 1 layer III 44.1 kHz"]
OTHER = SORTS["MPEG 2 layer III 24 kHz"]


def counted(sort: Sort, frames: float, *, ended_early: bool = False) -> Duration:
    return Duration(about(sort.seconds(frames)), "walked", ended_early)


def id3(size: int, *, footer: bool = False, fill: bytes = b"\xff\xfb\x90\x00") -> bytes:
    syncsafe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    flags = b"\x10" if footer else b"\x00"
    body = (fill * (size // 4 + 1))[:size]
    return b"ID3\x04\x00" + flags + syncsafe + body + (b"3DI\x04\x00" + flags + syncsafe if footer else b"")


def ape(items: bytes) -> bytes:
    size = struct.pack("<III", 2000, len(items) + 32, 1)
    return b"".join(
        [b"APETAGEX", size, b"\0\0\0\xa0", bytes(8), items, b"APETAGEX", size, b"\0\0\0\x80", bytes(8)],
    )


def xing(frames: int, *, name: bytes = b"Info", delay: int = 0, padding: int = 0, crc: bytes = b"") -> bytes:
    lame = b"LAME3.100" + bytes(12) + (delay << 12 | padding).to_bytes(3, "big") + bytes(12)
    tag = name + struct.pack(">III", 0xF, frames, 9999) + bytes(100) + struct.pack(">I", 57) + lame
    return USUAL.frame(body=bytes(32) + crc + tag)


def vbri(frames: int) -> bytes:
    return USUAL.frame(body=bytes(32) + b"VBRI" + bytes(10) + struct.pack(">I", frames) + bytes(8))


ID3V1 = b"TAG" + b"\xff" * 125
MIXED = b"".join(USUAL.frame(index, padding) for index in (1, 5, 9, 14, 9, 9, 5) for padding in (0, 1)) * 20  # 280
QUIET_FIRST = USUAL.constant(100, 1) + MIXED
ODDLY_PADDED = b"".join(USUAL.frame(9, at % 3 == 0) for at in range(STRIDES))
LONG = USUAL.constant(STRIDES)

FILES: dict[str, tuple[bytes, Duration]] = {
    "constant": (LONG, counted(USUAL, STRIDES)),
    "two frames": (USUAL.constant(2), counted(USUAL, 2)),
    "one frame": (USUAL.frame(), counted(USUAL, 1)),
    "bitrates that change": (MIXED, counted(USUAL, 280)),
    "bitrates that change after a quiet start": (QUIET_FIRST, counted(USUAL, 380)),
    "padding that fits no bitrate": (ODDLY_PADDED, counted(USUAL, STRIDES)),
    "padding that is never there": (USUAL.frame() * STRIDES, counted(USUAL, STRIDES)),
    "private bits that come and go": (LONG.replace(b"\xfb\x92", b"\xfb\x93"), counted(USUAL, STRIDES)),
    "a tag": (id3(5000) + LONG, counted(USUAL, STRIDES)),
    "tags in a row, one with a footer": (id3(70) + id3(300, footer=True) + id3(0) + LONG, counted(USUAL, STRIDES)),
    "a tag and padding behind it": (id3(70) + bytes(3000) + LONG, counted(USUAL, STRIDES)),
    "ID3v1 at the end": (LONG + ID3V1, counted(USUAL, STRIDES)),
    "APE and ID3v1 at the end": (LONG + ape(b"\xff\xfb\x50\x00" * 9000) + ID3V1, counted(USUAL, STRIDES)),
    "Lyrics3 at the end": (LONG + b"LYRICSBEGIN" + b"la " * 500 + b"000600LYRICS200" + ID3V1, counted(USUAL, STRIDES)),
    "an Info frame": (xing(STRIDES) + LONG, counted(USUAL, STRIDES)),
    "an Info frame with CRC": (xing(STRIDES, crc=b"ab") + LONG, counted(USUAL, STRIDES)),
    "an Info frame, delay and padding": (
        xing(STRIDES, delay=1105, padding=700) + LONG,
        counted(USUAL, STRIDES - 1805 / 1152),
    ),
    "a Xing frame": (xing(280, name=b"Xing") + MIXED, counted(USUAL, 280)),
    "a VBRI frame": (vbri(280) + MIXED, counted(USUAL, 280)),
    "an Info frame that counts itself": (xing(STRIDES + 1) + LONG, counted(USUAL, STRIDES)),
    "an Info frame that promises more": (
        xing(2 * STRIDES, delay=1152, padding=600) + LONG,
        counted(USUAL, STRIDES - 1, ended_early=True),
    ),
    "an Info frame and nothing else": (xing(STRIDES), Duration(None, "unknown")),
    "a last frame that is cut": (LONG[:-1], counted(USUAL, STRIDES - 1, ended_early=True)),
    "a last frame that is cut, of changing bitrates": (MIXED[:-200], counted(USUAL, 279, ended_early=True)),
    "a last header that is cut": (LONG + b"\xff\xfb", counted(USUAL, STRIDES)),
    "joined files": (
        id3(50) + xing(STRIDES) + LONG + ID3V1 + id3(99) + xing(280, name=b"Xing") + MIXED + ID3V1,
        counted(USUAL, STRIDES + 280),
    ),
    "joined files of different rates": (
        USUAL.constant(100) + OTHER.constant(100),
        Duration(about(USUAL.seconds(100) + OTHER.seconds(100)), "walked"),
    ),
    "junk before, between and after": (
        id3(9) + b"junk\xff\xfb\x90" * 20 + LONG + b"\xff" * 900 + LONG + b"\0" * 50,
        counted(USUAL, 2 * STRIDES),
    ),
    "a frame that lost its header": (LONG[:4179] + b"x" + LONG[4180:], counted(USUAL, STRIDES - 1)),
    "a frame that lost its header where strides begin": (
        LONG[:27_585] + b"x" + LONG[27_586:],
        counted(USUAL, STRIDES - 1),
    ),
    "a frame that lost its header within a stride": (LONG[:41_795] + b"x" + LONG[41_796:], counted(USUAL, STRIDES)),
    "much more junk than frames": (USUAL.constant(4) + b"junk" * 10_000, Duration(None, "unknown")),
    "junk without end after a long file": (
        USUAL.constant(1000) + b"\xff\xe0" * 100_000,
        counted(USUAL, 1000),
    ),
    "ADTS behind a tag": (id3(20) + b"\xff\xf1\x50\x80\x2e\x7f\xfc" * 900, Duration(None, "unknown")),
    "free format": (b"\xff\xfb\x00\x00" + bytes(800), Duration(None, "unknown")),
    "a tag and no more": (id3(100), Duration(None, "unknown")),
    "a tag that is cut": (id3(100)[:50], Duration(None, "unknown")),
    "tags without end": (id3(0) * 1000 + LONG, Duration(None, "unknown")),
    "FLAC behind a tag": (id3(900) + (VECTORS / "speech.flac").read_bytes(), Duration(3.035, "header")),
    "piped FLAC behind tags": (id3(90) * 2 + (VECTORS / "piped.flac").read_bytes(), Duration(3.035, "walked")),
}


@pytest.mark.parametrize(("file", "expected"), FILES.values(), ids=FILES)
def test_a_file_is_measured_the_same_however_it_is_cut(file: bytes, expected: Duration) -> None:
    assert same_report(file, measure) == expected


@pytest.mark.parametrize("sort", SORTS.values(), ids=SORTS)
@pytest.mark.parametrize("index", [1, 6, 14])
def test_every_sort_of_frame_is_counted(sort: Sort, index: int) -> None:
    file = sort.constant(STRIDES, index)
    changing = b"".join(sort.frame(at % 14 + 1, at & 1) for at in range(STRIDES))
    for data in (file, changing):
        assert measure([data]) == counted(sort, STRIDES)
        for pieces in random_cuts(data, 5):
            assert measure(pieces) == counted(sort, STRIDES)


@pytest.mark.parametrize("sort", SORTS.values(), ids=SORTS)
@pytest.mark.parametrize("index", range(1, 15))
def test_frames_of_one_bitrate_are_taken_in_strides(sort: Sort, index: int) -> None:
    stride = stride_of(sort.second | 1, index << 4 | sort.rate_bits)
    data = sort.constant(2001, index)
    found = stride.pattern.match(data)
    assert found is not None
    count = found.end() // stride.low
    assert found.end() == len(sort.constant(8 * count, index))
    assert count == min(250, max(1, stride.low // sort.slot - 1)) or stride.low == stride.high


@pytest.mark.parametrize("second", range(0xD8, 0x100))
def test_a_header_is_one_or_none_the_same_everywhere(second: int) -> None:
    for third in range(256):
        header = bytes([0xFF, second, third])
        kind = kind_of(second, third)
        assert (kind is not None) == (ANY_HEADER.match(header) is not None)
        assert kind is None or kind.length(header, 0) > 20


@pytest.mark.parametrize("name", ["cbr.mp3", "vbr.mp3", "cbr-noxing.mp3", "vbr-noxing.mp3"])
def test_the_vectors_last_as_long_as_they_do(name: str) -> None:
    found = same_report((VECTORS / name).read_bytes(), measure)
    assert found.seconds == pytest.approx(TRUE, abs=0.11 if "noxing" in name else 0.001)
    assert (found.source, found.ended_early) == ("walked", False)


@pytest.mark.parametrize(
    ("rate", "channels", "options"),
    [
        (8_000, 1, ("-b:a", "8k")),
        (11_025, 1, ("-b:a", "32k")),
        (16_000, 1, ("-b:a", "48k")),
        (22_050, 2, ("-b:a", "64k")),
        (44_100, 2, ("-b:a", "128k")),
        (44_100, 1, ("-b:a", "320k")),
        (48_000, 2, ("-b:a", "192k")),
        (44_100, 2, ("-q:a", "0")),
        (44_100, 2, ("-q:a", "9")),
        (16_000, 1, ("-q:a", "4")),
        (44_100, 2, ("-abr", "1", "-b:a", "96k")),
    ],
    ids=lambda value: "-".join(value).strip("-") if isinstance(value, tuple) else None,
)
@pytest.mark.parametrize("seconds", [0.5, 11.3])
def test_what_lame_writes_is_measured(
    tmp_path: Path, rate: int, channels: int, options: tuple[str, ...], seconds: float
) -> None:
    tagged = made(tmp_path, "made.mp3", *options, seconds=seconds, rate=rate, channels=channels)
    assert measure([tagged]) == Duration(about(seconds, 0.001), "walked")
    bare = made(tmp_path, "bare.mp3", *options, "-write_xing", "0", seconds=seconds, rate=rate, channels=channels)
    padded = 4 * (1152 if rate > 30_000 else 576) / rate  # the encoder's own delay, and the last frame
    found = measure([bare])
    assert found.seconds is not None
    assert seconds <= found.seconds <= seconds + padded
    for pieces in random_cuts(bare, 5):
        assert measure(pieces) == found


def test_layer_ii_is_measured(tmp_path: Path) -> None:
    file = made(tmp_path, "made.mp2", "-b:a", "192k", seconds=9.0, rate=48_000, channels=2)
    assert measure([file]) == Duration(about(9.0, 0.05), "walked")


@pytest.mark.parametrize("name", ["cbr.mp3", "vbr-noxing.mp3"])
def test_a_file_that_was_cut_tells_which_frames_arrived_whole(name: str) -> None:
    file = (VECTORS / name).read_bytes()
    frame = 576 / 16_000
    for size in random.Random(7).choices(range(1500, len(file) - 1500), k=60):
        found, next_byte = measure([file[:size]]), measure([file[: size + 1]])
        assert found.source == "walked"
        assert found.seconds == about(TRUE * size / len(file), 0.5)
        assert found.seconds is not None
        assert next_byte.seconds in (found.seconds, about(found.seconds + frame))
    early = [measure([file[:size]]).ended_early for size in range(1500, 2000)]
    assert sum(early) >= 485  # all but where one frame ends and the next begins


def test_the_audio_so_far_is_known_at_any_time_and_finish_may_be_asked_early() -> None:
    probe = Mp3Probe()
    before = 0.0
    for at in range(0, len(LONG), 1000):
        probe.feed(LONG[at : at + 1000])
        if at % 5000 == 0:
            assert probe.finish() == measure([LONG[: at + 1000]])
        whole = USUAL.seconds(len(LONG[: at + 1000]) / 417.9)
        assert before <= probe.seconds <= whole + USUAL.seconds(1)
        assert probe.seconds >= whole - USUAL.seconds(10)
        before = probe.seconds
    assert probe.finish() == counted(USUAL, STRIDES)


def test_a_tag_of_many_megabytes_is_passed_over_and_not_held() -> None:
    probe = Mp3Probe()
    probe.feed(id3(200_000_000, fill=b"")[:10])
    for _ in range(2000):
        probe.feed(bytes(100_000))
        assert not probe._held
        assert not probe._walker._held
    probe.feed(LONG)
    assert probe.finish() == counted(USUAL, STRIDES)


@pytest.mark.parametrize("sort", SORTS.values(), ids=SORTS)
def test_no_more_than_a_stride_is_held(sort: Sort) -> None:
    walker = FrameWalker()
    file = sort.constant(200, 14)
    for at in range(0, len(file), 100):
        walker.feed(file[at : at + 100])
        assert len(walker._held) <= 8 * (sort.length(14) + sort.slot) + 3
    assert walker.ended().frames == 200


NOISE = random.Random(11).randbytes(400_000)
HARD = {
    "noise": USUAL.constant(3) + NOISE,
    "all ones": USUAL.constant(3) + b"\xff" * 400_000,
    "headers": USUAL.constant(3) + b"\xff\xfb\x90\x5a" * 100_000,
    "lost after every third frame": (USUAL.constant(3) + b"x") * 4000,
    "tags": USUAL.constant(3) + id3(0) * 40_000,
}


@pytest.mark.parametrize("file", HARD.values(), ids=HARD)
def test_what_is_no_mp3_is_given_up_after_a_bounded_number_of_looks(
    file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    search = FrameWalker._search

    def counting(walker: FrameWalker, data: bytes, at: int, final: bool) -> int:
        nonlocal looks
        looks += 1
        return search(walker, data, at, final)

    monkeypatch.setattr(FrameWalker, "_search", counting)
    walker = FrameWalker()
    for at in range(0, len(file), 65_536):
        walker.feed(file[at : at + 65_536])
    assert walker.given_up
    assert 0 < looks < 3000


@given(st.binary(max_size=400), st.sampled_from([b"", b"\xff\xfb\x90", id3(0), USUAL.constant(2), xing(9)]))
def test_no_bytes_make_it_raise_or_say_the_absurd(tail: bytes, head: bytes) -> None:
    check_anything(head + tail)


SEEDS = [file for file, _ in FILES.values() if len(file) < 200_000]
SEEDS += [(VECTORS / name).read_bytes() for name in ("cbr.mp3", "vbr.mp3", "cbr-noxing.mp3", "vbr-noxing.mp3")]


@given(
    st.sampled_from(SEEDS),
    st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from([0, 1, 417, 418]), st.binary(max_size=4)), min_size=1, max_size=5
    ),
    st.floats(0.1, 1),
    st.integers(0, 1000),
)
def test_no_change_makes_it_raise_or_say_the_absurd(
    file: bytes, changes: list[tuple[float, int, bytes]], part: float, seed: int
) -> None:
    for where, dropped, new in changes:
        at = int(where * len(file))
        file = file[:at] + new + file[at + dropped :]
    check_anything(file[: int(part * len(file))], seed)


def check_anything(file: bytes, seed: int = 1) -> None:
    found = measure([file])
    if found.seconds is not None:
        assert math.isfinite(found.seconds)
        assert 0 <= found.seconds <= len(file) / 1000 + 0.1  # 8 kbit/s is the least there is
    for pieces in random_cuts(file, 3, seed=seed):
        assert measure(pieces) == found
    assert measure(file[at : at + 100] for at in range(0, len(file), 100)) == found
