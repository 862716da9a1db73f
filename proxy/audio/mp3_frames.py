"""What an MPEG audio frame header says (ISO 11172-3 section 2.4.1.3, ISO 13818-3; MPEG 2.5 by Fraunhofer's extension).

A file has one kind of frames: one version, layer and sampling rate. A kind brings patterns that walk many frames in one
call, which is 10 to 60 times as fast as a loop over headers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

HEADER: Final = 3
"""Bytes of a header that say how long its frame is."""

STRIDE: Final = 8
"""Frames of one bitrate that a stride takes at once."""

_V25, _V2, _V1 = 0, 2, 3
_L3, _L2, _L1 = 1, 2, 3

_RATES: Final = {_V1: (44_100, 48_000, 32_000), _V2: (22_050, 24_000, 16_000), _V25: (11_025, 12_000, 8_000)}

# kbit/s by index 1 to 14; 0 is free format, of which no header tells the length, 15 is forbidden
_LONG_L1: Final = (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448)
_LONG_L2: Final = (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_LONG_L3: Final = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_SHORT_L1: Final = (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)
_SHORT_L23: Final = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


@dataclass(frozen=True, slots=True)
class Kind:
    """What all frames of a stream share.

    ``second`` is the header's second byte, its protection bit set; ``samples`` of each channel are in one frame;
    ``rate`` in Hz; ``lengths`` gives a frame's bytes by the header's third byte, 0 when that is not of this kind.
    """

    second: int
    layer: int
    samples: int
    rate: int
    lengths: tuple[int, ...]
    runs: tuple[tuple[int, re.Pattern[bytes]], ...]  # so many frames at a time, of any bitrate

    def length(self, data: bytes, at: int) -> int:
        """Return the length in bytes of the frame whose header is at ``at``; 0 when there is no such header."""
        return self.lengths[data[at + 2]] if data[at] == 0xFF and data[at + 1] | 1 == self.second else 0


@dataclass(frozen=True, slots=True)
class Stride:
    """Walks frames of one bitrate, :data:`STRIDE` at a time; padding makes a stride ``low`` or ``high`` bytes."""

    pattern: re.Pattern[bytes]
    header: re.Pattern[bytes]  # of this bitrate
    low: int
    high: int
    need: int  # bytes that show whether a stride fits


@lru_cache(maxsize=27)  # 3 versions, 3 layers, 3 rates: there are no more
def _kind(second: int, rate_index: int) -> Kind:
    version, layer = second >> 3 & 3, second >> 1 & 3
    rate = _RATES[version][rate_index]
    lengths = [0] * 256
    for third in range(256):
        if third >> 2 & 3 == rate_index and 0 < third >> 4 < 15:
            lengths[third] = _length(version, layer, third >> 4, rate, third >> 1 & 1)
    # literals that most headers have first: a branch on a literal is passed over fast
    usual_first = sorted((third for third in range(256) if lengths[third]), key=lambda third: (third & 1, -third))
    bodies = b"|".join(_byte(third) + b".{%d}" % (lengths[third] - HEADER) for third in usual_first)
    runs = tuple((count, _compiled(b"(?:%s(?:%s)){%d}+" % (_start(second), bodies, count))) for count in (32, 4))
    return Kind(second, layer, _samples(version, layer), rate, tuple(lengths), runs)


def kind_of(second: int, third: int) -> Kind | None:
    """Return the kind of frames whose headers have these second and third bytes, None when they are no header's."""
    return _kind(second | 1, third >> 2 & 3) if _is_second(second) and _is_third(third) else None


@lru_cache(maxsize=378)  # 27 kinds, 14 bitrates
def stride_of(second: int, third: int) -> Stride:
    """Return the stride for frames of a header's bitrate; ``third`` with padding and private bit cleared."""
    version, layer = second >> 3 & 3, second >> 1 & 3
    rate = _RATES[version][third >> 2 & 3]
    slot = 4 if layer == _L1 else 1
    slots, part = divmod(STRIDE * _samples(version, layer) * _bitrate(version, layer, third >> 4), 8 * rate * slot)
    low = slots * slot
    high = low + slot if part else low
    header = _start(second) + b"[%s]" % b"".join(_byte(third | bits) for bits in range(4))
    steps = b"|".join(b".{%d}(?=%s)" % (size, header) for size in sorted({low, high}))
    most = low // slot - 1 if part else 10_000  # beyond, the bytes walked would no longer tell how many strides
    pattern = _compiled(b"(?=%s)(?:%s){1,%d}+" % (header, steps, most))
    return Stride(pattern, _compiled(header), low, high, high + HEADER)


def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    """Possessive throughout: nothing is tried twice, and the work is bounded by the bytes walked."""
    return re.compile(pattern, re.DOTALL)


def _byte(value: int) -> bytes:
    return b"\\x%02x" % value


def _start(second: int) -> bytes:
    return b"\\xff[%s%s]" % (_byte(second & 0xFE), _byte(second | 1))


def _bitrate(version: int, layer: int, index: int) -> int:
    """Bit/s."""
    if version == _V1:
        table = {_L1: _LONG_L1, _L2: _LONG_L2, _L3: _LONG_L3}[layer]
    else:
        table = _SHORT_L1 if layer == _L1 else _SHORT_L23
    return table[index - 1] * 1000


def _samples(version: int, layer: int) -> int:
    if layer == _L1:
        return 384
    return 1152 if layer == _L2 or version == _V1 else 576


def _length(version: int, layer: int, index: int, rate: int, padding: int) -> int:
    slot = 4 if layer == _L1 else 1
    slots = _samples(version, layer) * _bitrate(version, layer, index) // (8 * rate * slot)
    return (slots + padding) * slot


def _is_second(second: int) -> bool:
    """The sync's last bits, a version and a layer that are not reserved."""
    return second >= 0xE0 and second >> 3 & 3 != 1 and second >> 1 & 3 != 0


def _is_third(third: int) -> bool:
    """A bitrate that is not free and not forbidden, a rate that is not reserved."""
    return 0 < third >> 4 < 15 and third >> 2 & 3 != 3


def _any_header() -> bytes:
    seconds = filter(_is_second, range(256))
    thirds = filter(_is_third, range(256))
    return b"\\xff[%s][%s]" % (b"".join(map(_byte, seconds)), b"".join(map(_byte, thirds)))


ANY_HEADER: Final = re.compile(_any_header())
"""The first bytes of any frame of which the length can be told."""
