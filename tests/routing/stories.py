"""Plays a config against scripted ends and tells what was tried, so that a test of the plan is one line of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxy.routing.conditions import Facts
from proxy.routing.document import parse
from proxy.routing.outcome import Outcome
from proxy.routing.plan import Again, Plan, Stop
from proxy.routing.way import CALM, State

if TYPE_CHECKING:
    from collections.abc import Iterable

NOBODY: Final = Facts(metadata={}, headers={}, pathname="/v1/audio/transcriptions", params={}, complete=True)

ENDS: Final = {
    "ok": Outcome(200),
    "connect": Outcome(502, "connect_failed", body_sent=False),
    "broke": Outcome(502, "upstream_broke"),
    "billed": Outcome(502, "upstream_broke", billed=True),
    "timeout": Outcome(408, "upstream_timed_out"),
    "silent": Outcome(504, "upstream_timed_out"),
    "left": Outcome(499, "client_left"),
    "gateway": Outcome(400, "gateway_refused"),
    "skip": Outcome(413, body_sent=False, skipped=True),
    "lost": Outcome(503, "refused", replayable=False),
    "early": Outcome(503, "refused", replayable=False, body_sent=False),
}


def end(word: str | int | Outcome) -> Outcome:
    """Return the end that a test names by a word or by the status of the upstream's answer."""
    if isinstance(word, Outcome):
        return word
    return Outcome(word, "refused" if word >= 300 else None) if isinstance(word, int) else ENDS[word]


def target(provider: str, **keys: Any) -> dict[str, Any]:
    """Return a target document; its provider is the name that stories tell of it."""
    return {"provider": provider, "name": provider, **keys}


def branch(mode: str, *targets: dict[str, Any], **strategy: Any) -> dict[str, Any]:
    """Return a document with a strategy over targets, which are documents too."""
    return {"strategy": {"mode": mode, **strategy}, "targets": list(targets)}


def story(
    document: dict[str, Any],
    ends: Iterable[str | int | Outcome],
    *,
    chance: float = 0.0,
    jitter: float = 1.0,
    facts: Facts = NOBODY,
    state: State = CALM,
    deadline: float = float("inf"),
    seconds: float = 0.0,
) -> str:
    """Return what was tried: providers, waits before retries, why it stopped, and the retry count that is reported.

    Each attempt takes ``seconds``. A hedge is told as ``a&b``.
    """
    now, told = 0.0, []
    plan = Plan.begin(parse(document), facts, chance, deadline=deadline, state=state)
    for word in ends:
        told.append("&".join(str(leaf.provider) for leaf in plan.legs))
        now += seconds
        step = plan.after(end(word), now, jitter, state)
        if isinstance(step, Stop):
            return f"{' '.join(told)}: {step.reason} {step.retry_count}"
        assert isinstance(step, Again)
        if step.same_target:
            told.append(f"+{step.wait:g}")
        now += step.wait
        plan = step.plan
    return f"{' '.join(told)} …"
