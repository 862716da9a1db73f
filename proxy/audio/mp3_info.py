"""The frame without audio that encoders put first: Xing and Info (Xing's, LAME's "mp3 info tag rev 1"), VBRI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_LAYER_3: Final = 1
_SIDES: Final = (17 + 4, 32 + 4, 9 + 4)  # bytes of header and side information: by version and channels
_CRC: Final = 2
_VBRI_AT: Final = 4 + 32
_ENCODERS: Final = (b"LAME", b"Lavf", b"Lavc")  # those known to fill in delay and padding
_DELAYS_AT: Final = 21  # bytes into LAME's part


@dataclass(frozen=True, slots=True)
class Info:
    """What an encoder tells of its file: how many frames (0: not told), samples to drop at the start and at the end."""

    frames: int
    constant: bool
    delay: int = 0
    padding: int = 0


def read_info(frame: bytes, layer: int) -> Info | None:
    """Return what a whole frame tells of the file, None when it is audio like any other."""
    if layer != _LAYER_3:
        return None
    if frame[_VBRI_AT : _VBRI_AT + 4] == b"VBRI":
        return Info(int.from_bytes(frame[_VBRI_AT + 14 : _VBRI_AT + 18], "big"), constant=False)
    for side in _SIDES:
        for at in (side, side + _CRC):
            name = frame[at : at + 4]
            if name in (b"Xing", b"Info"):
                return _read_xing(frame[at:], constant=name == b"Info")
    return None


def _read_xing(tag: bytes, *, constant: bool) -> Info:
    flags = int.from_bytes(tag[4:8], "big")
    frames = int.from_bytes(tag[8:12], "big") if flags & 1 else 0
    lame = 8
    for flag, size in ((1, 4), (2, 4), (4, 100), (8, 4)):  # frames, bytes, table of contents, quality
        lame += size if flags & flag else 0
    delays = tag[lame + _DELAYS_AT : lame + _DELAYS_AT + 3]
    if len(delays) < 3 or tag[lame : lame + 4] not in _ENCODERS:
        return Info(frames, constant)
    return Info(frames, constant, delays[0] << 4 | delays[1] >> 4, (delays[1] & 0xF) << 8 | delays[2])
