"""One input, cut in every way that a network may cut it: the report must be the same each time."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Report = TypeVar("Report")

_EVERY_CUT_UP_TO: Final = 3_000  # bytes: beyond, one run per cut would take minutes
_RANDOM_RUNS: Final = 20


def cuts(data: bytes, *, seed: int = 1) -> Iterator[list[bytes]]:
    """Yield ``data`` whole; byte by byte; in two at every byte; in pieces of 777 bytes; at random places."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    if len(data) <= _EVERY_CUT_UP_TO:
        for at in range(1, len(data)):
            yield [data[:at], data[at:]]
    yield [data[at : at + 777] for at in range(0, len(data), 777)]
    yield from random_cuts(data, _RANDOM_RUNS, seed=seed)


def random_cuts(data: bytes, runs: int, *, seed: int = 1) -> Iterator[list[bytes]]:
    """Yield ``data`` cut at random places, ``runs`` times; empty pieces occur."""
    chance = random.Random(seed)
    for _ in range(runs):
        places = sorted(chance.choices(range(len(data) + 1), k=chance.randint(1, 12)))
        yield [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def same_report(data: bytes, report: Callable[[list[bytes]], Report], *, seed: int = 1) -> Report:
    """Return what ``report`` says of ``data``, having checked that it says so however ``data`` is cut."""
    expected = report([data])
    for chunks in cuts(data, seed=seed):
        found = report(chunks)
        assert found == expected, f"cut into {[len(chunk) for chunk in chunks][:20]}"
    return expected
