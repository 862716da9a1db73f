"""An MP4 file lasts as long as its sound's header says, or as the samples of its fragments do."""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audio.duration import Duration
from proxy.audio.mp4 import Mp4Probe
from tests.audio.damaged import cut, damaged, measured, places
from tests.audio.made import filmed, made, piped
from tests.cuts import random_cuts, same_report

VECTORS = Path(__file__).parents[1] / "vectors"
FASTSTART = (VECTORS / "faststart.m4a").read_bytes()
FRAGMENTED = (VECTORS / "fragmented.mp4").read_bytes()
WORDS = (
    b"moov",
    b"trak",
    b"mdia",
    b"mdhd",
    b"elst",
    b"moof",
    b"traf",
    b"trun",
    b"mdat",
    b"free",
    bytes(4),
    b"\xff" * 4,
)
measure = partial(measured, Mp4Probe)


def box(kind: bytes, *parts: bytes, large: bool = False) -> bytes:
    body = b"".join(parts)
    if large:
        return struct.pack(">I4sQ", 1, kind, 16 + len(body)) + body
    return struct.pack(">I4s", 8 + len(body), kind) + body


def words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def mdhd(length: int, scale: int, *, long: bool = False) -> bytes:
    times = struct.pack(">IQQIQ", 1 << 24, 0, 0, scale, length) if long else words(0, 0, 0, scale, length)
    return box(b"mdhd", times, bytes(4))


def trak(
    length: int,
    *more: bytes,
    scale: int = 16_000,
    kind: bytes = b"soun",
    identity: int = 1,
    long: bool = False,
    before: bytes = b"",
) -> bytes:
    """A track whose header says ``length``; ``more`` stands in it, and ``before`` in front of its handler."""
    hdlr = box(b"hdlr", words(0, 0), kind, bytes(13))
    tables = box(b"minf", box(b"stbl", box(b"stsz", bytes(400))))
    return box(
        b"trak",
        box(b"tkhd", words(0, 0, 0, identity), bytes(68)),
        *more,
        box(b"mdia", mdhd(length, scale, long=long), before, hdlr, tables),
    )


def moov(*parts: bytes) -> bytes:
    return box(b"moov", box(b"mvhd", words(0, 0, 0, 1000, 0), bytes(80)), *parts)


def edits(*played: tuple[int, int], long: bool = False) -> bytes:
    """An edit list: how much is played, on the movie's clock of 1000 per second, and from which sample of the track."""
    row = ">QqI" if long else ">IiI"
    rows = b"".join(struct.pack(row, length, start, 1 << 16) for length, start in played)
    return box(b"edts", box(b"elst", words(1 << 24 if long else 0, len(played)), rows))


def trex(duration: int = 0, identity: int = 1) -> bytes:
    return box(b"mvex", box(b"trex", words(0, identity, 1, duration, 0, 0)))


def fragment(*runs: bytes, identity: int = 1, flags: int = 0, fields: bytes = b"", at: int | None = None) -> bytes:
    """A fragment without its media; ``at`` is the time at which it is decoded."""
    time = b"" if at is None else box(b"tfdt", words(0, at))
    tfhd = box(b"tfhd", words(flags, identity), fields)
    return box(b"moof", box(b"mfhd", words(0, 1)), box(b"traf", tfhd, time, *runs))


def run(*durations: int, sizes: bool = False) -> bytes:
    """The samples of a fragment with the duration of each, and its size when asked for."""
    rows = [word for duration in durations for word in ((duration, 99) if sizes else (duration,))]
    return box(b"trun", words(0x101 | (0x200 if sizes else 0), len(durations), 0, *rows))


def alike(count: int) -> bytes:
    """The samples of a fragment, all as long as the default."""
    return box(b"trun", words(0, count))


FTYP = box(b"ftyp", b"M4A \0\0\0\0")
MEDIA = box(b"mdat", bytes(range(100)))
THREE = trak(48_000)  # three seconds
EMPTY = moov(trak(0), trex(1024))
SECOND = fragment(run(*[1000] * 16)) + MEDIA


@pytest.mark.parametrize(
    ("name", "source", "abs_"),
    [
        ("faststart.m4a", "header", 0.02),
        ("moov-at-end.m4a", "header", 0.02),
        ("fragmented.mp4", "walked", 0.11),  # nothing in it tells how much the encoder put before and behind
    ],
)
def test_every_real_file_is_measured_however_it_is_cut(name: str, source: str, abs_: float) -> None:
    found = same_report((VECTORS / name).read_bytes(), measure)
    assert (found.source, found.ended_early) == (source, False)
    assert found.seconds == pytest.approx(3.035, abs=abs_)


