"""How much audio one Opus packet holds, by its first two bytes (RFC 6716 section 3.1)."""

from __future__ import annotations

from typing import Final

RATE: Final = 48_000
"""Samples per second in which Opus counts, whatever rate it was made from."""

_LONGEST: Final = 5_760  # samples: a packet holds at most 120 ms

_SILK: Final = (480, 960, 1_920, 2_880)
_HYBRID: Final = (480, 960)
_CELT: Final = (120, 240, 480, 960)
_FRAME: Final = _SILK * 3 + _HYBRID * 2 + _CELT * 4  # by configuration number, table 2
_COUNT: Final = (1, 2, 2)  # frames, by the code in the lowest two bits; code 3 has a byte of its own


def packet_samples(data: bytes, at: int = 0) -> int:
    """Return the samples (48 kHz) of the packet that begins at ``at``; 0 when its head is not there."""
    if at >= len(data):
        return 0
    head = data[at]
    code = head & 3
    if code < 3:
        return _FRAME[head >> 3] * _COUNT[code]
    if at + 1 >= len(data):
        return 0
    return min(_FRAME[head >> 3] * (data[at + 1] & 0x3F), _LONGEST)
