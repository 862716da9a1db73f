"""A WebM file lasts as long as its header says when its blocks agree, else as long as its last block of sound says."""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audio.duration import Duration
from proxy.audio.webm import WebmProbe
from tests.audio.damaged import cut, damaged, measured, places
from tests.audio.made import filmed, made, piped
from tests.cuts import random_cuts, same_report

VECTORS = Path(__file__).parents[1] / "vectors"
WHOLE = (VECTORS / "opus.webm").read_bytes()
LIVE = (VECTORS / "live.webm").read_bytes()
measure = partial(measured, WebmProbe)


def element(identity: int, *parts: bytes, width: int = 0, endless: bool = False) -> bytes:
    """An element, its size in the fewest bytes or in ``width``; or unknown."""
    body = b"".join(parts)
    name = identity.to_bytes((identity.bit_length() + 7) // 8, "big")
    width = width or next(width for width in range(1, 9) if len(body) < (1 << 7 * width) - 1)
    size = (1 << 7 * width) - 1 if endless else len(body)
    return name + (size | 1 << 7 * width).to_bytes(width, "big") + body


def number(identity: int, value: int, *, size: int = 0) -> bytes:
    return element(identity, value.to_bytes(size or (value.bit_length() + 7) // 8 or 1, "big"))


def floating(identity: int, value: float, kind: str = ">d") -> bytes:
    return element(identity, struct.pack(kind, value))


def info(length: float | None = None, *, scale: int | None = None) -> bytes:
    parts = [] if length is None else [floating(0x4489, length)]
    return element(0x1549A966, *parts, *([] if scale is None else [number(0x2AD7B1, scale)]))


def track(codec: bytes = b"A_OPUS", *more: bytes, identity: int = 1, kind: int = 2) -> bytes:
    return element(0xAE, number(0xD7, identity), number(0x83, kind), element(0x86, codec), *more)


def tracks(*entries: bytes) -> bytes:
    return element(0x1654AE6B, *entries)


def body(time: int, payload: bytes, identity: int = 1, flags: int = 0x80) -> bytes:
    """What is in a block: track, time within the cluster, flags, then frames."""
    name = bytes([0x80 | identity]) if identity < 127 else (0x4000 | identity).to_bytes(2, "big")
    return name + struct.pack(">hB", time, flags) + payload


OPUS = b"\xfc" + bytes(99)  # one packet of 20 ms


def simple(time: int, payload: bytes = OPUS, identity: int = 1, flags: int = 0x80, width: int = 0) -> bytes:
    return element(0xA3, body(time, payload, identity, flags), width=width)


def group(time: int, *more: bytes, payload: bytes = OPUS) -> bytes:
    return element(0xA0, element(0xA1, body(time, payload, flags=0)), *more)


def cluster(time: int, *blocks: bytes, endless: bool = False) -> bytes:
    return element(0x1F43B675, number(0xE7, time), *blocks, endless=endless)


def blocks(count: int, identity: int = 1) -> bytes:
    """Blocks of Opus, 20 ms each."""
    return b"".join(simple(20 * place, identity=identity) for place in range(count))


EBML = element(0x1A45DFA3, number(0x4286, 1), element(0x4282, b"webm"))


def segment(*parts: bytes, endless: bool = False) -> bytes:
    return EBML + element(0x18538067, *parts, width=8, endless=endless)


def live(*parts: bytes) -> bytes:
    return segment(info(), tracks(track()), *parts, endless=True)


SOUND = tracks(track())
FILM = tracks(track(b"V_VP8", identity=1, kind=1), track(identity=2))
SECOND = cluster(0, blocks(50))
DURATION = {place: number(0x9B, place) for place in (15, 60)}


@pytest.mark.parametrize(("name", "source"), [("opus.webm", "header"), ("live.webm", "walked")])
def test_every_real_file_is_measured_however_it_is_cut(name: str, source: str) -> None:
    found = same_report((VECTORS / name).read_bytes(), measure)
    assert (found.source, found.ended_early) == (source, False)
    assert found.seconds == pytest.approx(3.035, abs=0.02)


CODECS = {
    "Opus": ("webm", ("-c:a", "libopus")),
    "Opus in frames of 60 ms": ("webm", ("-c:a", "libopus", "-frame_duration", "60")),
    "Opus in frames of 2.5 ms": ("webm", ("-c:a", "libopus", "-frame_duration", "2.5")),
    "Vorbis": ("webm", ("-c:a", "libvorbis")),
    "FLAC": ("matroska", ("-c:a", "flac")),
    "PCM": ("matroska", ("-c:a", "pcm_s16le")),
    "AAC": ("matroska", ("-c:a", "aac")),
}
SOUNDS = [(16_000, 1, 0.1), (48_000, 2, 7.3), (24_000, 1, 65.0)]


@pytest.mark.parametrize(("rate", "channels", "seconds"), SOUNDS)
@pytest.mark.parametrize(("kind", "options"), CODECS.values(), ids=CODECS.keys())
def test_ffmpegs_files_are_measured(
    tmp_path: Path, kind: str, options: tuple[str, ...], rate: int, channels: int, seconds: float
) -> None:
    suffix = "webm" if kind == "webm" else "mka"
    data = made(tmp_path, f"a.{suffix}", *options, seconds=seconds, rate=rate, channels=channels)
    lead = 2.0 * 1024 / rate if "aac" in options else 0.0  # its own silence
    for chunks in random_cuts(data, 3):
        found = measure(chunks)
        assert found == Duration(pytest.approx(seconds, abs=0.02 + lead), "header")  # type: ignore[arg-type]


@pytest.mark.parametrize(("rate", "channels", "seconds"), SOUNDS)
@pytest.mark.parametrize("way", [(), ("-live", "1")], ids=["piped", "live"])
@pytest.mark.parametrize(("kind", "options"), CODECS.values(), ids=CODECS.keys())
def test_what_ffmpeg_cannot_go_back_in_is_measured(
    kind: str, options: tuple[str, ...], way: tuple[str, ...], rate: int, channels: int, seconds: float
) -> None:
    data = piped(kind, *options, *way, seconds=seconds, rate=rate, channels=channels)
    frame = {"aac": 2.0, "libvorbis": 1.0}.get(options[1], 0.0) * 1024 / rate  # the encoder's silence; its last frame
    for chunks in random_cuts(data, 3):
        found = measure(chunks)
        assert found == Duration(pytest.approx(seconds, abs=0.02 + frame), "walked")  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["webm", "mkv"])
def test_of_a_film_only_the_sound_counts(tmp_path: Path, suffix: str) -> None:
    data = filmed(tmp_path, f"film.{suffix}", "-c:v", "libvpx", "-c:a", "libopus", seconds=1.0, film_seconds=4.0)
    found = measure([data])
    assert found == Duration(pytest.approx(1.0, abs=0.02), "walked")  # type: ignore[arg-type]


def test_silence_in_the_smallest_blocks_is_measured() -> None:
    silent = b"".join(
        cluster(5000 * place, *[simple(20 * at, b"\xfc\xff\xfe") for at in range(250)]) for place in range(60)
    )
    assert measure([live(silent)]).seconds == pytest.approx(300.0)


SHAPES: dict[str, tuple[bytes, Duration]] = {
    "no length in the header": (segment(info(), SOUND, SECOND), Duration(1.0, "walked")),
    "a length in the header": (segment(info(1003.0), SOUND, SECOND), Duration(1.003, "header")),
    "a length in ticks of their own": (
        segment(info(10.03, scale=100_000_000), SOUND, cluster(0, simple(0), simple(9))),
        Duration(1.003, "header"),
    ),
    "a short float": (
        segment(element(0x1549A966, floating(0x4489, 1000.0, ">f")), SOUND, SECOND),
        Duration(1.0, "header"),
    ),
    "a length that is no number": (segment(info(float("nan")), SOUND, SECOND), Duration(1.0, "walked")),
    "a length below zero": (segment(info(-5.0), SOUND, SECOND), Duration(1.0, "walked")),
    "a length far too short": (
        segment(info(1.0), SOUND, SECOND * 9, cluster(9000, blocks(50))),
        Duration(10.0, "walked"),
    ),
    "a length far too long": (segment(info(9000.0), SOUND, SECOND), Duration(1.0, "walked", ended_early=True)),
    "a length of the picture's": (
        segment(info(1500.0), FILM, cluster(0, blocks(50, 2), simple(1400))),
        Duration(1.0, "walked"),
    ),
    "sizes that nobody knows": (
        live(cluster(0, blocks(50), endless=True), cluster(1000, blocks(50), endless=True)),
        Duration(2.0, "walked"),
    ),
    "things between clusters of unknown size": (
        live(
            cluster(0, blocks(50), endless=True),
            element(0x1C53BB6B, bytes(50)),
            element(0x1254C367, bytes(300)),
            element(0xEC, bytes(700)),
            cluster(1000, blocks(50), endless=True),
        ),
        Duration(2.0, "walked"),
    ),
    "an attachment full of clusters": (
        segment(info(), SOUND, SECOND, element(0x1941A469, cluster(10**6, blocks(9)))),
        Duration(1.0, "walked"),
    ),
    "blocks in groups": (live(cluster(0, group(0), group(20), group(40))), Duration(0.06, "walked")),
    "a block that says how long it is": (
        live(cluster(0, simple(0), group(20, DURATION[15]))),
        Duration(0.035, "walked"),
    ),
    "a block that says how long it is, and a picture": (
        segment(FILM, cluster(0, simple(0, identity=2), simple(5), group(20, DURATION[60]))),
        Duration(0.02, "walked"),
    ),
    "a block whose end is thrown away": (
        live(cluster(0, simple(0), group(20, element(0x75A2, (15_000_000).to_bytes(4, "big"))))),
        Duration(0.025, "walked"),
    ),
    "a start that is thrown away": (
        segment(tracks(track(b"A_OPUS", number(0x56AA, 6_500_000))), SECOND),
        Duration(1.0 - 0.0065, "walked"),
    ),
    "a recording that was joined": (
        live(cluster(10**9, blocks(50)), cluster(10**9 + 1000, blocks(50))),
        Duration(2.0, "walked"),
    ),
    "a block before its cluster": (live(cluster(1000, simple(-20), simple(0))), Duration(0.04, "walked")),
    "several frames in one Opus packet": (
        live(cluster(0, simple(0), simple(20, b"\xff\x03" + bytes(9)))),
        Duration(0.08, "walked"),
    ),
    "laced frames of a known length": (
        segment(
            tracks(track(b"A_MPEG/L3", number(0x23E383, 24_000_000))),
            cluster(0, simple(0), simple(24, b"\x07" + bytes(99), flags=0x86)),
        ),
        Duration(0.024 + 8 * 0.024, "walked"),
    ),
    "frames of a known length": (
        segment(tracks(track(b"A_AAC", number(0x23E383, 64_000_000))), cluster(0, simple(0), simple(64))),
        Duration(0.128, "walked"),
    ),
    "frames of an unknown length": (
        segment(tracks(track(b"A_VORBIS")), cluster(0, simple(0), simple(30), simple(50))),
        Duration(0.07, "walked"),
    ),
    "a pause before a frame of an unknown length": (
        segment(tracks(track(b"A_VORBIS")), cluster(0, simple(0), simple(9000))),
        Duration(9.25, "walked"),
    ),
    "PCM": (
        segment(
            tracks(
                track(
                    b"A_PCM/INT/LIT",
                    element(0xE1, floating(0xB5, 16_000.0), number(0x9F, 2), number(0x6264, 16)),
                )
            ),
            cluster(0, simple(0, bytes(6400)), simple(100, bytes(3200))),
        ),
        Duration(0.15, "walked"),
    ),
    "FLAC": (
        segment(
            tracks(track(b"A_FLAC", element(0xE1, floating(0xB5, 16_000.0)))),
            cluster(0, simple(0), simple(256, b"\xff\xf8\x75\x08\x01" + (1599).to_bytes(2, "big") + bytes(50))),
        ),
        Duration(0.356, "walked"),
    ),
    "two voices": (
        segment(tracks(track(), track(identity=2)), cluster(0, blocks(5), blocks(50, 2))),
        Duration(1.0, "walked"),
    ),
    "a track with a large number": (
        segment(tracks(track(identity=300)), cluster(0, simple(0, identity=300), simple(20, identity=300))),
        Duration(0.04, "walked"),
    ),
    "tracks that nobody described": (segment(SECOND, endless=True), Duration(1.0, "walked")),
    "a picture alone": (segment(tracks(track(kind=1)), SECOND), Duration(None, "unknown")),
    "sizes longer than they need to be": (
        live(cluster(0, *[simple(20 * at, width=8) for at in range(50)])),
        Duration(1.0, "walked"),
    ),
    "two documents": (live(SECOND) + segment(info(1000.0), SOUND, SECOND), Duration(2.0, "walked")),
    "a line behind the segment": (segment(info(1000.0), SOUND, SECOND) + b"\r\n", Duration(1.0, "header")),
    "a tag behind the segment": (segment(SOUND, SECOND) + b"TAG" + bytes(125), Duration(1.0, "walked")),
    "no blocks": (segment(SOUND), Duration(None, "unknown")),
    "a head alone": (EBML, Duration(None, "unknown", ended_early=True)),
    "time that does not pass": (segment(info(9.0, scale=0), SOUND, SECOND), Duration(None, "unknown")),
    "no identifier": (live(SECOND, b"\x00" * 9), Duration(None, "unknown")),
    "no size": (live(SECOND, b"\xec\x00" + bytes(9)), Duration(None, "unknown")),
    "an element without an end": (live(SECOND, b"\xec\xff" + bytes(9)), Duration(None, "unknown")),
    "a block without a head": (live(cluster(0, element(0xA3, b"\x81\0\0"))), Duration(None, "unknown")),
    "a number of nine bytes": (live(element(0x1F43B675, number(0xE7, 1, size=9))), Duration(None, "unknown")),
    "longer than any recording": (live(SECOND, cluster(1 << 50, blocks(2))), Duration(None, "unknown")),
    "more blocks than any file has": (live(cluster(0, element(0xA3, body(0, b"")) * 9000)), Duration(None, "unknown")),
    "more elements than any file has": (live(element(0xEC) * 9000), Duration(None, "unknown")),
}


@pytest.mark.parametrize(("data", "expected"), SHAPES.values(), ids=SHAPES.keys())
def test_a_file_is_as_long_as_its_elements_say(data: bytes, expected: Duration) -> None:
    found = same_report(data, measure)
    assert (found.source, found.ended_early) == (expected.source, expected.ended_early)
    assert found.seconds == (None if expected.seconds is None else pytest.approx(expected.seconds, abs=1e-6))


@pytest.mark.parametrize("whole", [live(SECOND), segment(info(1000.0), SOUND, SECOND)], ids=["live", "with a length"])
@pytest.mark.parametrize(("missing", "seconds"), [(1, 0.98), (104, 0.98), (105, 0.98), (107, 0.96)])
def test_a_block_counts_when_all_of_it_has_come(whole: bytes, missing: int, seconds: float) -> None:
    found = same_report(whole[:-missing], measure)
    assert found == Duration(pytest.approx(seconds), "walked", ended_early=True)  # type: ignore[arg-type]


@given(st.integers(0, len(WHOLE) - 1), st.sampled_from((WHOLE, LIVE)))
def test_a_file_cut_anywhere_has_as_much_as_arrived(size: int, whole: bytes) -> None:
    found = measure([whole[:size]])
    assert found.ended_early or whole is LIVE
    if found.seconds is not None:
        assert found.seconds <= 3.05 * size / len(whole) + 0.3  # its bit rate varies


@given(st.binary(max_size=400), st.data())
def test_any_bytes_are_read_without_error(data: bytes, draw: st.DataObject) -> None:
    data = draw.draw(st.sampled_from((b"", EBML, live(), live(cluster(0, endless=True)), live(SECOND)[:300]))) + data
    assert measure([data]) == measure(cut(data, draw.draw(places(len(data)))))


WORDS = (
    b"\xa3",
    b"\xa1\x84",
    b"\xa0",
    b"\x9b\x81",
    b"\xe7\x82",
    b"\x1f\x43\xb6\x75",
    b"\xae",
    b"\x81",
    b"\xff",
    b"\x40",
)


@given(st.sampled_from((WHOLE, LIVE)).flatmap(partial(damaged, words=WORDS)), st.data())
def test_a_damaged_file_gets_one_verdict_however_it_is_cut(data: bytes, draw: st.DataObject) -> None:
    assert measure([data]) == measure(cut(data, draw.draw(places(len(data)))))


LEAVES = st.builds(
    lambda identity, payload, width: element(identity, payload, width=width),
    st.sampled_from(
        (0xA3, 0xA1, 0x9B, 0xE7, 0x75A2, 0xEC, 0xD7, 0x83, 0x86, 0x4489, 0x2AD7B1, 0x56AA, 0x23E383, 0xB5, 0x9F, 0x6264)
    ),
    st.one_of(st.binary(max_size=9), st.binary(max_size=30).map(lambda rest: b"\x81" + rest)),
    st.sampled_from((0, 0, 2, 8)),
)
ELEMENTS = st.recursive(
    st.one_of(LEAVES, st.sampled_from((simple(20), group(40, DURATION[15]), track(), FILM))),
    lambda parts: st.builds(
        lambda identity, inner, endless: element(identity, *inner, endless=endless),
        st.sampled_from((0x1F43B675, 0xA0, 0xAE, 0x1654AE6B, 0x1549A966, 0x18538067, 0x1A45DFA3)),
        st.lists(parts, max_size=5),
        st.booleans(),
    ),
    max_leaves=20,
)


@given(st.lists(st.one_of(ELEMENTS, st.sampled_from((SECOND[:500], live(SECOND)))), max_size=6), st.data())
def test_any_elements_get_one_verdict_however_they_are_cut(parts: list[bytes], draw: st.DataObject) -> None:
    data = live(*parts)
    assert measure([data]) == measure(cut(data, draw.draw(places(len(data)))))


def test_what_has_arrived_is_told_at_any_time() -> None:
    probe = WebmProbe()
    told = []
    whole = live(cluster(0, blocks(3)))
    for chunk in (whole[:-200], whole[-200:-50], whole[-50:]):
        probe.feed(chunk)
        told.append(round(probe.seconds, 6))
    assert told == [0.02, 0.04, 0.06]
