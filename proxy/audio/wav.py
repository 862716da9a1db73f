"""How long a WAV file is: RIFF (Microsoft, Multimedia Programming Interface 1.0), RF64 and BW64 (ITU-R BS.2088).

Programs that write to a pipe cannot go back to fill in sizes. They leave 0, or the largest number their author thought
safe; then all that follows the header is audio, and the bytes that arrive tell how much.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from proxy.audio.duration import Duration, NonsenseError
from proxy.audio.pieces import PieceProbe

_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE
_MS_ADPCM, _IMA_ADPCM, _GSM = 0x0002, 0x0011, 0x0031
_IN_BLOCKS: Final = frozenset({_MS_ADPCM, _IMA_ADPCM, _GSM})  # their fmt ends with the samples of one block

_MAX_CHUNKS: Final = 256  # before data; files have a handful, and each costs a step
_FMT_READ: Final = 40  # bytes: WAVEFORMATEXTENSIBLE, the longest that says something about time
_MAX_RATE: Final = 6_144_000  # Hz: 16 times 384 kHz
_MIN_RATE: Final = 1_000  # Hz: telephones have 8000; below, a header is a mistake and would multiply the bill
_MIN_BYTE_RATE: Final = 50  # the slowest speech codecs, at 450 bit/s, take 56

_UNKNOWN_32: Final = 0xFFFF_FFFF
_HUGE_64: Final = 1 << 62  # no file is; some writers leave all ones


@dataclass(frozen=True, slots=True)
class Format:
    """The ``fmt`` chunk: ``rate`` in Hz, ``byte_rate`` in bytes a second, ``block`` bytes hold ``block_samples``."""

    rate: int
    byte_rate: int
    block: int
    block_samples: int  # of each channel; 0: not known, and only the byte rate or ``fact`` tells

    def seconds(self, size: int, fact: int) -> float:
        """Return how long ``size`` bytes last, where ``fact`` is the file's own count of samples (0: none)."""
        if self.block_samples:
            samples = size // self.block * self.block_samples
            beyond = samples - fact  # the last block is filled up
            return (fact if 0 < beyond < self.block_samples > 1 else samples) / self.rate
        rough = size / self.byte_rate
        exact = fact / self.rate
        return exact if rough / 2 < exact < rough * 2 else rough  # a count that the bytes contradict is not believed


def read_format(body: bytes) -> Format:
    """Return what a ``fmt`` chunk says. NonsenseError when no duration can follow from it."""
    if len(body) < 14:
        raise NonsenseError
    tag, channels, rate, byte_rate, block = struct.unpack_from("<HHIIH", body)
    bits = int.from_bytes(body[14:16], "little")
    if tag == _EXTENSIBLE:
        tag = int.from_bytes(body[24:26], "little")  # the first bytes of the GUID
    if not channels or not _MIN_RATE <= rate <= _MAX_RATE:
        raise NonsenseError
    if tag in (_PCM, _FLOAT) and bits and bits % 8 == 0:
        return Format(rate, byte_rate, bits // 8 * channels, 1)  # as decoders do, who ignore the block size
    if tag in (_ALAW, _MULAW):
        return Format(rate, byte_rate, channels, 1)
    if tag in (_PCM, _FLOAT) and block:
        return Format(rate, byte_rate, block, 1)
    samples = int.from_bytes(body[18:20], "little")
    if tag in _IN_BLOCKS and 0 < samples * channels <= 8 * block:  # GSM has 1.6 bits a sample, the least
        return Format(rate, byte_rate, block, samples)
    if byte_rate < _MIN_BYTE_RATE:
        raise NonsenseError
    return Format(rate, byte_rate, block, 0)


def is_placeholder(size: int) -> bool:
    """Return whether a 32-bit size is one of those that writers leave when they do not know.

    0; 2**31 less up to 64 KiB and more by a header (GStreamer 0x7FFF0000, SoX and mplayer 0x7FFFF000, arecord
    0x7FFFFFFF, others 0x80000000); 2**32 less as much (ffmpeg 0xFFFFFFFF, others without their header's length).
    """
    return size == 0 or 0x7FFF_0000 <= size <= 0x8000_1000 or size >= 0xFFFF_0000


class WavProbe(PieceProbe):
    """Walks the chunks up to ``data`` and counts what arrives there. Holds one chunk's fields."""

    def __init__(self) -> None:
        super().__init__(first=12)
        self._long = False
        self._long_size = 0
        self._format: Format | None = None
        self._fact = 0
        self._chunks = 0
        self._chunk = b"RIFF"
        self._after = 0
        self._declared: int | None = None  # None: unknown, or data not reached
        self._in_data = False
        self._arrived = 0

    @property
    def seconds(self) -> float:
        """The audio that has arrived, in seconds."""
        return self._lasting(self._audio()) if self._in_data and not self._lost else 0.0

    def _piece(self, piece: bytes) -> None:
        if self._chunk == b"RIFF":
            if piece[8:] != b"WAVE":
                raise NonsenseError
            self._long = piece[:4] != b"RIFF"
            self._next_chunk()
        elif self._chunk == b"":
            self._begin(piece[:4], int.from_bytes(piece[4:], "little"))
        else:
            self._read(piece)
            self._pass_over(self._after)
            self._next_chunk()

    def _next_chunk(self) -> None:
        self._chunk = b""
        self._want(8)

    def _begin(self, name: bytes, size: int) -> None:
        """Take note of a chunk's header."""
        self._chunks += 1
        if self._chunks > _MAX_CHUNKS:
            raise NonsenseError
        if name == b"data":
            self._begin_data(size)
            return
        padded = size + (size & 1)
        read = {b"fmt ": min(size, _FMT_READ), b"ds64": min(size, 16), b"fact": min(size, 4)}.get(name, 0)
        if not read:
            self._pass_over(padded)
            return
        self._chunk = name
        self._after = padded - read
        self._want(read)

    def _read(self, body: bytes) -> None:
        """Take the fields of a chunk that says something about time."""
        if self._chunk == b"fmt ":
            self._format = read_format(body)
        elif self._chunk == b"fact":
            self._fact = int.from_bytes(body, "little")
        elif len(body) == 16:  # riffSize, dataSize
            self._long_size = int.from_bytes(body[8:], "little")

    def _begin_data(self, size: int) -> None:
        if self._format is None:
            raise NonsenseError
        if self._long and size == _UNKNOWN_32:
            self._declared = self._long_size if 0 < self._long_size < _HUGE_64 else None
        else:
            self._declared = None if is_placeholder(size) else size
        self._in_data = True
        self._want_rest()

    def _rest(self, chunk: bytes, at: int) -> None:
        self._arrived += len(chunk) - at

    def _audio(self) -> int:
        """The bytes of audio that have arrived: other chunks may follow data."""
        return self._arrived if self._declared is None else min(self._arrived, self._declared)

    def _lasting(self, size: int) -> float:
        assert self._format is not None
        if self._declared is None or size == self._declared:
            return self._format.seconds(size, self._fact)
        # ``fact`` counts what was promised: of a part, only the part counts
        return self._format.seconds(size, self._fact * size // self._declared if not self._format.block_samples else 0)

    def _result(self) -> Duration:
        if not self._in_data:
            return Duration(None, "unknown", ended_early=True)
        size = self._audio()
        if self._declared is None:
            return Duration(self._lasting(size), "bytes")
        if size < self._declared:
            return Duration(self._lasting(size), "bytes", ended_early=True)
        return Duration(self._lasting(size), "header")
