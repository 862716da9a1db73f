"""Protocol Buffers, as far as it takes to write a message: https://protobuf.dev/programming-guides/encoding/.

Writing takes these few lines; the library would bring five megabytes and its own ideas of versions, and takes longer.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Final

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # wire types
_WORD: Final = (1 << 64) - 1
_SHORT: Final = 0x80
_MOST: Final = (1 << 63) - 1
_MOST_BITS: Final = 64

_fixed64: Final = Struct("<Q").pack
_fixed32: Final = Struct("<I").pack
_double: Final = Struct("<d").pack


def varint(number: int) -> bytes:
    """Return a whole number of up to 64 bits; a negative one as its two's complement."""
    number &= _WORD
    out = bytearray()
    while number >= _SHORT:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


@lru_cache(maxsize=256)  # fields that the gateway writes, and those of a few more formats
def tag(field: int, wire_type: int) -> bytes:
    """Return what a field begins with."""
    return varint(field << 3 | wire_type)


def data(field: int, value: bytes) -> bytes:
    """Return a field of bytes, text or a message."""
    size = len(value)
    return tag(field, _LENGTH) + (bytes((size,)) if size < _SHORT else varint(size)) + value


def text(field: int, value: str) -> bytes:
    """Return a field of text; what is no text, half a character, becomes a question mark."""
    return data(field, value.encode("utf-8", "replace"))


def integer(field: int, value: int) -> bytes:
    """Return a field of an int64 or an enum; what is too large for it becomes the largest."""
    return tag(field, _VARINT) + varint(max(min(value, _MOST), -_MOST))


def boolean(field: int, value: bool) -> bytes:
    """Return a field of a bool."""
    return tag(field, _VARINT) + (b"\1" if value else b"\0")


def double(field: int, value: float) -> bytes:
    """Return a field of a double."""
    return tag(field, _FIXED64) + _double(value)


def fixed64(field: int, value: int) -> bytes:
    """Return a field of a fixed64, such as a time."""
    return tag(field, _FIXED64) + _fixed64(value)


def fixed32(field: int, value: int) -> bytes:
    """Return a field of a fixed32."""
    return tag(field, _FIXED32) + _fixed32(value)


def integer_in(message: bytes, *path: int) -> int:
    """Return the integer at the end of ``path`` in a message: 0 when it is not there, or this is no message."""
    try:
        for field in path[:-1]:
            found = _field(message, field)
            message = found if isinstance(found, bytes) else b""
        found = _field(message, path[-1])
    except (LookupError, ValueError):
        return 0
    return found if isinstance(found, int) else 0


def _field(message: bytes, wanted: int) -> int | bytes | None:
    at = 0
    while at < len(message):
        key, at = _read(message, at)
        value: int | bytes
        wire_type = key & 7
        if wire_type == _VARINT:
            value, at = _read(message, at)
        else:
            size, at = _read(message, at) if wire_type == _LENGTH else ({_FIXED64: 8, _FIXED32: 4}[wire_type], at)
            value = message[at : at + size]
            at += size
        if key >> 3 == wanted:
            return value
    return None


def _read(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, _MOST_BITS, 7):
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < _SHORT:
            return number, at
    raise ValueError("no varint is that long")
