"""What the attempts of a record tell of upstreams: how they ended, how long they took, and what came after them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxy.records.catalogue import OTHER, REASONS
from proxy.records.words import attempt_code, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from proxy.records.guard import Pairs
    from proxy.records.meters import Meters

    Document = Mapping[str, Any]

_MOST_MOVES: Final = 200  # pairs of providers: configs of the settings have few, those of requests could have all
_TOLD: Final = frozenset(
    {None, "refused", "upstream_timed_out", "upstream_broke"}
)  # the time it took was the upstream's


class AttemptMetrics:
    """The metrics of upstreams, filled from the ``attempts`` of closed records."""

    def __init__(self, meters: Meters, pairs: Pairs, folded: Callable[[], None]) -> None:
        self._pairs = pairs
        self._folded = folded
        self._attempts = meters.counters("upstream_attempts_total")
        self._durations = meters.histograms("upstream_duration_seconds")
        self._first_bytes = meters.histograms("upstream_ttfb_seconds")
        self._connects = meters.histograms("upstream_connect_seconds")
        self._connections = meters.counters("upstream_connections_total")
        self._retries = meters.counters("retries_total")
        self._fallbacks = meters.counters("fallbacks_total")
        self._hedges = meters.counters("hedges_total")
        self._moves: set[tuple[str, str]] = set()

    def begin(self, providers: Iterable[str]) -> None:
        """Show what can be known before the first attempt, so that rates exist from it on."""
        for provider in providers:
            self._connects[provider,]
            for reused in ("true", "false"):
                self._connections[provider, reused]
            for reason in REASONS:
                self._retries[provider, reason]

    def observe(self, attempts: Sequence[Document]) -> None:
        """Add the attempts of one request, in their order."""
        before: Document | None = None
        for attempt in attempts:
            pair = self._pairs(attempt["provider"], attempt["model"])
            self._attempts[*pair, attempt_code(attempt)].inc()
            self._time(pair, attempt)
            if attempt["hedged"]:
                won = attempt["failure"] is None and attempt["status"] is not None
                self._hedges[pair[0], "won" if won else "lost"].inc()
            elif before is not None:
                self._move(before, attempt)
            before = attempt

    def _time(self, pair: tuple[str, str], attempt: Document) -> None:
        status, upload, head = attempt["status"], attempt["upload_ms"], attempt["ttfb_ms"]
        if (connect := attempt.get("connect_ms")) is not None:
            self._connections[pair[0], "false"].inc()
            self._connects[pair[0],].observe(connect / 1000)
        elif status is not None or attempt["sent_bytes"]:
            self._connections[pair[0], "true"].inc()
        if attempt["failure"] in _TOLD and attempt["total_ms"] is not None:
            self._durations[pair].observe(attempt["total_ms"] / 1000)
        if head is not None and upload is not None:  # an answer that came before the upload's end waited for nothing
            self._first_bytes[pair].observe(max(head - upload, 0.0) / 1000)

    def _move(self, before: Document, attempt: Document) -> None:
        """Count what led from one attempt to the next: the same target is a retry, another one a fallback."""
        provider, reason = self._pairs.provider(before["provider"]), reason_of(before)
        if before["target"] == attempt["target"]:
            self._retries[provider, reason].inc()
            return
        move = provider, self._pairs.provider(attempt["provider"])
        if move not in self._moves and len(self._moves) >= _MOST_MOVES:
            self._folded()
            move = OTHER, OTHER
        self._moves.add(move)
        self._fallbacks[*move, reason].inc()
