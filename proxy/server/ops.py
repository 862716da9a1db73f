"""The ops listener: opened, closed, and nothing else. What it serves is the ops room's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from proxy.ops.app import OpsApp
from proxy.server.certificates import LiveContext
from proxy.server.gateway import BACKLOG, adopted, bound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.ops.desk import Desk
    from proxy.settings import Address


class Ops:
    """A listening ops server that shows what ``desk`` knows."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._runner: web.AppRunner | None = None

    async def start(self, address: Address, passed: Sequence[int] = ()) -> str:
        """Listen on ``address``, or on the descriptors ``passed``, which do so; return where it is. Raises OSError."""
        app = OpsApp(self._desk, loopback=address.is_loopback).app
        # A handler ends when its client leaves: a live tail would else never know.
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, handler_cancellation=True, shutdown_timeout=1.0
        )
        await self._runner.setup()
        tls = LiveContext.of(lambda: self._desk.house().tls.ops)
        if not passed:
            await web.TCPSite(self._runner, address.host or None, address.port, ssl_context=tls).start()
        for one in adopted(passed):
            await web.SockSite(self._runner, one, ssl_context=tls, backlog=BACKLOG).start()
        return bound(self._runner)

    async def close(self) -> None:
        """Stop listening, and end what is under way."""
        if self._runner is not None:
            await self._runner.cleanup()
