"""Which of several targets: by weight, by what a request says of itself, or by who has least to do."""

from __future__ import annotations

import math
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from proxy.routing.tree import leaves

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.routing.tree import Node

_BITS: Final = 64  # of a hash, as a number from 0 to 1


def by_weight(weights: Sequence[float], chance: float) -> tuple[int, float]:
    """Return the index that ``chance`` (from 0 to below 1) falls on, and what is left of the chance.

    Each index has its weight's share of the line from 0 to 1, in order. What is left is where in that share the chance
    fell: again uniform from 0 to 1, and independent of the choice, so that one random number serves a whole tree. At
    least one weight must be more than 0; a weight of 0 is never chosen.
    """
    total = math.fsum(weights)
    start = 0.0
    found, left = -1, 0.0
    for index, weight in enumerate(weights):
        share = weight / total
        if share <= 0:
            continue
        found, left = index, (chance - start) / share
        if left < 1:
            break
        start += share
    return found, min(max(left, 0.0), math.nextafter(1.0, 0.0))  # rounding may leave the line by a hair


def sticky_key(values: Sequence[object], ttl: float, now: float) -> bytes | None:
    """Return what requests with these values have in common for ``ttl`` seconds, or None when no value is there.

    ``now`` is the Unix time, so that all workers and pods agree without talking. Each set of values has windows of its
    own: they do not all move to new targets in the same second.
    """
    texts = ["" if value is None else str(value) for value in values]
    if not any(texts):
        return None
    text = "\0".join(f"{len(each)}:{each}" for each in texts)
    digest = sha256(text.encode("utf-8", "surrogatepass")).digest()
    if ttl <= 0:
        return digest
    return digest + str(math.floor(now / ttl + _fraction(digest))).encode()


def by_key(key: bytes, paths: Sequence[str], weights: Sequence[float]) -> int:
    """Return the index that ``key`` belongs to: weighted rendezvous hashing.

    Every target draws a number from the key, and the largest wins. A target that is away moves only its own keys, each
    to the next largest; over many keys the shares are those of the weights. At least one weight must be more than 0.
    Source: Mosko and Schindelhauer, "Weighted distributed hash tables", the logarithmic method.
    """

    def drawn(index: int) -> float:
        if weights[index] <= 0:
            return -math.inf
        return -weights[index] / math.log(_fraction(sha256(key + b"\0" + paths[index].encode()).digest()))

    return max(range(len(paths)), key=drawn)


def by_load(loads: Sequence[float], weights: Sequence[float]) -> int:
    """Return the index with the least load; then the one with the largest weight, then the first."""
    usable = [index for index, weight in enumerate(weights) if weight > 0]
    return min(usable, key=lambda index: (loads[index], -weights[index], index))


def load(node: Node, outstanding: Mapping[str, float]) -> float:
    """Return the seconds of audio that were sent to targets below ``node`` and are not answered yet."""
    return math.fsum(outstanding.get(leaf.path, 0.0) for leaf in leaves(node))


def _fraction(digest: bytes) -> float:
    """Return a number above 0 and below 1 from a hash."""
    return (int.from_bytes(digest[: _BITS // 8], "big") + 0.5) / 2.0**_BITS
