"""Any config and any sequence of ends: the plan does what a naive reading of the document says, and always ends."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import GatewayError
from proxy.routing.conditions import Facts
from proxy.routing.document import parse
from proxy.routing.outcome import Outcome
from proxy.routing.plan import Plan, Stop
from proxy.routing.tree import Branch, Leaf, Node, leaves
from proxy.routing.way import State
from tests.routing.stories import ENDS, branch, end

if TYPE_CHECKING:
    from collections.abc import Iterator

CODES = [401, 413, 429, 500, 502, 503]
CODE_LISTS = st.none() | st.lists(st.sampled_from(CODES), unique=True, max_size=3)
TIERS = ("free", "paid", "trial")


def without_none(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None}


RETRIES = st.builds(
    lambda attempts, codes, follow, commit: without_none(
        {"attempts": attempts, "on_status_codes": codes, "use_retry_after_header": follow, "after_commit": commit}
    ),
    st.integers(0, 3),
    CODE_LISTS,
    st.booleans(),
    st.sampled_from([True, True, True, False]),
)
TARGETS = st.builds(
    lambda retry, weight: {"provider": "openai", "retry": retry, "weight": weight},
    RETRIES,
    st.sampled_from([0, 1, 2, 4]),
)


@st.composite
def branches(draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    mode = draw(st.sampled_from(["single", "fallback", "fallback", "fallback", "loadbalance", "conditional", "hedge"]))
    few = st.lists(TARGETS, min_size=2, max_size=3) if mode == "hedge" else st.lists(inner, min_size=1, max_size=4)
    targets = [{**each, "name": str(number)} for number, each in enumerate(draw(few))]
    strategy: dict[str, Any] = {}
    if mode == "fallback":
        strategy = without_none({"on_status_codes": draw(CODE_LISTS)})
    if mode == "loadbalance":
        targets[0] = {**targets[0], "weight": 1}
    if mode == "conditional":
        name = st.sampled_from([each["name"] for each in targets])
        tiers = draw(st.lists(st.sampled_from(TIERS), min_size=1, max_size=2))
        strategy["conditions"] = [{"query": {"metadata.tier": tier}, "then": draw(name)} for tier in tiers]
        if draw(st.booleans()):
            strategy["default"] = draw(name)
    return branch(mode, *targets, **strategy) | {"weight": draw(st.sampled_from([0, 1, 3]))}


TREES = st.recursive(TARGETS, branches, max_leaves=8)
FAILURES = st.sampled_from([401, 413, 429, 500, 503, "connect", "broke", "timeout", "silent"])
SOME_ENDS = FAILURES | FAILURES | st.sampled_from(["skip", "skip", "billed"]) | st.sampled_from([*ENDS, 200])
CHANCES = st.integers(0, 2**39 - 1).map(lambda number: (2 * number + 1) / 2**40)  # never on the edge of a share


class HaltedError(Exception):
    """No other attempt, whatever the document says."""


class Reading:
    """Reads a document as its author would, one strategy after the other, with none of the plan's book-keeping."""

    def __init__(self, ends: Iterator[Outcome], chance: float, tier: str, opened: set[str], probed: set[str]) -> None:
        self.tried: list[tuple[str, ...]] = []
        self._ends, self._chance, self._tier = ends, chance, tier
        self._open, self._probed = opened, probed

    def of(self, node: Node) -> list[tuple[str, ...]]:
        with suppress(HaltedError):
            self._node(node, bypassed=False)
        return self.tried

    def _node(self, node: Node, *, bypassed: bool) -> Outcome | None:
        """Return how a node ended; None when nobody in it was asked."""
        if isinstance(node, Leaf):
            return None if bypassed and node.path in self._probed else self._leaf(node)
        there, bypassed = self._there(node)
        if node.mode == "hedge":
            return self._hedge([node.targets[index] for index in there], bypassed=bypassed)
        last = None
        while there:
            index = self._picked(node, there) if node.mode == "loadbalance" else there[0]
            there = [other for other in there if other != index]
            ended = self._node(node.targets[index], bypassed=bypassed)
            last = ended or last
            if ended is not None and not (node.mode == "fallback" and self._listed(node, ended)):
                return ended
        return last

    def _leaf(self, leaf: Leaf) -> Outcome | None:
        last = None
        for _ in range(leaf.retry.attempts + 1):
            ended = self._ended(leaf, (leaf.path,))
            if ended.skipped:
                return last
            last = ended
            network = ended.failure in ("connect_failed", "upstream_broke")
            if leaf.path in self._open or not (network or ended.status in leaf.retry.on_status_codes):
                break
        return last

    def _hedge(self, targets: list[Node], *, bypassed: bool) -> Outcome | None:
        legs = [each for each in targets if isinstance(each, Leaf) and not (bypassed and each.path in self._probed)]
        if not legs:
            return None
        ended = self._ended(legs[0], tuple(leg.path for leg in legs))
        return None if ended.skipped else ended

    def _ended(self, leaf: Leaf, paths: tuple[str, ...]) -> Outcome:
        self.tried.append(paths)
        ended = next(self._ends)
        nothing_sent = ended.failure == "connect_failed" or not ended.body_sent
        if not ended.skipped and (
            ended.status < 300
            or ended.failure in ("client_left", "gateway_refused")
            or (ended.billed and not leaf.retry.after_commit)
        ):
            raise HaltedError
        if not (ended.replayable or nothing_sent):
            raise HaltedError
        return ended

    def _there(self, node: Branch) -> tuple[list[int], bool]:
        there = list(range(len(node.targets)))
        if node.mode == "conditional":
            held = [each.then for each in node.conditions if each.query == {"metadata.tier": self._tier}]
            chosen = held[0] if held else node.default
            there = [] if chosen is None else [chosen]
        elif node.mode == "loadbalance":
            there = [index for index in there if node.weights[index] > 0]
        closed = [index for index in there if not all(leaf.path in self._open for leaf in leaves(node.targets[index]))]
        there, bypassed = closed or there, not closed
        return (there[:1] if node.mode == "single" else there), bypassed

    def _picked(self, node: Branch, there: list[int]) -> int:
        if len(there) == 1:
            return there[0]
        spot = self._chance * sum(node.weights[index] for index in there)
        for index in there:
            if spot < node.weights[index]:
                self._chance = spot / node.weights[index]
                return index
            spot -= node.weights[index]
        raise AssertionError("the chance is below 1")

    @staticmethod
    def _listed(node: Branch, ended: Outcome) -> bool:
        codes = node.on_status_codes
        if codes is None or ended.status in codes:
            return True
        return 500 in codes and ended.failure is not None and ended.status in (502, 504) and ended.failure != "refused"


