"""The relay of one process: the way in for every request, and out for its record."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proxy.errors import GatewayError
from proxy.records.record import Record
from proxy.relay.door import label
from proxy.relay.exchange import Exchange
from proxy.relay.shared import RETRY_AFTER, Shared

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from aiohttp.web import BaseRequest, StreamResponse

    from proxy.records.trace import Sampler
    from proxy.relay.house import House


class Relay:
    """Serves requests by ``house``. ``sink`` takes the record of each, synchronously; ``sampler`` gives each its place
    in a trace.
    """

    def __init__(self, house: House, sink: Callable[[dict[str, Any]], None], sampler: Sampler | None = None) -> None:
        self.house = house
        self.shared = Shared(house.settings, sampler)
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._exchanges: set[Exchange] = set()
        self._empty: asyncio.Event = asyncio.Event()
        self._empty.set()

    async def handle(self, request: BaseRequest) -> StreamResponse:
        """Serve one request and put its record, exactly one, into the sink."""
        house, shared, loop = self.house, self.shared, self._loop
        record = Record(
            label(request.raw_path),
            request.method,
            loop.time(),
            client=request.remote if house.settings.records.client else None,
            user_agent=request.headers.get("User-Agent"),
        )
        exchange = Exchange(shared, house, request, record)
        upstreams = shared.upstreams
        upstreams.enter()
        self._exchanges.add(exchange)
        shared.in_flight += 1
        shared.in_flight_by_route[record.route] += 1
        self._empty.clear()
        try:
            return await exchange.run()
        finally:
            self._exchanges.discard(exchange)
            shared.in_flight -= 1
            shared.in_flight_by_route[record.route] -= 1
            if not self._exchanges:
                self._empty.set()
            upstreams.leave()
            self._sink(record.close(loop.time()))

    def adopt(self, house: House) -> None:
        """Serve from now on by ``house``; requests under way keep theirs."""
        configs = house.directory.configs
        for slug, node in self.house.directory.configs.items():
            if configs.get(slug) != node:
                self.shared.breakers.forget(slug)
        self.house = house
        self.shared.adopt(house.settings)

    async def idle(self) -> None:
        """Wait until no request is under way."""
        await self._empty.wait()

    def cut(self) -> None:
        """End every request under way: each is answered or cut, and recorded as ``draining``."""
        for exchange in self._exchanges:
            exchange.patience.interrupt(
                GatewayError("draining", "This gateway is shutting down. Try again.", retry_after=RETRY_AFTER)
            )

    async def close(self) -> None:
        """Close what the requests shared."""
        await self.shared.close()
