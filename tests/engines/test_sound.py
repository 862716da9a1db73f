"""Containers are told by their bytes, decoded to 16 kHz mono, and refused in OpenAI's words."""

from __future__ import annotations

import contextlib
import io
import sys
import wave
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.engines.errors import EngineError, MissingExtraError
from proxy.engines.sound import BYTES_PER_SECOND, container_of, decode

VECTORS = Path(__file__).parent.parent / "vectors"
SENTENCE_SECONDS = 3.035


def silence(seconds: float, rate: int = 16_000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(bytes(int(seconds * rate) * 2 * channels))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("speech.wav", 0),
        ("mulaw.wav", 0),
        ("piped.wav", 0),
        ("rf64.wav", 0),
        ("speech.flac", 0),
        ("piped.flac", 0),
        ("flac.ogg", 0),
        ("vorbis.ogg", 0.02),
        ("cbr.mp3", 0.11),
        ("vbr.mp3", 0.11),
        ("cbr-noxing.mp3", 0.11),
        ("vbr-noxing.mp3", 0.11),
    ],
)
def test_a_supported_file_decodes_to_its_true_length(name: str, tolerance: float) -> None:
    pcm = decode((VECTORS / name).read_bytes(), max_seconds=10)
    assert len(pcm) / BYTES_PER_SECOND == pytest.approx(SENTENCE_SECONDS, abs=tolerance + 0.001)


def test_other_rates_and_channels_become_16_khz_mono() -> None:
    pcm = decode(silence(1.0, rate=44_100, channels=2), max_seconds=10)
    assert len(pcm) / BYTES_PER_SECOND == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    "name",
    ["raw.aac", "opus.ogg", "chained.ogg", "opus.webm", "live.webm", "faststart.m4a", "fragmented.mp4"],
)
def test_another_container_gets_openais_format_error(name: str) -> None:
    with pytest.raises(EngineError, match=r"^Invalid file format\. Supported formats: \['flac', 'mp3'") as caught:
        decode((VECTORS / name).read_bytes(), max_seconds=10)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (b"", "The audio file is empty."),
        (b"x", "Invalid file format."),
        (b"hello, this is text and no audio at all", "Invalid file format."),
        (b"\xff\xfb" + bytes(2000), "might be corrupted"),
        (b"RIFF\x00\x00\x00\x00WAVE" + bytes(100), "might be corrupted"),
        (b"fLaC" + bytes(100), "might be corrupted"),
        (silence(0.0), "might be corrupted"),
        (silence(0.05), "Minimum audio length is 0.1 seconds"),
        (silence(2.5), "audio duration is longer than 2 seconds"),
    ],
)
def test_a_file_without_usable_audio_says_what_is_wrong(audio: bytes, message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        decode(audio, max_seconds=2)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"RIFF....WAVE", "wav"),
        (b"RF64....WAVE", "wav"),
        (b"RIFF....AVI ", None),
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
        (b"ID3\x04", "mp3"),
        (b"\xff\xfb\x90\x00", "mp3"),
        (b"\xff\xf3\x90\x00", "mp3"),
        (b"\xff\xf1\x50\x80", None),  # ADTS
        (b"\xff\xeb\x90\x00", None),  # the reserved MPEG version
        (b"\xff", None),
        (b"", None),
    ],
)
def test_a_container_is_told_by_its_first_bytes(head: bytes, container: str | None) -> None:
    assert container_of(head) == container


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["speech.wav", "speech.flac", "vorbis.ogg", "cbr.mp3"]),
    keep=st.integers(0, 20_000),
    flips=st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), max_size=8),
)
def test_a_damaged_file_decodes_or_is_refused_but_nothing_else(
    name: str, keep: int, flips: list[tuple[int, int]]
) -> None:
    damaged = bytearray((VECTORS / name).read_bytes()[:keep])
    for position, value in flips:
        if position < len(damaged):
            damaged[position] = value
    with contextlib.suppress(EngineError):
        pcm = decode(bytes(damaged), max_seconds=30)
        assert 0 < len(pcm) <= 30 * BYTES_PER_SECOND
        assert len(pcm) % 2 == 0


def test_without_miniaudio_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "miniaudio", None)
    with pytest.raises(MissingExtraError, match="miniaudio"):
        decode(silence(1.0), max_seconds=2)
