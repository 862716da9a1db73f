"""The relay of one process: what lives longer than a request, and the way in for every request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proxy.errors import GatewayError
from proxy.records.record import Record
from proxy.relay.departures import Departures
from proxy.relay.door import label
from proxy.relay.exchange import Exchange
from proxy.relay.spool import Budget
from proxy.relay.tokens import Tokens
from proxy.relay.upstream import Upstreams

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from aiohttp.web import BaseRequest, StreamResponse

    from proxy.relay.house import House

_RETRY_AFTER = 1  # seconds that a refused client should wait: uploads end all the time


class Relay:
    """Everything requests share in one process. ``sink`` takes the record of each, synchronously."""

    def __init__(self, house: House, sink: Callable[[dict[str, Any]], None]) -> None:
        loop = asyncio.get_running_loop()
        self.house = house
        self.budget = Budget(house.settings.replay.total)
        self.departures = Departures(loop)
        self.tokens = Tokens()
        self.upstreams = Upstreams(house.settings.timeouts)
        self.draining = False
        self.refusing = False
        self._sink = sink
        self._loop = loop
        self._exchanges: set[Exchange] = set()
        self._empty: asyncio.Event = asyncio.Event()
        self._empty.set()

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return len(self._exchanges)

    async def handle(self, request: BaseRequest) -> StreamResponse:
        """Serve one request and put its record, exactly one, into the sink."""
        house, loop = self.house, self._loop
        keep = house.settings.records.client
        record = Record(
            label(request.raw_path),
            request.method,
            loop.time(),
            client=request.remote if keep else None,
            user_agent=request.headers.get("User-Agent"),
        )
        exchange = Exchange(self, house, request, record)
        upstreams = self.upstreams
        upstreams.enter()
        self._exchanges.add(exchange)
        self._empty.clear()
        try:
            return await exchange.run()
        finally:
            self._exchanges.discard(exchange)
            if not self._exchanges:
                self._empty.set()
            upstreams.leave()
            self._sink(record.close(loop.time()))

    def check_capacity(self) -> None:
        """Refuse a request that may not come in now: ``draining`` or ``overloaded``."""
        if self.refusing:
            raise GatewayError("draining", "This gateway is shutting down. Try again: another one will answer.",
                               retry_after=_RETRY_AFTER)  # fmt: skip
        if len(self._exchanges) > self.house.settings.limits.max_in_flight:
            raise GatewayError("overloaded", "Too many requests are under way. Try again soon.",
                               retry_after=_RETRY_AFTER)  # fmt: skip

    def adopt(self, house: House) -> None:
        """Serve from now on by ``house``; requests under way keep theirs."""
        self.house = house
        self.budget.total = house.settings.replay.total
        if house.settings.timeouts.upstream_keepalive != self.upstreams.keepalive:
            retired, self.upstreams = self.upstreams, Upstreams(house.settings.timeouts)
            retired.retire()

    async def idle(self) -> None:
        """Wait until no request is under way."""
        await self._empty.wait()

    def cut(self) -> None:
        """End every request under way: each is answered or cut, and recorded as ``draining``."""
        for exchange in self._exchanges:
            exchange.patience.interrupt(
                GatewayError("draining", "This gateway is shutting down. Try again.", retry_after=_RETRY_AFTER)
            )

    async def close(self) -> None:
        """Close what the requests shared."""
        self.departures.close()
        await self.upstreams.close()
