"""Files as damage leaves them, and what may be said of them: never an error, nothing absurd, the same for any cuts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from proxy.audio.walker import LONGEST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.audio.duration import Duration, Probe


def measured(kind: type[Probe], chunks: Iterable[bytes]) -> Duration:
    """Return what a new probe says of ``chunks``, having checked after each of them that it says nothing absurd."""
    probe = kind()
    for chunk in chunks:
        probe.feed(chunk)
        assert 0 <= probe.seconds <= LONGEST
    found = probe.finish()
    assert found == probe.finish(), "asking changes nothing"
    assert (found.seconds is None) == (found.source == "unknown")
    assert found.seconds is None or (math.isfinite(found.seconds) and 0 <= found.seconds <= LONGEST)
    return found


def places(size: int) -> st.SearchStrategy[list[int]]:
    """Places to cut ``size`` bytes at, in order."""
    return st.lists(st.integers(0, size), max_size=8).map(sorted)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Return ``data`` in pieces; a place past its end cuts off nothing."""
    return [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, words: tuple[bytes, ...]) -> bytes:
    """Return ``whole`` with a few changes, most of them near its head: bytes flipped, lost or put in, ``words`` too."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, min(len(data), draw(st.sampled_from((80, 800, len(whole)))))))
        change = draw(st.sampled_from(("flip", "lose", "insert", "word", "cut")))
        if change == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif change == "lose":
            del data[at : at + draw(st.integers(1, 30))]
        elif change == "insert":
            data[at:at] = draw(st.binary(max_size=20))
        elif change == "word":
            word = draw(st.sampled_from(words))
            data[at : at + len(word)] = word
        elif at > 200:
            del data[at:]
    return bytes(data)
