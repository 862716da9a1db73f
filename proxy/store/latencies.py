"""Counts of latencies as bytes: small where few slots are used, and added up without being taken apart.

The first byte is the lowest slot used; then each slot up to the highest has five bytes, the lowest first. Read as one
number, two such counts are added by adding two numbers: that is what makes a month of them a matter of milliseconds.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_BYTES: Final = 5  # of a slot: a thousand thousand millions of requests
_BITS: Final = 8 * _BYTES


def packed(latency: Mapping[int, int]) -> bytes:
    """Return counts by slot as bytes."""
    return _packed(sum(count << _BITS * slot for slot, count in latency.items()))


def unpacked(data: bytes) -> Counter[int]:
    """Return the counts by slot that :func:`packed` was given."""
    lowest, counts = data[0], data[1:]
    found = {
        lowest + place // _BYTES: int.from_bytes(counts[place : place + _BYTES], "little")
        for place in range(0, len(counts), _BYTES)
    }
    return Counter({slot: count for slot, count in found.items() if count})


def merged(first: bytes, second: bytes) -> bytes:
    """Return the sum of two counts."""
    return _packed(_number(first) + _number(second))


class LatencySum:
    """The sum of any number of counts: an aggregate function for SQLite."""

    def __init__(self) -> None:
        self._sum = 0

    def step(self, data: bytes) -> None:
        """Add one."""
        self._sum += _number(data)

    def finalize(self) -> bytes:
        """Return the sum."""
        return _packed(self._sum)


def _number(data: bytes) -> int:
    return int.from_bytes(data[1:], "little") << _BITS * data[0]


def _packed(number: int) -> bytes:
    lowest = ((number & -number).bit_length() - 1) // _BITS if number else 0
    number >>= _BITS * lowest
    slots = -(-number.bit_length() // _BITS)
    return bytes((lowest,)) + number.to_bytes(slots * _BYTES, "little")