FILES = {
    "AAC": ("-c:a", "aac"),
    "AAC, moov first": ("-c:a", "aac", "-movflags", "+faststart"),
    "ALAC": ("-c:a", "alac"),
}
PIECES = {
    "one fragment": ("-movflags", "frag_keyframe+empty_moov"),
    "fragments of half a second": ("-movflags", "empty_moov+default_base_moof", "-frag_duration", "500000"),
    "a fragment per frame": ("-movflags", "empty_moov+frag_every_frame"),
    "fragments with an edit list": ("-movflags", "empty_moov+delay_moov", "-frag_duration", "500000"),
    "the first samples in moov": ("-movflags", "frag_custom", "-frag_duration", "1000000"),
}
SOUNDS = [(8_000, 1, 3.0), (16_000, 1, 0.1), (44_100, 2, 7.3), (48_000, 1, 65.0)]


@pytest.mark.parametrize(("rate", "channels", "seconds"), SOUNDS)
@pytest.mark.parametrize("options", FILES.values(), ids=FILES.keys())
def test_ffmpegs_files_are_measured(
    tmp_path: Path, options: tuple[str, ...], rate: int, channels: int, seconds: float
) -> None:
    data = made(tmp_path, "a.m4a", *options, seconds=seconds, rate=rate, channels=channels)
    for chunks in random_cuts(data, 3):
        found = measure(chunks)
        assert found == Duration(pytest.approx(seconds, abs=0.02), "header")  # type: ignore[arg-type]


@pytest.mark.parametrize(("rate", "channels", "seconds"), SOUNDS)
@pytest.mark.parametrize("options", PIECES.values(), ids=PIECES.keys())
def test_ffmpegs_fragmented_files_are_measured(
    options: tuple[str, ...], rate: int, channels: int, seconds: float
) -> None:
    data = piped("mp4", "-c:a", "aac", *options, seconds=seconds, rate=rate, channels=channels)
    frames = 2.5 * 1024 / rate  # the encoder's own silence: a frame and a half before, the last one's rest behind
    for chunks in random_cuts(data, 3):
        found = measure(chunks)
        assert found.ended_early is False
        assert found.seconds == pytest.approx(seconds, abs=0.02 + frames)


@pytest.mark.parametrize("options", [(), ("-movflags", "frag_keyframe+empty_moov")], ids=["whole", "in fragments"])
def test_of_a_film_only_the_sound_counts(tmp_path: Path, options: tuple[str, ...]) -> None:
    data = filmed(tmp_path, "film.mp4", "-c:v", "mpeg4", "-c:a", "aac", *options, seconds=1.0, film_seconds=4.0)
    assert measure([data]).seconds == pytest.approx(1.0, abs=0.11)


