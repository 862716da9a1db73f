"""The ops listener: health and metrics. Nothing on it touches an upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from proxy.server.gateway import bound

if TYPE_CHECKING:
    from proxy.records.exposition import Exposition
    from proxy.server.state import State
    from proxy.settings import Address


class Ops:
    """A listening ops server that shows ``state`` and ``exposition``."""

    def __init__(self, state: State, exposition: Exposition) -> None:
        self._state = state
        self._exposition = exposition
        app = web.Application()
        app.router.add_get("/livez", self._live)
        app.router.add_get("/healthz", self._live)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_route("*", "/{rest:.*}", self._nothing)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    async def start(self, address: Address) -> str:
        """Listen; return the address with the port that was chosen. Raises OSError."""
        await self._runner.setup()
        await web.TCPSite(self._runner, address.host or None, address.port).start()
        return bound(self._runner)

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _live(self, _request: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def _ready(self, _request: web.Request) -> web.Response:
        state = self._state
        return _json({"status": state.readiness}, 200 if state.ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        kind, body = await self._exposition.answer(",".join(request.headers.getall("Accept", ())))
        return web.Response(body=body, headers={"Content-Type": kind, "Vary": "Accept", "Cache-Control": "no-store"})

    async def _nothing(self, _request: web.Request) -> web.Response:
        message = "There is nothing here: /livez, /readyz and /metrics are. The API for audio is on the gateway."
        return _json({"status": "failure", "message": message}, 404)


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(document),
        headers={"Content-Type": "application/json", "Cache-Control": "no-store"},
    )
