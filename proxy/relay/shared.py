"""What the requests of one process share: connections, budgets, and whether another request may come in."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

from proxy.errors import GatewayError
from proxy.relay.departures import Departures
from proxy.relay.spool import Budget
from proxy.relay.tokens import Tokens
from proxy.relay.upstream import Upstreams
from proxy.routing.backoff import RetryBudget
from proxy.routing.breaker import Breakers

if TYPE_CHECKING:
    from proxy.records.trace import Sampler
    from proxy.relay.decision import Prepared
    from proxy.relay.upload import Upload
    from proxy.settings import Settings

Flight = tuple[tuple[str, str | None], int]
"""An attempt under way: its upstream (a provider and its address, if that is not its own) and a number."""

_AN_UPLOAD: Final = 0.001  # seconds that an upload counts for before its audio shows: of two idle ones, one has it
RETRY_AFTER: Final = 1  # seconds that a refused client should wait: uploads end all the time


class Shared:
    """Lives as long as the process. ``in_flight`` counts the requests under way, ``in_flight_by_route`` and
    ``upstream_in_flight`` (by provider) tell them apart; ``draining`` ends connections after their answer, ``refusing``
    refuses new requests. ``sampler`` gives requests their place in a trace; None: they have none.
    """

    def __init__(self, settings: Settings, sampler: Sampler | None = None) -> None:
        self.sampler = sampler
        self.budget = Budget(settings.replay.total)
        self.departures = Departures(asyncio.get_running_loop())
        self.tokens = Tokens()
        self.upstreams = Upstreams(settings.timeouts)
        self.breakers = Breakers()
        self._retry_budgets: dict[str, RetryBudget] = {}  # by provider: as many as the settings and the table name
        self._flights: dict[tuple[str, str | None], dict[int, Upload]] = {}
        self.in_flight = 0
        self.in_flight_by_route: Counter[str] = Counter()
        self.upstream_in_flight: Counter[str] = Counter()
        self.warned: set[tuple[str, str]] = set()  # models that the log has told of: no more than have a price
        self.draining = False
        self.refusing = False

    def check_capacity(self, settings: Settings) -> None:
        """Refuse a request that may not come in now: ``draining`` or ``overloaded``."""
        if self.refusing:
            raise GatewayError(
                "draining",
                "This gateway is shutting down. Try again: another one will answer.",
                retry_after=RETRY_AFTER,
            )
        if self.in_flight > settings.limits.max_in_flight:
            raise GatewayError(
                "overloaded", "Too many requests are under way. Try again soon.", retry_after=RETRY_AFTER
            )

    def fly(self, prepared: Prepared, upload: Upload) -> Flight:
        """Take note of an attempt under way; give what this returns to :meth:`land`."""
        provider = prepared.provider.slug
        self.upstream_in_flight[provider] += 1
        flight = (provider, prepared.target.base_url), id(upload)
        self._flights.setdefault(flight[0], {})[flight[1]] = upload
        return flight

    def land(self, flight: Flight) -> None:
        """Take note that an attempt has ended."""
        upstream, number = flight
        self.upstream_in_flight[upstream[0]] -= 1
        uploads = self._flights[upstream]
        uploads.pop(number, None)
        if not uploads:
            del self._flights[upstream]

    def outstanding(self, prepared: Prepared) -> float:
        """Return the seconds of audio sent to a target's upstream and not answered yet, as far as they are known."""
        uploads = self._flights.get((prepared.provider.slug, prepared.target.base_url), {})
        return sum(upload.seconds + _AN_UPLOAD for upload in uploads.values())

    def retry_budget(self, provider: str) -> RetryBudget:
        """Return what keeps retries from melting a provider that is sick."""
        budget = self._retry_budgets.get(provider)
        if budget is None:
            budget = self._retry_budgets[provider] = RetryBudget()
        return budget

    def adopt(self, settings: Settings) -> None:
        """Change to new settings; requests under way keep the connections they began with."""
        self.budget.total = settings.replay.total
        if settings.timeouts.upstream_keepalive != self.upstreams.keepalive:
            retired, self.upstreams = self.upstreams, Upstreams(settings.timeouts)
            retired.retire()

    async def close(self) -> None:
        """Close every connection."""
        self.departures.close()
        await self.upstreams.close()