SHAPES: dict[str, tuple[bytes, Duration]] = {
    "moov first": (FTYP + moov(THREE) + MEDIA, Duration(3.0, "header")),
    "moov last": (FTYP + MEDIA + moov(THREE), Duration(3.0, "header")),
    "no ftyp": (MEDIA + moov(THREE), Duration(3.0, "header")),
    "a length of 64 bits": (FTYP + moov(trak(48_000, long=True)) + MEDIA, Duration(3.0, "header")),
    "boxes with sizes of 64 bits": (
        FTYP + box(b"moov", THREE, large=True) + box(b"mdat", bytes(9), large=True),
        Duration(3.0, "header"),
    ),
    "media that go on to the end": (
        FTYP + moov(THREE) + words(0) + b"mdat" + bytes(500),
        Duration(3.0, "header"),
    ),
    "boxes that nobody knows": (
        FTYP + box(b"what", bytes(99)) + moov(box(b"ever", bytes(9)), THREE) + box(b"free", bytes(9)) + MEDIA,
        Duration(3.0, "header"),
    ),
    "QuickTime's four zeros behind the last box": (
        FTYP + box(b"moov", THREE, bytes(4)) + MEDIA,
        Duration(3.0, "header"),
    ),
    "a QuickTime handler in the media's own information": (
        FTYP + moov(trak(48_000, before=box(b"minf", box(b"hdlr", words(0, 0), b"alis")))) + MEDIA,
        Duration(3.0, "header"),
    ),
    "a longer picture": (FTYP + moov(trak(99_000, kind=b"vide"), THREE) + MEDIA, Duration(3.0, "header")),
    "two voices": (FTYP + moov(trak(16_000), THREE) + MEDIA, Duration(3.0, "header")),
    "a picture alone": (FTYP + moov(trak(48_000, kind=b"vide")) + MEDIA, Duration(None, "unknown")),
    "an edit that leaves out the encoder's silence": (
        FTYP + moov(trak(49_024, edits((3000, 1024)))) + MEDIA,
        Duration(3.0, "header"),
    ),
    "an edit of 64 bits": (
        FTYP + moov(trak(49_024, edits((3000, 1024), long=True))) + MEDIA,
        Duration(3.0, "header"),
    ),
    "edits with a pause": (
        FTYP + moov(trak(48_000, edits((500, -1), (1000, 0), (1500, 24_000)))) + MEDIA,
        Duration(2.5, "header"),
    ),
    "an edit that plays more than there is": (
        FTYP + moov(trak(48_000, edits((9000, 0)))) + MEDIA,
        Duration(3.0, "header"),
    ),
    "an edit list of no edits": (FTYP + moov(trak(48_000, edits())) + MEDIA, Duration(3.0, "header")),
    "more edits than are read": (
        FTYP + moov(trak(48_000, edits(*[(10, 0)] * 99))) + MEDIA,
        Duration(3.0, "header"),
    ),
    "more tracks than are followed": (
        FTYP + moov(*[trak(16_000)] * 40, THREE) + MEDIA,
        Duration(1.0, "header"),
    ),
    "an unknown length": (FTYP + moov(trak(0xFFFFFFFF)) + MEDIA, Duration(None, "unknown")),
    "no clock": (FTYP + moov(trak(48_000, scale=0)) + MEDIA, Duration(None, "unknown")),
    "fragments": (FTYP + EMPTY + SECOND * 3, Duration(3.0, "walked")),
    "fragments whose samples have sizes too": (
        FTYP + EMPTY + fragment(run(*[1000] * 16, sizes=True)) + MEDIA,
        Duration(1.0, "walked"),
    ),
    "fragments in several runs": (
        FTYP + EMPTY + fragment(run(1000, 2000), alike(2), run(952)) + MEDIA,
        Duration((1000 + 2000 + 2 * 1024 + 952) / 16_000, "walked"),
    ),
    "samples as long as the fragment says": (
        FTYP + EMPTY + fragment(alike(10), flags=0x8, fields=words(1600)) + MEDIA,
        Duration(1.0, "walked"),
    ),
    "samples as long as the fragment says, after an offset": (
        FTYP + EMPTY + fragment(alike(10), flags=0xB, fields=words(0, 9, 1, 1600)) + MEDIA,
        Duration(1.0, "walked"),
    ),
    "samples as long as the track says": (
        FTYP + EMPTY + fragment(alike(125)) + MEDIA,
        Duration(8.0, "walked"),
    ),
    "fragments of a picture too": (
        FTYP
        + moov(trak(0), trak(0, kind=b"vide", identity=2), trex())
        + (SECOND + fragment(run(*[9000] * 99), identity=2) + MEDIA) * 2,
        Duration(2.0, "walked"),
    ),
    "fragments of a stream that was joined": (
        FTYP + EMPTY + fragment(alike(125), at=10**9) + MEDIA,
        Duration(8.0, "walked"),
    ),
    "fragments after samples that moov describes": (
        FTYP + moov(THREE, trex()) + MEDIA + fragment(run(*[1000] * 16), at=48_000) + MEDIA,
        Duration(4.0, "walked"),
    ),
    "fragments of which moov knows the whole length": (
        FTYP + moov(THREE, trex()) + (fragment(run(*[1000] * 24), at=0) + MEDIA) * 2,
        Duration(3.0, "walked"),
    ),
    "fragments that begin with the encoder's silence": (
        FTYP + moov(trak(0, edits((0, 1024))), trex(1024)) + fragment(alike(126)) + MEDIA,
        Duration(8.0, "walked"),
    ),
    "an index of fragments": (
        FTYP + EMPTY + box(b"sidx", bytes(40)) + SECOND + box(b"mfra", bytes(40)),
        Duration(1.0, "walked"),
    ),
    "fragments promised, none there": (FTYP + EMPTY, Duration(None, "unknown", ended_early=True)),
    "a fragment whose media did not come": (
        FTYP + EMPTY + SECOND + fragment(alike(125)),
        Duration(1.0, "walked", ended_early=True),
    ),
    "media that did not come": (FTYP + moov(THREE), Duration(0.0, "header", ended_early=True)),
    "a description that did not come": (FTYP + MEDIA, Duration(None, "unknown", ended_early=True)),
    "a tag behind the last box": (FTYP + moov(THREE) + MEDIA + b"TAG" + b"x" * 125, Duration(3.0, "header")),
    "zeros behind the last box": (FTYP + moov(THREE) + MEDIA + bytes(64), Duration(3.0, "header")),
    "a box smaller than its head": (FTYP + words(5) + b"free" + bytes(9) + MEDIA, Duration(None, "unknown")),
    "a box larger than what it stands in": (
        FTYP + box(b"moov", words(900) + b"trak", bytes(99)) + MEDIA,
        Duration(None, "unknown"),
    ),
    "a header too short for its fields": (
        FTYP + moov(box(b"trak", box(b"mdia", box(b"mdhd", words(0, 0))))) + MEDIA,
        Duration(None, "unknown"),
    ),
    "a fragment's header too short for its fields": (
        FTYP + EMPTY + box(b"moof", box(b"traf", box(b"tfhd", words(0)))),
        Duration(None, "unknown"),
    ),
    "more samples than their box holds": (
        FTYP + EMPTY + fragment(box(b"trun", words(0x100, 99, 1024))) + MEDIA,
        Duration(None, "unknown"),
    ),
    "longer than any recording": (FTYP + moov(trak(1 << 40, long=True)) + MEDIA, Duration(None, "unknown")),
    "more boxes than any file has": (FTYP + box(b"free") * 4000 + moov(THREE) + MEDIA, Duration(None, "unknown")),
    "boxes in boxes in boxes": (
        FTYP + moov(*[box(b"trak", box(b"trak", box(b"mdia", box(b"mdia"))))] * 9) + MEDIA,
        Duration(None, "unknown"),
    ),
}


