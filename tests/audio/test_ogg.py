"""An Ogg file lasts as long as its last pages say, link by link, and only its sound counts."""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audio.duration import Duration
from proxy.audio.ogg import OggProbe
from tests.audio.damaged import cut, damaged, measured, places
from tests.audio.made import filmed, made, piped
from tests.cuts import random_cuts, same_report

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = Path(__file__).parents[1] / "vectors"
OPUS = (VECTORS / "opus.ogg").read_bytes()
CONTINUED, FIRST, LAST = 1, 2, 4
measure = partial(measured, OggProbe)


def page(granule: int, *packets: bytes, flags: int = 0, serial: int = 7, open_end: bool = False) -> bytes:
    """A page that holds whole packets, but the last goes on after it when its end is open. No CRC: nobody checks."""
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    if open_end:
        lacing = lacing[:-1]
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, serial, 0, 0, len(lacing))
    return head + lacing + b"".join(packets)


def opus_head(serial: int = 7, skip: int = 0) -> bytes:
    head = b"OpusHead\x01\x01" + struct.pack("<HIhB", skip, 16_000, 0, 0)
    return page(0, head, flags=FIRST, serial=serial) + page(0, b"OpusTags" + bytes(8), serial=serial)


def vorbis_head(rate: int = 16_000) -> bytes:
    return page(0, b"\x01vorbis" + struct.pack("<IBIIIIBB", 0, 1, rate, 0, 0, 0, 0xB8, 1), flags=FIRST)


def flac_head(rate: int = 16_000, longest: int = 4096) -> bytes:
    streaminfo = struct.pack(">HH", 16, longest) + bytes(6) + (rate << 44).to_bytes(8, "big") + bytes(16)
    return page(0, b"\x7fFLAC\x01\x00\x00\x01fLaC\x00\x00\x00\x22" + streaminfo, flags=FIRST)


def speex_head(rate: int = 16_000, frame: int = 320, frames: int = 2) -> bytes:
    head = b"Speex   " + b"1.2".ljust(20, b"\0") + struct.pack("<9I", 1, 80, rate, 1, 4, 1, 0, frame, 0)
    return page(0, head + struct.pack("<4I", frames, 0, 0, 0), flags=FIRST)


TWENTY_MS = b"\x48\x00\x00"  # SILK, one frame
VIDEO = page(0, b"\x80theora" + bytes(34), flags=FIRST, serial=9)


def pages(count: int, *, first: int = 1, each: int = 50, serial: int = 7) -> bytes:
    """Pages of Opus, one second each if not said otherwise, numbered from ``first``; the last is not marked as such."""
    return b"".join(
        page(number * each * 960, *[TWENTY_MS] * each, serial=serial) for number in range(first, first + count)
    )


SMALL = opus_head() + page(960, TWENTY_MS) + page(1440, TWENTY_MS, flags=LAST)


@pytest.mark.parametrize(
    ("name", "seconds"), [("opus.ogg", 3.035), ("vorbis.ogg", 3.035), ("flac.ogg", 3.035), ("chained.ogg", 6.07)]
)
def test_every_real_file_is_measured_however_it_is_cut(name: str, seconds: float) -> None:
    found = same_report((VECTORS / name).read_bytes(), measure)
    assert found == Duration(pytest.approx(seconds, abs=0.02), "walked", ended_early=False)  # type: ignore[arg-type]


FILES = {
    "Opus in frames of 2.5 ms": ("opus", ("-c:a", "libopus", "-frame_duration", "2.5")),
    "Opus in frames of 20 ms": ("opus", ("-c:a", "libopus")),
    "Opus in frames of 60 ms": ("opus", ("-c:a", "libopus", "-frame_duration", "60")),
    "Opus, one packet to a page": ("ogg", ("-c:a", "libopus", "-page_duration", "20000")),
    "Vorbis": ("ogg", ("-c:a", "libvorbis")),
    "FLAC": ("ogg", ("-c:a", "flac")),
    "Speex": ("ogg", ("-c:a", "libspeex")),
}


@pytest.mark.parametrize(("rate", "channels", "seconds"), [(16_000, 1, 0.1), (8_000, 1, 3.0), (32_000, 2, 65.0)])
@pytest.mark.parametrize(("kind", "options"), FILES.values(), ids=FILES.keys())
def test_ffmpegs_files_are_measured(
    kind: str, options: tuple[str, ...], rate: int, channels: int, seconds: float
) -> None:
    if kind == "opus" and rate == 32_000:
        rate = 48_000  # Opus has no 32 kHz
    if "libopus" in options and rate == 32_000:
        rate = 24_000
    data = piped(kind, *options, seconds=seconds, rate=rate, channels=channels)
    for chunks in random_cuts(data, 3):
        found = measure(chunks)
        assert found == Duration(pytest.approx(seconds, abs=0.02), "walked")  # type: ignore[arg-type]


