"""The way from a strategy to one of its targets: which is next, and which are as if they were not there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from proxy.routing.balance import by_key, by_load, by_weight, load, sticky_key
from proxy.routing.conditions import holds, value_of
from proxy.routing.tree import Branch, Leaf

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from proxy.routing.conditions import Facts
    from proxy.routing.outcome import Outcome
    from proxy.routing.tree import Node


@dataclass(frozen=True, slots=True)
class State:
    """What is known beside the document at one moment, by the targets' paths.

    ``open``: targets whose circuit lets nobody through, and the seconds until it may. ``probed``: those of them that an
    attempt is finding out about just now. ``spent``: targets whose upstream has no retries left in its budget.
    ``outstanding``: seconds of audio sent and not answered. ``unix``: the Unix time, for sticky windows.
    """

    open: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    probed: Container[str] = frozenset()
    spent: Container[str] = frozenset()
    outstanding: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    unix: float = 0.0

    def is_open(self, node: Node) -> bool:
        """Return whether a target is left alone; a branch is when all its targets are."""
        if isinstance(node, Leaf):
            return node.path in self.open
        return bool(self.open) and all(self.is_open(target) for target in node.targets)


CALM: Final = State()
"""Nothing is open, spent or outstanding."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A branch on the way to the present target: which of its targets are done with, and how the last of them ended."""

    branch: Branch
    gone: frozenset[int]
    last: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """How to get from a node to a target: the branches on the way, and what is left of the chance."""

    frames: tuple[Frame, ...]
    legs: tuple[Leaf, ...]
    chance: float
    anyway: bool
    delay: float = 0.0


def way_to(node: Node, facts: Facts, state: State, chance: float, *, anyway: bool = False) -> Way | None:
    """Return the way to the first target below ``node``, or None when nobody there can be asked."""
    if isinstance(node, Branch):
        return way_on(Frame(node, frozenset()), facts, state, chance)
    if anyway and node.path in state.probed:
        return None
    return Way((), (node,), chance, anyway)


def way_on(frame: Frame, facts: Facts, state: State, chance: float) -> Way | None:
    """Return the way through the next target of a branch that is not done with, or None when there is none."""
    branch, gone = frame.branch, set(frame.gone)
    targets, anyway = _candidates(branch, facts, state)
    if branch.mode == "hedge":
        return _hedge(frame, targets, facts, state, chance, anyway=anyway)
    while left := [index for index in targets if index not in gone]:
        index, chance = _choose(branch, left, facts, state, chance)
        gone.add(index)
        way = way_to(branch.targets[index], facts, state, chance, anyway=anyway)
        if way is not None:
            return replace(way, frames=(replace(frame, gone=frozenset(gone)), *way.frames))
    return None


def _hedge(frame: Frame, targets: list[int], facts: Facts, state: State, chance: float, *, anyway: bool) -> Way | None:
    legs: list[Leaf] = []
    for index in targets:
        way = way_to(frame.branch.targets[index], facts, state, chance, anyway=anyway)
        if way is not None:
            legs.append(way.legs[0])
            chance = way.chance
    if not legs:
        return None
    done = replace(frame, gone=frozenset(range(len(frame.branch.targets))))
    return Way((done,), tuple(legs), chance, anyway, frame.branch.delay)


def _candidates(branch: Branch, facts: Facts, state: State) -> tuple[list[int], bool]:
    """Return the targets that the branch may use, in the document's order, and whether they are used although open.

    Open targets are as if not there, unless all of them are open: then the breaker is bypassed, as in Portkey.
    """
    if branch.mode == "conditional":
        chosen = next((each.then for each in branch.conditions if holds(each.query, facts)), branch.default)
        there = [] if chosen is None else [chosen]
    elif branch.mode == "loadbalance":
        there = [index for index, weight in enumerate(_weights(branch)) if weight > 0]
    else:
        there = list(range(len(branch.targets)))
    closed = [index for index in there if not state.is_open(branch.targets[index])]
    if branch.mode == "single":
        return (closed or there)[:1], not closed
    return closed or there, not closed


def _choose(branch: Branch, left: list[int], facts: Facts, state: State, chance: float) -> tuple[int, float]:
    """Return which of the targets ``left`` is next, and what is left of the chance."""
    if branch.mode != "loadbalance" or len(left) == 1:
        return left[0], chance
    weights = [_weights(branch)[index] for index in left]
    if branch.policy == "least_outstanding":
        return left[by_load([load(branch.targets[index], state.outstanding) for index in left], weights)], chance
    if branch.sticky is not None:
        values = [value_of(name, facts) for name in branch.sticky.hash_fields]
        key = sticky_key(values, branch.sticky.ttl, state.unix)
        if key is not None:
            return left[by_key(key, [branch.targets[index].path for index in left], weights)], chance
    index, rest = by_weight(weights, chance)
    return left[index], rest


def _weights(branch: Branch) -> tuple[float, ...]:
    return branch.weights or (1.0,) * len(branch.targets)
