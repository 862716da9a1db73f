"""What is going on now → gauges, and counts that others keep → counters; taken when somebody looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.records.catalogue import REJECTIONS, ROUTES
from proxy.records.meters import catch_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from proxy.records.meters import Meters
    from proxy.records.metrics import Metrics
    from proxy.records.sinks import Sink, SinkLevels


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What goes on in a serving process at this moment. ``rejected`` and ``sinks`` count since its start.

    ``requests`` are those in flight by route, ``attempts`` by provider; ``loaded_at`` is in seconds since the epoch.
    """

    requests: Mapping[str, int]
    attempts: Mapping[str, int]
    replay_bytes: int
    draining: bool
    reloaded: bool
    loaded_at: float
    rejected: Mapping[str, int]
    sinks: Mapping[str, Sink]


class Levels:
    """The gauges of one serving process.

    ``breaker`` tells of a provider whether its circuit breaker is closed (0), half-open (1) or open (2).
    """

    def __init__(
        self,
        meters: Meters,
        metrics: Metrics,
        sinks: SinkLevels,
        *,
        breaker: Callable[[str], int],
    ) -> None:
        self._provider = metrics.provider
        self._rejected = metrics.rejected
        self._sinks = sinks
        self._breaker = breaker
        self._requests = meters.gauges("requests_in_flight")
        self._attempts = meters.gauges("upstream_in_flight")
        self._breakers = meters.gauges("circuit_breaker_state")
        self._replay = meters.gauges("replay_bytes")[()]
        self._draining = meters.gauges("draining")[()]
        self._reloaded = meters.gauges("config_last_reload_successful")[()]
        self._loaded_at = meters.gauges("config_last_reload_success_timestamp_seconds")[()]
        self._seen: dict[str, None] = {}  # providers: as many as the guard lets pass
        self._counted: dict[tuple[str, ...], int] = {}

    def admit(self, providers: Iterable[str]) -> None:
        """Show ``providers`` from now on, before any attempt has gone to them."""
        self._seen.update((self._provider(provider), None) for provider in providers)

    def take(self, now: Now) -> None:
        """Show the process as it is now."""
        for route in ROUTES:
            self._requests[route,].set(now.requests.get(route, 0))
        self.admit(now.attempts)
        for provider in self._seen:
            self._attempts[provider,].set(now.attempts.get(provider, 0))
            self._breakers[provider,].set(self._breaker(provider))
        self._replay.set(now.replay_bytes)
        self._draining.set(now.draining)
        self._reloaded.set(now.reloaded)
        self._loaded_at.set(now.loaded_at)
        for reason in REJECTIONS:
            if reason in now.rejected:
                catch_up(self._rejected, (reason,), now.rejected[reason], self._counted)
        self._sinks.take(now.sinks)
