"""Says in words what a request would do: which targets, in what order, how often, and where each failure leads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxy.routing.backoff import backoff
from proxy.routing.conditions import ParamNeeded, holds
from proxy.routing.outcome import Outcome, is_passed_on
from proxy.routing.tree import Leaf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from proxy.routing.conditions import Facts
    from proxy.routing.tree import Branch, BreakerRules, Node

    Trail = tuple[tuple[Branch, int], ...]
    Describe = Callable[[Leaf], str]

_CLIENT: Final = "the client gets it"
_LOST: Final = ("a lost connection", Outcome(502, "upstream_broke"))
_TIMEOUT: Final = ("a request timeout", Outcome(408, "upstream_timed_out"))
_OTHER: Final = Outcome(0, "refused")  # a status that no config lists


@dataclass(frozen=True, slots=True)
class Line:
    """One line: how deep in the tree, the path of the node it is about, and what it says."""

    depth: int
    path: str
    text: str

    def __str__(self) -> str:
        return "  " * self.depth + self.text


def explain(node: Node, facts: Facts, describe: Describe) -> tuple[Line, ...]:
    """Return what a request with these facts would do, the outermost strategy first.

    ``describe`` says what is known of a target beside its config: provider, address, model. Targets that the request
    cannot reach have one line that says why not. When a condition hangs on a form field that ``facts`` do not have and
    that may still come, all its targets are explained.
    """
    return tuple(_explained(node, facts, describe, "", (), 0))


def _explained(node: Node, facts: Facts, describe: Describe, label: str, trail: Trail, depth: int) -> Iterator[Line]:
    if isinstance(node, Leaf):
        yield Line(depth, node.path, f"{label}{_titled(node)}: {describe(node)}")
        yield from (Line(depth + 1, node.path, text) for text in _details(node, trail))
        return
    yield Line(depth, node.path, f"{label}{_titled(node)}: {_strategy(node)}")
    if node.mode == "conditional":
        yield from _conditional(node, facts, describe, trail, depth + 1)
        return
    for index, target in enumerate(node.targets):
        label, why_not = _label(node, index)
        if why_not:
            yield Line(depth + 1, target.path, f"{label}{_titled(target)}: {why_not}")
        else:
            yield from _explained(target, facts, describe, label, (*trail, (node, index)), depth + 1)


def _conditional(branch: Branch, facts: Facts, describe: Describe, trail: Trail, depth: int) -> Iterator[Line]:
    """Explain the target of the first condition that holds; all that are possible when a field is missing."""
    possible: list[int | None] = []
    settled = False
    for number, condition in enumerate(branch.conditions, 1):
        query = json.dumps(condition.query, ensure_ascii=False)
        if settled:
            verdict = "not reached"
        else:
            verdict, settled = _verdict(condition.query, facts)
            if verdict != "does not hold":
                possible.append(condition.then)
        path = branch.targets[condition.then].path
        yield Line(depth, branch.path, f"condition {number}, {query} → {path}: {verdict}")
    if not settled:
        default = "there is no default: 400 invalid_config"
        if branch.default is not None:
            default = f"default → {branch.targets[branch.default].path}"
        yield Line(depth, branch.path, f"if no condition holds, {default}" if possible else f"none holds; {default}")
        possible.append(branch.default)
    for index in sorted({index for index in possible if index is not None}):
        yield from _explained(branch.targets[index], facts, describe, "", (*trail, (branch, index)), depth)


def _verdict(query: Mapping[str, Any], facts: Facts) -> tuple[str, bool]:
    """Return what becomes of a condition, and whether it settles the choice."""
    try:
        held = holds(query, facts)
    except ParamNeeded as needed:
        return f"hangs on the form field {needed.name!r}", False
    return ("holds", True) if held else ("does not hold", False)


def _titled(node: Node) -> str:
    return node.path if node.name is None else f"{node.path} ({node.name})"


def _strategy(branch: Branch) -> str:
    breaker = "" if branch.breaker is None or branch.mode == "conditional" else f"; {_breaker(branch.breaker)}"
    return _choice(branch) + breaker


def _choice(branch: Branch) -> str:
    if branch.mode == "single":
        return "single, the first target"
    if branch.mode == "conditional":
        return "conditional, the target of the first condition that holds"
    if branch.mode == "hedge":
        return f"hedge, each target {_seconds(branch.delay)} after the one before; the first good answer wins"
    if branch.mode == "fallback":
        codes = branch.on_status_codes
        if codes is None:
            return "fallback, in this order after any failure"
        return f"fallback, in this order after {_listed(codes)}" if codes else "fallback that lists no status: never"
    if branch.policy == "least_outstanding":
        return "loadbalance, the one target with the least audio outstanding"
    if branch.sticky is not None:
        fields = ", ".join(branch.sticky.hash_fields)
        return f"loadbalance, one target by weight, the same for the same {fields} during {branch.sticky.ttl:g} s"
    return "loadbalance, one target by weight"


def _breaker(rules: BreakerRules) -> str:
    limits = []
    if rules.failure_threshold is not None:
        limits.append(f"{rules.failure_threshold} failures")
    if rules.failure_threshold_percentage is not None:
        limits.append(f"{rules.failure_threshold_percentage:g} % of at least {rules.minimum_requests} requests")
    codes = rules.failure_status_codes
    counted = "500 and above" if codes is None else _listed(codes) or "no status"
    what = " or ".join(limits) or "nothing"
    return f"a target is left alone for {rules.cooldown:g} s after {what} within that time ({counted}, no answer)"


def _label(branch: Branch, index: int) -> tuple[str, str]:
    """Return what stands before a target, and why the request cannot reach it."""
    if branch.mode == "fallback":
        return f"{index + 1}. ", "never asked" if index and branch.on_status_codes == frozenset() else ""
    if branch.mode == "hedge":
        return f"at {_seconds(index * branch.delay)}, ", ""
    if branch.mode == "loadbalance":
        weights = branch.weights or (1.0,) * len(branch.targets)
        share = 100 * weights[index] / sum(weights)
        label = f"{share:.3g} %, " if branch.policy == "weight" else ""
        return label, "" if weights[index] > 0 else "its weight is 0, so it is never chosen"
    return "", "not the first target" if index else ""


def _details(leaf: Leaf, trail: Trail) -> Iterator[str]:
    timeout, retry = leaf.request_timeout, leaf.retry
    yield f"request timeout {_seconds(timeout / 1000)}" if timeout else "no request timeout of its own"
    hedged = bool(trail) and trail[-1][0].mode == "hedge"
    if retry.attempts and not hedged:
        waits = ", ".join(f"{backoff(number, 1.0):g}" for number in range(retry.attempts))
        codes = f"{_listed(retry.on_status_codes)} or " if retry.on_status_codes else ""
        asked = ", or as Retry-After says after 429 and 503" if retry.use_retry_after else ""
        times = "once" if retry.attempts == 1 else f"up to {retry.attempts} times"
        yield f"tried again {times} after {codes}a lost connection, waiting half to all of {waits} s{asked}"
    if not retry.after_commit:
        yield "nothing is tried after a failure that may have been billed"
    yield "then " + _leads(trail)


def _leads(trail: Trail) -> str:
    """Say where each kind of failure leads when this target is not tried again."""
    listed: set[int] = set()
    for branch, _ in trail:
        listed |= branch.on_status_codes or frozenset()
    ends = [(str(code), Outcome(code, "refused")) for code in sorted(listed)] + [_TIMEOUT, _LOST]
    otherwise = _onward(trail, _OTHER)
    groups: dict[str, list[str]] = {}
    for name, outcome in ends:
        if (place := _onward(trail, outcome)) != otherwise:
            groups.setdefault(place, []).append(name)
    if not groups:
        return f"after any failure → {otherwise}"
    parts = [f"after {', '.join(names)} → {place}" for place, names in groups.items()]
    return "; ".join([*parts, f"after anything else → {otherwise}"])


def _onward(trail: Trail, outcome: Outcome) -> str:
    for branch, index in reversed(trail):
        rest = branch.targets[index + 1 :]
        if branch.mode == "fallback" and rest and is_passed_on(outcome, branch.on_status_codes):
            return rest[0].path
    return _CLIENT


def _listed(codes: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(codes)))


def _seconds(seconds: float) -> str:
    return f"{seconds:g} s"
