"""A WAV file lasts as long as the audio that came, whatever its header says of what was to come."""

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
from proxy.audio.wav import WavProbe, is_placeholder
from tests.audio.made import made, piped
from tests.cuts import random_cuts, same_report

if TYPE_CHECKING:
    from collections.abc import Iterable

VECTORS = Path(__file__).parents[1] / "vectors"
RATE = 16_000


def measure(chunks: Iterable[bytes]) -> Duration:
    probe = WavProbe()
    for chunk in chunks:
        probe.feed(chunk)
    return probe.finish()


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def fmt(
    tag: int = 1,
    channels: int = 1,
    rate: int = RATE,
    bits: int = 16,
    *,
    block: int | None = None,
    byte_rate: int | None = None,
    extra: bytes = b"",
) -> bytes:
    block = channels * bits // 8 if block is None else block
    byte_rate = rate * block if byte_rate is None else byte_rate
    tail = struct.pack("<H", len(extra)) + extra if extra else b""
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, byte_rate, block, bits) + tail)


def wav(*chunks: bytes, form: bytes = b"RIFF", size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return form + struct.pack("<I", len(body) if size is None else size) + body


def data(size: int = 2 * RATE, declared: int | None = None) -> bytes:
    return chunk(b"data", b"\x55" * size, declared)


PCM = fmt()
ONE = 2 * RATE  # bytes of a second
GUID = bytes.fromhex("000000001000800000aa00389b71")  # behind the tag
DS64 = chunk(b"ds64", struct.pack("<QQQI", 99, ONE, RATE, 0))

FILES: dict[str, tuple[bytes, Duration]] = {
    "a plain one": (wav(PCM, data()), Duration(1.0, "header")),
    "other chunks before data": (
        wav(chunk(b"LIST", b"INFOxyz"), PCM, chunk(b"junk", bytes(5000)), data()),
        Duration(1.0, "header"),
    ),
    "other chunks after data": (wav(PCM, data(), chunk(b"LIST", bytes(999))), Duration(1.0, "header")),
    "an odd number of bytes, and one that pads": (wav(fmt(bits=8), data(8001)), Duration(8001 / RATE, "header")),
    "half a sample at the end": (wav(PCM, data(ONE + 1)), Duration(1.0, "header")),
    "no audio": (wav(PCM, data(0)), Duration(0.0, "bytes")),
    "stereo of 24 bits": (wav(fmt(channels=2, rate=48_000, bits=24), data(288_000)), Duration(1.0, "header")),
    "a byte rate that lies": (wav(fmt(byte_rate=1), data()), Duration(1.0, "header")),
    "a block size that lies": (wav(fmt(block=1), data()), Duration(1.0, "header")),
    "12 bits in blocks of two bytes": (wav(fmt(bits=12, block=2), data()), Duration(1.0, "header")),
    "float": (wav(fmt(3, bits=32), data(2 * ONE)), Duration(1.0, "header")),
    "mu-law": (wav(fmt(7, rate=8000, bits=8), data(8000)), Duration(1.0, "header")),
    "A-law, stereo": (wav(fmt(6, 2, rate=8000, bits=8), data(16_000)), Duration(1.0, "header")),
    "extensible": (
        wav(fmt(0xFFFE, extra=struct.pack("<HIH", 16, 4, 1) + GUID), data()),
        Duration(1.0, "header"),
    ),
    "IMA ADPCM by its blocks": (
        wav(fmt(0x11, bits=4, block=512, extra=struct.pack("<H", 1017)), data(5120)),
        Duration(10_170 / RATE, "header"),
    ),
    "IMA ADPCM with a last block that is filled up": (
        wav(fmt(0x11, bits=4, block=512, extra=b"\xf9\x03"), chunk(b"fact", struct.pack("<I", 10_000)), data(5120)),
        Duration(10_000 / RATE, "header"),
    ),
    "GSM": (
        wav(fmt(0x31, rate=8000, bits=0, block=65, byte_rate=1625, extra=b"\x40\x01"), data(1625)),
        Duration(1.0, "header"),
    ),
    "MP3 in WAV, by the samples it tells": (
        wav(fmt(0x55, bits=0, byte_rate=4000), chunk(b"fact", struct.pack("<I", RATE)), data(5000)),
        Duration(1.0, "header"),
    ),
    "MP3 in WAV, by its byte rate": (wav(fmt(0x55, bits=0, byte_rate=4000), data(6000)), Duration(1.5, "header")),
    "samples told that the bytes contradict": (
        wav(fmt(0x55, bits=0, byte_rate=4000), chunk(b"fact", struct.pack("<I", 2**31)), data(4000)),
        Duration(1.0, "header"),
    ),
    "RF64": (wav(DS64, PCM, data(ONE, 0xFFFFFFFF), form=b"RF64", size=0xFFFFFFFF), Duration(1.0, "header")),
    "BW64": (wav(DS64, PCM, data(ONE, 0xFFFFFFFF), form=b"BW64", size=0xFFFFFFFF), Duration(1.0, "header")),
    "RF64 with a size where it was": (wav(DS64, PCM, data(ONE // 2), form=b"RF64"), Duration(0.5, "header")),
    "RF64, long size unknown": (
        wav(chunk(b"ds64", b"\xff" * 28), PCM, data(ONE, 0xFFFFFFFF), form=b"RF64"),
        Duration(1.0, "bytes"),
    ),
    "RF64 without ds64": (wav(PCM, data(ONE, 0xFFFFFFFF), form=b"RF64"), Duration(1.0, "bytes")),
    "RF64, cut": (wav(DS64, PCM, data(ONE // 2, 0xFFFFFFFF), form=b"RF64"), Duration(0.5, "bytes", ended_early=True)),
    "cut": (wav(PCM, data(ONE, 2 * ONE)), Duration(1.0, "bytes", ended_early=True)),
    "compressed and cut": (
        wav(fmt(0x55, bits=0, byte_rate=4000), chunk(b"fact", struct.pack("<I", 2 * RATE)), data(4000, 8000)),
        Duration(1.0, "bytes", ended_early=True),
    ),
    "cut before data": (wav(PCM), Duration(None, "unknown", ended_early=True)),
    "data before its format": (wav(data(), PCM), Duration(None, "unknown")),
    "no WAVE": (b"RIFF\0\0\0\0AVI " + PCM + data(), Duration(None, "unknown")),
    "no channels": (wav(fmt(channels=0, block=2), data()), Duration(None, "unknown")),
    "one sample a second": (wav(fmt(rate=1), data()), Duration(None, "unknown")),
    "a codec of 1 byte a second": (wav(fmt(0x55, byte_rate=1), data()), Duration(None, "unknown")),
    "a format of four bytes": (wav(chunk(b"fmt ", b"\1\0\1\0"), data()), Duration(None, "unknown")),
    "chunks without end": (wav(*[chunk(b"junk", b"")] * 1000, PCM, data()), Duration(None, "unknown")),
}


@pytest.mark.parametrize(("file", "expected"), FILES.values(), ids=FILES)
def test_a_file_is_measured_the_same_however_it_is_cut(file: bytes, expected: Duration) -> None:
    assert same_report(file, measure) == expected


@pytest.mark.parametrize(
    "size", [0, 0x7FFF0000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0x80000024, 0xFFFFFFFF, 0xFFFFFFDB, 0xFFFF0000]
)
def test_a_size_that_was_never_filled_in_means_whatever_comes(size: int) -> None:
    assert is_placeholder(size)
    assert measure([wav(PCM, data(ONE + 1000, size), size=size)]) == Duration(1000 / ONE + 1, "bytes")


@pytest.mark.parametrize("size", [1, 44, 2**30, 3 * 2**30])
def test_other_sizes_are_believed(size: int) -> None:
    assert not is_placeholder(size)


@pytest.mark.parametrize(
    ("name", "source"),
    [("speech.wav", "header"), ("mulaw.wav", "header"), ("rf64.wav", "header"), ("piped.wav", "bytes")],
)
def test_the_vectors_last_as_long_as_they_do(name: str, source: str) -> None:
    found = same_report((VECTORS / name).read_bytes(), measure)
    assert found.seconds == pytest.approx(3.035, abs=0.02)
    assert (found.source, found.ended_early) == (source, False)


@pytest.mark.parametrize("seconds", [0.013, 1.0, 3.77])
@pytest.mark.parametrize(
    ("rate", "channels", "options"),
    [
        (8_000, 1, ("-c:a", "pcm_alaw")),
        (11_025, 1, ("-c:a", "pcm_u8")),
        (16_000, 1, ("-c:a", "adpcm_ima_wav")),
        (16_000, 1, ("-c:a", "adpcm_ms")),
        (22_050, 2, ("-c:a", "pcm_f32le")),
        (44_100, 2, ("-c:a", "pcm_s24le")),
        (48_000, 6, ("-c:a", "pcm_s16le")),
        (48_000, 2, ("-rf64", "always")),
    ],
    ids=lambda value: "-".join(value).strip("-") if isinstance(value, tuple) else None,
)
def test_what_ffmpeg_writes_is_measured(
    tmp_path: Path, rate: int, channels: int, options: tuple[str, ...], seconds: float
) -> None:
    file = made(tmp_path, "made.wav", *options, seconds=seconds, rate=rate, channels=channels)
    found = measure([file])
    slack = 0.13 if "adpcm" in options[1] else 0.001  # ADPCM is written in whole blocks, and ffmpeg's fact counts them
    assert found.seconds == pytest.approx(seconds, abs=slack)
    assert (found.source, found.ended_early) == ("header", False)


@pytest.mark.parametrize("options", [(), ("-rf64", "always"), ("-c:a", "pcm_s24le")])
def test_what_ffmpeg_writes_to_a_pipe_is_measured_by_its_bytes(options: tuple[str, ...]) -> None:
    found = measure([piped("wav", *options, seconds=1.25)])
    assert found.seconds == pytest.approx(1.25, abs=0.001)
    assert (found.source, found.ended_early) == ("bytes", False)


def test_a_file_that_was_cut_tells_what_arrived() -> None:
    file = (VECTORS / "speech.wav").read_bytes()
    begin = file.index(b"data") + 8
    for size in random.Random(3).choices(range(begin, len(file)), k=50):
        found = measure([file[:size]])
        assert found == Duration((size - begin) // 2 / RATE, "bytes", ended_early=True)


def test_the_audio_so_far_is_known_at_any_time_and_finish_may_be_asked_early() -> None:
    probe = WavProbe()
    assert probe.seconds == 0.0
    probe.feed(wav(PCM, data(ONE // 2, ONE)))
    assert probe.seconds == 0.5
    assert probe.finish() == Duration(0.5, "bytes", ended_early=True)
    probe.feed(bytes(ONE // 2 + 100))
    assert probe.seconds == 1.0
    assert probe.finish() == Duration(1.0, "header")


def test_chunks_of_many_megabytes_are_passed_over_and_not_held() -> None:
    probe = WavProbe()
    probe.feed(wav(chunk(b"LIST", b"", 50_000_000)))
    for _ in range(500):
        probe.feed(bytes(100_000))
        assert not probe._held
    probe.feed(PCM + data())
    assert probe.finish() == Duration(1.0, "header")


MOST_PER_BYTE = 1 / 25  # seconds: the lowest byte rate that is believed is 50, and ``fact`` may say twice as much


@given(st.binary(max_size=400), st.sampled_from([b"", wav(), wav(PCM), wav(fmt(0x11, bits=4, block=512))]))
def test_no_bytes_make_it_raise_or_say_the_absurd(tail: bytes, head: bytes) -> None:
    check_anything(head + tail)


@given(
    st.sampled_from([file for file, _ in FILES.values()]),
    st.lists(st.tuples(st.integers(0, 120), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4),
    st.integers(0, 40_000),
)
def test_no_change_makes_it_raise_or_say_the_absurd(file: bytes, changes: list[tuple[int, bytes]], size: int) -> None:
    for at, new in changes:
        file = file[:at] + new + file[at + len(new) :]
    check_anything(file[:size])


def check_anything(file: bytes) -> None:
    found = measure([file])
    if found.seconds is not None:
        assert math.isfinite(found.seconds)
        assert 0 <= found.seconds <= len(file) * MOST_PER_BYTE
    for pieces in random_cuts(file, 3):
        assert measure(pieces) == found
