"""What to try now, and what next given how that ended. A :class:`Plan` is a value: it changes only into another plan.

The rules are Portkey's: retry the same target first, then let every enclosing fallback judge the end, from the inside
out; a loadbalance takes one target and no other. Ours are the deadline over all attempts, the bounds, the rules for
bodies that cannot be sent twice or may have been billed, and that a target which was not asked (it does not take this
upload, its circuit is open) counts as not there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from proxy.errors import GatewayError
from proxy.routing.backoff import LONGEST_WAIT, backoff
from proxy.routing.checks import MAX_ATTEMPTS
from proxy.routing.document import MAX_TARGETS
from proxy.routing.outcome import is_passed_on, is_retried
from proxy.routing.tree import leaves
from proxy.routing.way import CALM, Frame, way_on, way_to

if TYPE_CHECKING:
    from proxy.routing.conditions import Facts
    from proxy.routing.outcome import Outcome
    from proxy.routing.tree import Leaf, Node
    from proxy.routing.way import State

MOST_ATTEMPTS: Final = MAX_TARGETS * (MAX_ATTEMPTS + 1)  # all a document can ask for: who wants more runs in a circle

_ASKED_TO_WAIT: Final = frozenset({429, 503})  # whose Retry-After counts; 503 is ours, Portkey has 429 alone

StopReason = Literal[
    "succeeded",
    "client_left",
    "gateway_refused",
    "billed",  # the upstream may have acted, and the config forbids another attempt then
    "not_replayable",  # the spool does not hold the beginning any more
    "deadline",
    "too_many_attempts",
    "exhausted",  # nobody is left whom the config would ask after such an end
]


_FINAL: Final = frozenset({"succeeded", "client_left", "gateway_refused"})  # ends that no retry was wanted after


@dataclass(frozen=True, slots=True)
class Again:
    """Make the attempt that ``plan`` names, after ``wait`` seconds.

    ``reason`` is the outcome's, for metrics. ``retry_count`` is what the client would be told if it got this outcome
    after all.
    """

    plan: Plan
    wait: float
    same_target: bool
    reason: str
    retry_count: int


@dataclass(frozen=True, slots=True)
class Stop:
    """The client gets this outcome. ``retry_count``: the retries made, or -1 when more were wanted and not made."""

    reason: StopReason
    retry_count: int


Step: TypeAlias = Again | Stop


@dataclass(frozen=True, slots=True)
class Plan:
    """The attempt to make now, and all that decides over the next one.

    ``legs`` are the targets of the attempt: one, or those of a hedge, which get their copies ``delay`` seconds after
    each other, or as soon as the one before has failed; the first good answer wins, and the outcome of a hedge is that
    of its last leg. The legs of a hedge are not retried: they are each other's retry.

    ``anyway``: all the targets around it are open too, so it is asked although its circuit says otherwise, one request
    at a time. ``attempts`` counts this one too. ``retry_count``, ``waited`` (seconds before its retries) and ``last``
    (how the attempt before ended) are this target's alone. ``deadline`` is on the clock of the ``now`` arguments.
    """

    legs: tuple[Leaf, ...]
    frames: tuple[Frame, ...]  # the outermost first
    facts: Facts
    chance: float
    deadline: float = math.inf
    delay: float = 0.0
    anyway: bool = False
    attempts: int = 1
    retry_count: int = 0
    waited: float = 0.0
    last: Outcome | None = None

    @classmethod
    def begin(cls, node: Node, facts: Facts, chance: float, *, deadline: float = math.inf, state: State = CALM) -> Plan:
        """Return the plan for the first attempt. ``chance`` is one random number from 0 to below 1.

        Raises ParamNeeded when the choice hangs on a form field that may still come, and GatewayError:
        ``circuit_open``, or ``invalid_config`` when no condition holds and there is no default.
        """
        way = way_to(node, facts, state, chance)
        if way is None:
            raise _closed(node, state)
        return cls(way.legs, way.frames, facts, way.chance, deadline, way.delay, way.anyway, len(way.legs))

    @property
    def leaf(self) -> Leaf:
        """The target of the attempt; the first of a hedge."""
        return self.legs[0]

    @property
    def hedged(self) -> bool:
        """Whether the targets in ``legs`` get copies of the upload."""
        return bool(self.frames) and self.frames[-1].branch.mode == "hedge"

    @property
    def may_go_on(self) -> bool:
        """Whether some failure would lead to another attempt with the same body: whether to keep it at all."""
        return (
            len(self.legs) > 1
            or (not self.hedged and self.retry_count < self.leaf.retry.attempts)
            or any(
                frame.branch.mode == "fallback"
                and frame.branch.on_status_codes != frozenset()
                and len(frame.gone) < len(frame.branch.targets)
                for frame in self.frames
            )
        )

    def knowing(self, facts: Facts) -> Plan:
        """Return this plan with newer facts; ask again with it what raised ParamNeeded."""
        return replace(self, facts=facts)

    def after(self, outcome: Outcome, now: float, jitter: float, state: State = CALM) -> Step:
        """Return what follows when the attempt has ended so. ``jitter`` is one random number from 0 to 1.

        Raises ParamNeeded when the next target hangs on a form field that may still come.
        """
        asked, retry = not outcome.skipped, self.leaf.retry
        if outcome.skipped and self.last is not None:  # it was asked before: that is how it ended
            outcome = replace(self.last, replayable=outcome.replayable)
        wanted = retry.attempts > 0 and not self.hedged and is_retried(outcome, retry.on_status_codes)
        told = -1 if wanted else self.retry_count
        stop = self._stop(outcome, now)
        if stop is not None:
            return Stop(stop, self.retry_count if stop in _FINAL else told)
        wait = self._wait(outcome, now, jitter, state) if wanted and asked else None
        if wait is not None:
            plan = replace(
                self,
                attempts=self.attempts + 1,
                retry_count=self.retry_count + 1,
                waited=self.waited + wait,
                last=outcome,
            )
            return Again(plan, wait, same_target=True, reason=outcome.reason, retry_count=told)
        moved = self._moved(outcome, state)
        if moved is None:
            return Stop("exhausted", told)
        return Again(moved, 0.0, same_target=False, reason=outcome.reason, retry_count=told)

    def _stop(self, outcome: Outcome, now: float) -> StopReason | None:
        """Return why nothing at all may follow, if so."""
        if outcome.succeeded:
            return "succeeded"
        if not outcome.skipped:
            if outcome.failure in ("client_left", "gateway_refused"):
                return outcome.failure
            if outcome.billed and not self.leaf.retry.after_commit:
                return "billed"
        if outcome.needs_replay and not outcome.replayable:
            return "not_replayable"
        if now >= self.deadline:
            return "deadline"
        return "too_many_attempts" if self.attempts >= MOST_ATTEMPTS and not outcome.skipped else None

    def _wait(self, outcome: Outcome, now: float, jitter: float, state: State) -> float | None:
        """Return the seconds until this target is tried again, or None when it is not."""
        retry, path = self.leaf.retry, self.leaf.path
        if self.retry_count >= retry.attempts or path in state.open or path in state.spent:
            return None
        asked = outcome.retry_after if retry.use_retry_after and outcome.status in _ASKED_TO_WAIT else None
        wait = backoff(self.retry_count, jitter) if asked is None else asked
        if wait >= LONGEST_WAIT or self.waited + wait > LONGEST_WAIT or now + wait >= self.deadline:
            return None
        return wait

    def _moved(self, outcome: Outcome, state: State) -> Plan | None:
        """Return the plan for the next target, which the innermost branch that goes on after this end chooses."""
        for depth in reversed(range(len(self.frames))):
            frame = self.frames[depth]
            branch = frame.branch
            goes_on = branch.mode == "fallback" and (outcome.skipped or is_passed_on(outcome, branch.on_status_codes))
            if goes_on or (branch.mode == "loadbalance" and outcome.skipped):
                last = frame.last if outcome.skipped else outcome
                way = way_on(Frame(branch, frame.gone, last), self.facts, state, self.chance)
                if way is not None:
                    frames = (*self.frames[:depth], *way.frames)
                    attempts = self.attempts + len(way.legs) - outcome.skipped
                    return Plan(
                        way.legs, frames, self.facts, way.chance, self.deadline, way.delay, way.anyway, attempts
                    )
            if outcome.skipped and frame.last is not None:
                outcome = frame.last  # somebody in this branch was asked: that is how the branch ended
        return None


def _closed(node: Node, state: State) -> GatewayError:
    waits = [state.open[leaf.path] for leaf in leaves(node) if leaf.path in state.open]
    if waits:
        return GatewayError(
            "circuit_open",
            "Every upstream of this route has been failing and is left alone for a while. Try again later.",
            retry_after=max(math.ceil(min(waits)), 1),
        )
    return GatewayError(
        "invalid_config",
        "Query router did not resolve to any valid target: no condition holds and the strategy has no default.",
        param="x-portkey-config",
    )
