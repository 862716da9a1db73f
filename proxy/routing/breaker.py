"""Leaves a failing target alone for a while, then lets one request find out whether it is well again.

Portkey counts from the first failure and forgets everything one cooldown later, so that a target that fails slowly
never opens, and one that opens late closes at once. Here failures and successes are counted over the last cooldown, as
a window that slides by tenths; an open circuit stays open for a whole cooldown; and then it is half-open: one request
at a time is let through, the first answer that is no failure closes it and forgets the past, a failure opens it anew.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from proxy.routing.tree import Branch, Leaf

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.routing.outcome import Outcome
    from proxy.routing.tree import BreakerRules, Node

Key = tuple[str, str]
"""A saved config's slug and a target's path in it. Inline configs have no breakers: each would count alone."""

Circuit = Literal["closed", "half_open", "open"]

LEVELS: Final[Mapping[Circuit, int]] = {"closed": 0, "half_open": 1, "open": 2}
"""What the metric shows."""

_SLICES: Final = 10  # of a window: a failure is forgotten at most a tenth late
_SHORTEST: Final = 30.0  # seconds of cooldown; Portkey raises shorter ones too
_PROBE: Final = 900.0  # seconds: longer than any usual wait for a reply; a probe nobody reported on is given up then
_MOST: Final = 4096  # circuits: saved configs are written by hand; the one unused for longest goes first


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one attempt. ``probe`` is when it began, if a circuit that is not closed hangs on it."""

    place: Key
    rules: BreakerRules
    probe: float | None = None


@dataclass(slots=True)
class _State:
    counts: dict[int, tuple[int, int]] = field(default_factory=dict)  # slice of time → successes, failures
    opened: float | None = None
    probed: float | None = None


class Breakers:
    """The circuits of all saved configs. ``now`` is any clock in seconds that does not go back.

    For every attempt at a target that has rules: a permit from :meth:`allow` before it, and :meth:`record` after it,
    whatever its end.
    """

    def __init__(self) -> None:
        self._states: OrderedDict[Key, _State] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def circuit(self, key: Key, rules: BreakerRules, now: float) -> Circuit:
        """Return the state of a target's circuit."""
        state = self._states.get(key)
        if state is None or state.opened is None:
            return "closed"
        return "open" if now < state.opened + _cooldown(rules) else "half_open"

    def is_probed(self, key: Key, now: float) -> bool:
        """Return whether an attempt is under way that decides over a circuit which is not closed."""
        state = self._states.get(key)
        return state is not None and state.probed is not None and now < state.probed + _PROBE

    def wait(self, key: Key, rules: BreakerRules, now: float) -> float | None:
        """Return the seconds until a target may be asked again; None when it may be asked now.

        A half-open circuit with an attempt under way may be free at any moment: 1 second.
        """
        state = self._states.get(key)
        if state is None or state.opened is None:
            return None
        left = state.opened + _cooldown(rules) - now
        return left if left > 0 else 1.0 if self.is_probed(key, now) else None

    def allow(self, key: Key, rules: BreakerRules, now: float, *, anyway: bool = False) -> Permit | None:
        """Return the permit for an attempt, or None when the target must be left alone.

        An attempt that finds the circuit not closed becomes its probe. ``anyway``: all the other targets are open too,
        so an open circuit does not hinder; a probe under way does.
        """
        circuit = self.circuit(key, rules, now)
        if circuit == "closed":
            return Permit(key, rules)
        if self.is_probed(key, now) or (circuit == "open" and not anyway):
            return None
        self._states[key].probed = now
        return Permit(key, rules, probe=now)

    def record(self, permit: Permit, outcome: Outcome | None, now: float) -> None:
        """Count the end of an attempt; None when it says nothing of the target (the client left, the gateway failed).

        While the circuit is not closed only its probe decides: attempts that began before it opened say nothing new.
        """
        rules, state = permit.rules, self._states.get(permit.place)
        verdict = None if outcome is None else judged(outcome, rules)
        if permit.probe is not None:
            if state is None or state.probed != permit.probe:
                return
            state.probed = None
            if verdict is False:
                state.opened = now
            elif outcome is not None and _answered(outcome):
                state.opened = None
        elif verdict is not None and (state is None or state.opened is None):
            state = state or self._new(permit.place)
            self._states.move_to_end(permit.place)
            _count(state, rules, now, success=verdict)
            if not verdict and _is_too_much(state, rules):
                state.opened, state.counts = now, {}

    def forget(self, slug: str) -> None:
        """Drop the circuits of a config that has changed or gone: its paths mean other targets now."""
        for key in [key for key in self._states if key[0] == slug]:
            del self._states[key]

    def worst(self, circuits: Iterable[tuple[Key, BreakerRules]], now: float) -> Circuit:
        """Return the worst state among a provider's targets: what the metric shows for the provider."""
        return max((self.circuit(key, rules, now) for key, rules in circuits), key=LEVELS.__getitem__, default="closed")

    def _new(self, key: Key) -> _State:
        while len(self._states) >= _MOST:
            self._states.popitem(last=False)
        state = self._states[key] = _State()
        return state