@pytest.mark.parametrize(("data", "expected"), SHAPES.values(), ids=SHAPES.keys())
def test_a_file_is_as_long_as_its_boxes_say(data: bytes, expected: Duration) -> None:
    found = same_report(data, measure)
    assert (found.source, found.ended_early) == (expected.source, expected.ended_early)
    assert found.seconds == (None if expected.seconds is None else pytest.approx(expected.seconds, abs=1e-6))


@given(st.integers(0, len(FASTSTART) - 1), st.sampled_from((FASTSTART, FRAGMENTED)))
def test_a_file_cut_anywhere_has_as_much_as_arrived(size: int, whole: bytes) -> None:
    found = measure([whole[:size]])
    kind = whole[size + 4 : size + 8]
    assert found.ended_early or kind in (b"mfra", b"mdat", b"moov", b"moof", b"free", b"ftyp")
    if found.seconds is not None:
        media = whole.index(b"mdat") + 4
        arrived = max(0, min(size, media + 28_012) - media) / 28_012
        assert found.seconds == pytest.approx(3.1 * arrived, abs=0.1)


@given(st.binary(max_size=400), st.data())
def test_any_bytes_are_read_without_error(data: bytes, draw: st.DataObject) -> None:
    data = draw.draw(st.sampled_from((b"", FTYP, FTYP + EMPTY, FTYP + moov(THREE)[:60]))) + data
    assert measure([data]) == measure(cut(data, draw.draw(places(len(data)))))


@given(st.sampled_from((FASTSTART, FRAGMENTED)).flatmap(partial(damaged, words=WORDS)), st.data())
def test_a_damaged_file_gets_one_verdict_however_it_is_cut(data: bytes, draw: st.DataObject) -> None:
    assert measure([data]) == measure(cut(data, draw.draw(places(len(data)))))


NUMBERS = st.one_of(st.integers(0, 3), st.integers(0, 0xFFFFFFFF))
LEAVES = st.builds(
    lambda kind, numbers: box(kind, words(*numbers)),
    st.sampled_from((b"mvhd", b"tkhd", b"mdhd", b"elst", b"trex", b"tfhd", b"tfdt", b"trun", b"mdat", b"free")),
    st.lists(NUMBERS, max_size=12),
)
BOXES = st.recursive(
    st.one_of(LEAVES, st.sampled_from((THREE, box(b"hdlr", words(0, 0), b"soun"), run(1, 2, 3)))),
    lambda parts: st.builds(
        lambda kind, inner: box(kind, *inner),
        st.sampled_from((b"moov", b"trak", b"mdia", b"edts", b"mvex", b"moof", b"traf")),
        st.lists(parts, max_size=4),
    ),
    max_leaves=12,
)


@given(st.lists(st.one_of(BOXES, st.sampled_from((EMPTY, SECOND, MEDIA))), max_size=6), st.data())
def test_any_boxes_get_one_verdict_however_they_are_cut(parts: list[bytes], draw: st.DataObject) -> None:
    data = b"".join(parts)
    assert measure([data]) == measure(cut(data, draw.draw(places(len(data)))))


def test_what_has_arrived_is_told_at_any_time() -> None:
    probe = Mp4Probe()
    told = []
    for chunk in (FTYP + EMPTY, SECOND, SECOND[:-25], SECOND[-25:]):
        probe.feed(chunk)
        told.append(probe.seconds)
    assert told == [0.0, 1.0, 1.75, 2.0]