def facts(tier: str) -> Facts:
    return Facts({"tier": tier}, {}, "/v1/audio/transcriptions", {}, complete=True)


def played(node: Node, ends: Iterator[Outcome], chance: float, tier: str, state: State) -> list[tuple[str, ...]]:
    """Return the targets of every attempt that the plan makes."""
    try:
        plan = Plan.begin(node, facts(tier), chance, state=state)
    except GatewayError:
        return []
    tried = []
    while True:
        tried.append(tuple(leaf.path for leaf in plan.legs))
        step = plan.after(next(ends), 0.0, 0.0, state)
        if isinstance(step, Stop):
            return tried
        plan = step.plan


@settings(max_examples=500, deadline=None)
@given(TREES, st.lists(SOME_ENDS, min_size=40, max_size=40), CHANCES, st.sampled_from(TIERS), st.data())
def test_a_plan_tries_what_a_naive_reading_of_the_document_says(
    document: dict[str, Any], ends: list[Any], chance: float, tier: str, data: st.DataObject
) -> None:
    node = parse(document)
    paths = [leaf.path for leaf in leaves(node)] if isinstance(node, Branch) else []
    opened = data.draw(st.sets(st.sampled_from(paths))) if paths else set()
    probed = data.draw(st.sets(st.sampled_from(sorted(opened)))) if opened else set()
    state = State(open=dict.fromkeys(opened, 5.0), probed=probed)
    outcomes = [end(each) for each in ends]
    expected = Reading(iter(outcomes), chance, tier, opened, probed).of(node)
    assert played(node, iter(outcomes), chance, tier, state) == expected


@settings(max_examples=300, deadline=None)
@given(
    TREES,
    st.lists(st.tuples(FAILURES, st.floats(0, 90), st.none() | st.floats(0, 90)), min_size=40, max_size=40),
    CHANCES,
    st.floats(0, 300) | st.just(math.inf),
    st.floats(0, 1),
)
def test_any_failures_end_within_attempts_and_deadline(
    document: dict[str, Any], ends: list[Any], chance: float, deadline: float, jitter: float
) -> None:
    node = parse(document)
    try:
        plan = Plan.begin(node, facts("paid"), chance, deadline=deadline)
    except GatewayError:
        return
    now, tries = 0.0, Counter(leaf.path for leaf in plan.legs)
    waits: dict[str, float] = defaultdict(float)
    for number, (word, seconds, asked) in enumerate(ends):
        ended = end(word)
        now += seconds
        step = plan.after(Outcome(ended.status, ended.failure, asked), now, jitter)
        if isinstance(step, Stop):
            assert step.retry_count == -1 or step.retry_count == plan.retry_count
            assert plan.attempts == tries.total()
            break
        now += step.wait
        assert now < deadline, "nothing begins after the deadline"
        assert step.same_target is (step.plan.legs == plan.legs)
        assert step.wait == 0 or step.same_target
        assert plan.may_go_on, f"attempt {number + 2} was not foreseen"
        plan = step.plan
        tries.update(leaf.path for leaf in plan.legs)
        waits[plan.leaf.path] += step.wait
    else:
        raise AssertionError("it goes on for ever")
    limits = {leaf.path: leaf.retry.attempts + 1 for leaf in leaves(node)}
    assert all(count <= limits[path] for path, count in tries.items())
    assert all(wait <= 60 + 1e-6 for wait in waits.values())