def test_files_joined_end_to_end_add_up(tmp_path: Path) -> None:
    parts = [
        made(tmp_path, "a.ogg", "-c:a", "libopus", seconds=1.0),
        made(tmp_path, "b.ogg", "-c:a", "libvorbis", seconds=2.0),
        made(tmp_path, "c.ogg", "-c:a", "flac", seconds=0.5),
    ]
    found = measure([b"".join(parts)])
    assert found == Duration(pytest.approx(3.5, abs=0.03), "walked")  # type: ignore[arg-type]


def test_of_a_film_only_the_sound_counts(tmp_path: Path) -> None:
    data = filmed(tmp_path, "film.ogv", "-c:v", "libtheora", "-c:a", "libvorbis", seconds=1.0, film_seconds=4.0)
    assert measure([data]).seconds == pytest.approx(1.0, abs=0.02)


SHAPES: dict[str, tuple[bytes, Duration]] = {
    "a small file": (SMALL, Duration(0.03, "walked")),
    "samples to be thrown away": (opus_head(skip=312) + pages(2), Duration(2 - 312 / 48_000, "walked")),
    "no mark at the last page": (opus_head() + pages(3), Duration(3.0, "walked")),
    "a page that ends no packet": (
        opus_head() + pages(2) + page(-1, bytes(510), open_end=True) + pages(1, first=3),
        Duration(3.0, "walked"),
    ),
    "a last page that counts less than it holds": (
        opus_head() + page(24_000, *[TWENTY_MS] * 50, flags=LAST),
        Duration(0.5, "walked"),
    ),
    "a page that is lost": (opus_head() + pages(1) + pages(1, first=3), Duration(3.0, "walked")),
    "a broadcast that was joined": (
        opus_head() + pages(5, first=1000),
        Duration(5.0, "walked"),
    ),
    "a broadcast that was joined within a packet": (
        opus_head() + page(480_000, b"\0\0", *[TWENTY_MS] * 50, flags=CONTINUED) + pages(1, first=11),
        Duration(2.0, "walked"),
    ),
    "Opus packets of several frames": (
        opus_head() + page(960 * 1000, b"\x49", b"\x4b\x03", b"\xfc") + page(960 * 1001, b"\xfc"),
        Duration(0.02 * (2 + 3 + 1 + 1), "walked"),
    ),
    "Vorbis that was joined": (
        vorbis_head() + page(1_000_000, *[bytes(9)] * 4) + page(1_000_000 + 16_000, bytes(9)),
        Duration(4 * 1024 / 16_000 + 1, "walked"),
    ),
    "FLAC that was joined": (
        flac_head() + page(1_004_096, bytes(9)) + page(1_008_192, bytes(9)),
        Duration(8192 / 16_000, "walked"),
    ),
    "Speex that was joined": (
        speex_head() + page(1_000_000, bytes(9), bytes(9)) + page(1_000_640, bytes(9)),
        Duration(3 * 640 / 16_000, "walked"),
    ),
    "two links with the same serial": (SMALL * 2, Duration(0.06, "walked")),
    "two links with their own": (SMALL + opus_head(8) + pages(1, serial=8), Duration(1.03, "walked")),
    "a first page twice": (opus_head()[:47] + opus_head() + pages(1), Duration(1.0, "walked")),
    "a picture beside": (VIDEO + opus_head() + page(10**9, bytes(9), serial=9) + pages(1), Duration(1.0, "walked")),
    "two voices side by side": (
        opus_head(1)[:47] + opus_head(2)[:47] + pages(1, serial=1) + pages(4, serial=2),
        Duration(4.0, "walked"),
    ),
    "more streams than are followed": (
        b"".join(opus_head(serial)[:47] for serial in range(40)) + pages(9, serial=39) + pages(2, serial=3),
        Duration(2.0, "walked"),
    ),
    "junk between pages": (
        opus_head() + pages(1) + b"OggX" * 9 + b"OggS\x01" + bytes(99) + pages(1, first=2),
        Duration(2.0, "walked"),
    ),
    "a tag behind the pages": (opus_head() + pages(1) + b"TAG" + bytes(125), Duration(1.0, "walked")),
    "more junk than is searched": (
        opus_head() + pages(1) + bytes(300_000) + pages(1, first=2),
        Duration(None, "unknown"),
    ),
    "sound of an unknown kind": (
        page(0, b"\x01strange" + bytes(40), flags=FIRST) + pages(1),
        Duration(None, "unknown"),
    ),
    "sound without samples": (vorbis_head(rate=0) + page(16_000, bytes(9)), Duration(None, "unknown")),
    "a head without sound": (opus_head(), Duration(0.0, "walked")),
    "sound without a head": (pages(3), Duration(None, "unknown")),
    "nothing": (b"", Duration(None, "unknown")),
    "longer than any recording": (opus_head() + pages(1) + page(1 << 60, TWENTY_MS), Duration(None, "unknown")),
    "more pages than any file has": (opus_head() + page(0) * 2000, Duration(None, "unknown")),
    "one packet of silence to a page": (opus_head() + pages(5000, each=1), Duration(100.0, "walked")),
}