def judged(outcome: Outcome, rules: BreakerRules) -> bool | None:
    """Return whether an attempt was a success (True), a failure (False), or says nothing of the target (None).

    Failures are lost connections, timeouts, and the listed statuses, else 500 and above; successes are 2xx. Anything
    else counts for neither, as in Portkey: a 401 is no success, and the target is not ill. What the client or the
    gateway did never counts.
    """
    if outcome.skipped or outcome.failure in ("client_left", "gateway_refused"):
        return None
    if outcome.succeeded:
        return True
    listed = rules.failure_status_codes
    failed = outcome.status >= 500 if listed is None else outcome.status in listed
    return False if outcome.lost or outcome.failure == "upstream_timed_out" or failed else None


def rules_by_path(node: Node) -> dict[str, tuple[Leaf, BreakerRules]]:
    """Return every target that has a breaker, by its path.

    A conditional's own targets have none, as in Portkey: a condition names one target, and there is no other to take.
    """
    if isinstance(node, Leaf):
        return {}
    found: dict[str, tuple[Leaf, BreakerRules]] = {}
    for target in node.targets:
        if isinstance(target, Branch):
            found |= rules_by_path(target)
        elif node.breaker is not None and node.mode != "conditional":
            found[target.path] = (target, node.breaker)
    return found


def circuits_in(
    configs: Mapping[str, Node], provider_of: Mapping[str, str]
) -> dict[str, list[tuple[Key, BreakerRules]]]:
    """Return the circuits of saved configs by the provider that they guard; ``provider_of`` is a virtual key's.

    A target that leaves its provider to the request guards none that could be named.
    """
    found: dict[str, list[tuple[Key, BreakerRules]]] = {}
    for slug, node in configs.items():
        for path, (leaf, rules) in rules_by_path(node).items():
            provider = leaf.provider if leaf.virtual_key is None else provider_of.get(leaf.virtual_key)
            if provider is not None:
                found.setdefault(provider, []).append(((slug, path), rules))
    return found


def _answered(outcome: Outcome) -> bool:
    """Whether the target was asked and answered."""
    return not outcome.skipped and outcome.failure in (None, "refused")


def _cooldown(rules: BreakerRules) -> float:
    return max(rules.cooldown, _SHORTEST)


def _count(state: _State, rules: BreakerRules, now: float, *, success: bool) -> None:
    current = int(now * _SLICES / _cooldown(rules))
    for old in [number for number in state.counts if number <= current - _SLICES]:
        del state.counts[old]
    successes, failures = state.counts.get(current, (0, 0))
    state.counts[current] = (successes + 1, failures) if success else (successes, failures + 1)


def _is_too_much(state: _State, rules: BreakerRules) -> bool:
    successes = sum(each for each, _ in state.counts.values())
    failures = sum(each for _, each in state.counts.values())
    if rules.failure_threshold is not None and failures >= rules.failure_threshold:
        return True
    share = rules.failure_threshold_percentage
    total = successes + failures
    return share is not None and total >= rules.minimum_requests and 100 * failures >= share * total
