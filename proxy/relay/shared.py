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

if TYPE_CHECKING:
    from proxy.settings import Settings

RETRY_AFTER: Final = 1  # seconds that a refused client should wait: uploads end all the time


class Shared:
    """Lives as long as the process. ``in_flight`` counts the requests under way, ``in_flight_by_route`` and
    ``upstream_in_flight`` (by provider) tell them apart; ``draining`` ends connections after their answer, ``refusing``
    refuses new requests.
    """

    def __init__(self, settings: Settings) -> None:
        self.budget = Budget(settings.replay.total)
        self.departures = Departures(asyncio.get_running_loop())
        self.tokens = Tokens()
        self.upstreams = Upstreams(settings.timeouts)
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