@pytest.mark.parametrize(("data", "expected"), SHAPES.values(), ids=SHAPES.keys())
def test_a_stream_is_as_long_as_its_pages_say(data: bytes, expected: Duration) -> None:
    found = same_report(data, measure)
    assert (found.source, found.ended_early) == (expected.source, expected.ended_early)
    assert found.seconds == (None if expected.seconds is None else pytest.approx(expected.seconds, abs=1e-6))


ENDS: dict[str, tuple[Callable[[bytes], bytes], float | None, bool]] = {
    "after a page": (lambda data: data, 3.0, False),
    "in a page's payload": (lambda data: data[:-1], 2.0, True),
    "at a page's payload": (lambda data: data[:-150], 2.0, True),
    "in a page's lacing": (lambda data: data[:-170], 2.0, True),
    "in a page's head": (lambda data: data[:-210], 2.0, True),
    "after one byte of a page": (lambda data: data[:-226], 2.0, True),
    "in the first page": (lambda data: data[:30], None, True),
}


@pytest.mark.parametrize(("end", "seconds", "early"), ENDS.values(), ids=ENDS.keys())
def test_a_page_counts_when_all_of_it_has_come(
    end: Callable[[bytes], bytes], seconds: float | None, early: bool
) -> None:
    found = same_report(end(opus_head() + pages(3)), measure)
    assert found == Duration(seconds, "unknown" if seconds is None else "walked", early)


@given(st.integers(0, len(OPUS)))
def test_a_file_cut_anywhere_has_as_much_as_arrived(size: int) -> None:
    found = measure([OPUS[:size]])
    whole_pages = size == len(OPUS) or OPUS.startswith(b"OggS", size)
    assert found.ended_early == (not whole_pages and size > 0)
    if found.seconds is not None:
        assert found.seconds <= 3.035 * size / len(OPUS) + 0.3  # its bit rate varies


@given(st.binary(max_size=400), st.data())
def test_any_bytes_are_read_without_error(data: bytes, draw: st.DataObject) -> None:
    head = draw.draw(st.sampled_from((b"", b"OggS", SMALL[:60], SMALL)))
    data = head + data
    assert measure([data]) == measure(cut(data, draw.draw(places(len(data)))))


@given(damaged(OPUS, (b"OggS", b"OggS\0\2", b"OpusHead", b"\xff" * 8)), st.data())
def test_a_damaged_file_gets_one_verdict_however_it_is_cut(data: bytes, draw: st.DataObject) -> None:
    assert measure([data]) == measure(cut(data, draw.draw(places(len(data)))))


PAGES = st.builds(
    page,
    st.one_of(st.integers(-1, 200_000), st.integers(-(1 << 63), (1 << 63) - 1)),
    st.binary(max_size=300),
    flags=st.integers(0, 9),
    serial=st.integers(0, 3),
    open_end=st.booleans(),
)


@given(st.lists(st.one_of(PAGES, st.sampled_from((opus_head(1), vorbis_head(), pages(1)))), max_size=12), st.data())
def test_any_pages_get_one_verdict_however_they_are_cut(parts: list[bytes], draw: st.DataObject) -> None:
    data = b"".join(parts)
    assert measure([data]) == measure(cut(data, draw.draw(places(len(data)))))


def test_what_has_arrived_is_told_at_any_time() -> None:
    probe = OggProbe()
    told = []
    for chunk in (opus_head(), pages(1), pages(1, first=2)[:100], pages(1, first=2)[100:]):
        probe.feed(chunk)
        told.append(probe.seconds)
    assert told == [0.0, 1.0, 1.0, 2.0]
