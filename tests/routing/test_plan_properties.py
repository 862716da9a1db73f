"""Any config and any sequence of ends: the plan does what a naive reading of the document says, and always ends."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from hypothesis import given, note, settings
from hypothesis import strategies as st

from proxy.errors import GatewayError
from proxy.routing.conditions import Facts
from proxy.routing.document import parse
from proxy.routing.plan import Plan, Stop
from proxy.routing.tree import Branch, Leaf, Node, leaves
from proxy.routing.way import State
from tests.routing.stories import ENDS, branch, end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.routing.outcome import Outcome

CODES = [401, 413, 429, 500, 502, 503]
TIERS = ["free", "paid", "trial"]
FAILURES: list[str | int] = [401, 413, 429, 500, 503, "connect", "broke", "timeout", "silent"]
SOME_ENDS: list[str | int] = [*FAILURES * 3, *["skip"] * 8, *["billed"] * 3, *ENDS, 200]
MODES = ["single", "fallback", "fallback", "loadbalance", "loadbalance", "conditional", "hedge"]
SEEDS = st.integers(0, 2**32)
"""Documents and ends grow from a seed: drawn one by one they would be small and alike, and find less."""


def codes(random: Random) -> list[int] | None:
    return random.sample(CODES, random.randint(0, 4)) if random.random() < 0.5 else None


def without_none(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None}


def leaf_document(random: Random) -> dict[str, Any]:
    retry = {
        "attempts": random.choice([0, 0, 1, 3]),
        "on_status_codes": codes(random),
        "use_retry_after_header": random.random() < 0.5,
        "after_commit": random.random() < 0.7,
    }
    return {"provider": "openai", "retry": without_none(retry)}


def grown(random: Random, depth: int = 3) -> dict[str, Any]:
    """Return a document whose strategies are up to ``depth`` deep."""
    if depth == 0 or random.random() < 0.3:
        return leaf_document(random)
    mode = random.choice(MODES)
    hedge = mode == "hedge"
    count = random.randint(2 if hedge else 1, 3)
    targets = [
        (leaf_document(random) if hedge else grown(random, depth - 1))
        | {"name": str(number), "weight": random.choice([0, 1, 2, 4]) if number else 1}
        for number in range(count)
    ]
    strategy: dict[str, Any] = {}
    if mode == "fallback":
        strategy = without_none({"on_status_codes": codes(random)})
    if mode == "conditional":
        names = [each["name"] for each in targets]
        rows = [(tier, random.choice(names)) for tier in random.sample(TIERS, random.randint(1, 2))]
        strategy["conditions"] = [{"query": {"metadata.tier": tier}, "then": name} for tier, name in rows]
        strategy |= {"default": random.choice(names)} if random.random() < 0.7 else {}
    return branch(mode, *targets, **strategy)


def chance_of(random: Random) -> float:
    """Return a chance that is never on the edge of a share, where rounding would decide."""
    return (2 * random.randrange(2**39) + 1) / 2**40


MOST = 27 * 4 + 1  # ends that a grown document can use up: 27 targets tried four times each, and one more


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


@settings(max_examples=1500, deadline=None)
@given(SEEDS)
def test_a_plan_tries_what_a_naive_reading_of_the_document_says(seed: int) -> None:
    random = Random(seed)
    document = grown(random)
    node = parse(document)
    ends = random.choices(SOME_ENDS, k=MOST)
    paths = [leaf.path for leaf in leaves(node)] if isinstance(node, Branch) else []
    opened = {path for path in paths if random.random() < 0.4} if random.random() < 0.5 else set[str]()
    probed = {path for path in opened if random.random() < 0.4}
    chance, tier = chance_of(random), random.choice(TIERS)
    note(f"{document}\n{ends}\n{opened=} {probed=} {chance=} {tier=}")
    state = State(open=dict.fromkeys(opened, 5.0), probed=probed)
    outcomes = [end(each) for each in ends]
    expected = Reading(iter(outcomes), chance, tier, opened, probed).of(node)
    assert played(node, iter(outcomes), chance, tier, state) == expected


@settings(max_examples=500, deadline=None)
@given(SEEDS, st.floats(0, 300) | st.just(math.inf), st.floats(0, 1))
def test_any_failures_end_within_attempts_and_deadline(seed: int, deadline: float, jitter: float) -> None:
    random = Random(seed)
    node = parse(grown(random))
    try:
        plan = Plan.begin(node, facts("paid"), chance_of(random), deadline=deadline)
    except GatewayError:
        return
    now, tries = 0.0, Counter(leaf.path for leaf in plan.legs)
    waits: dict[str, float] = defaultdict(float)
    for number in range(MOST):
        ended = end(random.choice(FAILURES))
        now += random.choice([0.0, 0.1, 20.0])
        step = plan.after(replace(ended, retry_after=random.choice([None, 0.0, 25.0, 70.0])), now, jitter)
        if isinstance(step, Stop):
            assert step.retry_count in (-1, plan.retry_count)
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
