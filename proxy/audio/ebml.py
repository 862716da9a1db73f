"""The values of EBML's elements (RFC 8794 section 7)."""

from __future__ import annotations

from struct import Struct
from typing import Final

from proxy.audio.duration import NonsenseError

NUMBER: Final = 9
"""Bytes of an element's payload that show a number, or that it is none."""

_FLOATS: Final = {4: Struct(">f"), 8: Struct(">d")}
_MOST: Final = 2.0**64  # what an integer can be, too: anything beyond measures nothing


def unsigned(data: bytes) -> int:
    """Return ``data`` as one number, the most significant byte first."""
    return int.from_bytes(data, "big")


def signed(data: bytes, at: int) -> int:
    """Return the signed number in the two bytes at ``at``: a block's time within its cluster."""
    return int.from_bytes(data[at : at + 2], "big", signed=True)


def integer(payload: bytes) -> int:
    """Return an unsigned integer element's value. Raises NonsenseError when it is longer than they are."""
    if len(payload) >= NUMBER:
        raise NonsenseError("an integer of more than eight bytes")
    return int.from_bytes(payload, "big")


def floating(payload: bytes) -> float:
    """Return a float element's value; 0 for what cannot be counted with: negative, infinite, no number at all."""
    if len(payload) not in _FLOATS:
        return 0.0
    value: float = _FLOATS[len(payload)].unpack(payload)[0]
    return value if 0 <= value < _MOST else 0.0
