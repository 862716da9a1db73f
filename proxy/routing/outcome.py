"""How an attempt ended, as routing sees it: what a retry, a fallback and a breaker may make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.errors import Failure

_NETWORK: Final = 500  # what Portkey answers when the network fails; configs written for it list this


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one attempt.

    ``status`` is the upstream's, or the gateway's own word for what happened: 408 for the target's
    ``request_timeout``, 502 when the connection failed or broke, 504 when the upstream fell silent. ``failure`` is
    None when an upstream's answer is to be passed on. ``retry_after`` is in seconds.

    ``body_sent``: some of the upload went to this target. ``replayable``: the spool still holds all of it.
    ``billed``: the upstream had the whole body, so that it may have acted and charged. ``skipped``: the target was not
    asked at all, because it does not take this upload or its circuit opened meanwhile.
    """

    status: int
    failure: Failure | None = None
    retry_after: float | None = None
    body_sent: bool = True
    replayable: bool = True
    billed: bool = False
    skipped: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether this is an answer that a client waits for: a whole 2xx."""
        return self.failure is None and not self.skipped and 200 <= self.status < 300

    @property
    def lost(self) -> bool:
        """Whether the network failed: such attempts are tried again whatever statuses a config lists."""
        return self.failure in ("connect_failed", "upstream_broke")

    @property
    def needs_replay(self) -> bool:
        """Whether the next attempt would need bytes that this one has used up."""
        return self.body_sent and self.failure != "connect_failed"

    @property
    def statuses(self) -> frozenset[int]:
        """The statuses by which a config may mean this end: a silent or lost upstream is a 500 in Portkey."""
        if self.lost or (self.failure == "upstream_timed_out" and self.status != 408):
            return frozenset({self.status, _NETWORK})
        return frozenset({self.status})

    @property
    def reason(self) -> str:
        """One word for metrics: skipped, connect, broke, timeout, status_429, status_3xx, _4xx, _5xx or other."""
        if self.skipped:
            return "skipped"
        if self.failure == "connect_failed":
            return "connect"
        if self.failure == "upstream_broke":
            return "broke"
        if self.failure == "upstream_timed_out":
            return "timeout"
        if self.status == 429:
            return "status_429"
        return f"status_{self.status // 100}xx" if 300 <= self.status < 600 else "other"


def is_retried(outcome: Outcome, codes: frozenset[int]) -> bool:
    """Return whether a retry policy that lists ``codes`` means this end (Portkey: the network's failures always)."""
    return not outcome.skipped and (outcome.lost or outcome.status in codes)


def is_passed_on(outcome: Outcome, codes: frozenset[int] | None) -> bool:
    """Return whether a fallback that lists ``codes`` goes on after this end; None lists everything but a 2xx."""
    return not outcome.succeeded and (codes is None or not codes.isdisjoint(outcome.statuses))
