"""Audio files to samples: wav, mp3, flac and ogg in, 16 kHz mono 16-bit PCM out.

The container is told by its first bytes, never by the file's name: the MP3 decoder would otherwise find
something that looks like a frame in almost any file.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from proxy.engines.errors import EngineError, MissingExtraError

SAMPLE_RATE: Final = 16_000
BYTES_PER_SECOND: Final = 2 * SAMPLE_RATE
SHORTEST_SECONDS: Final = 0.1  # OpenAI's own minimum; below it there is no word to hear

_BLOCK_FRAMES: Final = SAMPLE_RATE  # one second per step: the length limit is noticed within 32 KB of samples

Container = Literal["wav", "mp3", "flac", "ogg"]

_UNSUPPORTED: Final = (
    "Invalid file format. Supported formats: ['flac', 'mp3', 'mpga', 'oga', 'ogg', 'wav']. "
    "The local engine reads no other, and in ogg only Vorbis or FLAC: convert the audio first."
)
_CORRUPT: Final = "Audio file might be corrupted or unsupported: no audio could be decoded from it."


def container_of(head: bytes) -> Container | None:
    """Return the container that the first bytes of a file (12 or more) announce, or None for any other.

    MPEG audio without an ID3 tag starts with eleven set bits, then a version that is not 01 and a layer that
    is not 00; layer 00 is ADTS, that is AAC (ISO/IEC 11172-3, 2.4.1.3; ISO/IEC 13818-7, 6.2).
    """
    if head[:4] in {b"RIFF", b"RF64"} and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"fLaC":
        return "flac"
    if head[:4] == b"OggS":
        return "ogg"
    if head[:3] == b"ID3":
        return "mp3"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
        return "mp3" if version != 1 and layer != 0 else None
    return None


def decode(audio: bytes, *, max_seconds: float) -> bytes:
    """Decode a whole file to little-endian 16-bit mono samples at 16 kHz.

    Raises :class:`EngineError` (400) for an empty file, another format, bytes that hold no audio, and audio
    shorter than :data:`SHORTEST_SECONDS` or longer than ``max_seconds``. Decoding stops at that length, so a
    small file that unpacks to days of silence costs no more than one of the longest files allowed.
    """
    if not audio:
        raise EngineError("The audio file is empty.", param="file")
    container = container_of(audio[:16])
    if container is None:
        raise EngineError(_UNSUPPORTED)
    miniaudio = load_miniaudio()
    pcm = bytearray()
    try:
        blocks = miniaudio.stream_memory(audio, nchannels=1, sample_rate=SAMPLE_RATE, frames_to_read=_BLOCK_FRAMES)
        for block in blocks:
            pcm += block.tobytes()
            if len(pcm) > max_seconds * BYTES_PER_SECOND:
                raise EngineError(
                    f"audio duration is longer than {max_seconds:g} seconds which is the maximum for this model",
                    code="invalid_value",
                )
    except miniaudio.MiniaudioError as error:
        # An ogg file that miniaudio refuses is nearly always Opus: another format, not a broken file.
        raise EngineError(_UNSUPPORTED if container == "ogg" else _CORRUPT) from error
    if not pcm:
        raise EngineError(_CORRUPT)
    if len(pcm) < SHORTEST_SECONDS * BYTES_PER_SECOND:
        raise EngineError(
            f"Audio file is too short. Minimum audio length is {SHORTEST_SECONDS:g} seconds.",
            param="file",
            code="audio_too_short",
        )
    return bytes(pcm)


def load_miniaudio() -> Any:
    """Import miniaudio when it is first needed; raise :class:`MissingExtraError` when it is not installed."""
    try:
        import miniaudio  # noqa: PLC0415  an extra: the gateway itself must start without it
    except ImportError as error:
        raise MissingExtraError("miniaudio") from error
    return miniaudio
