"""The gateway's listener: aiohttp's low-level server, which answers nothing by itself, not even ``Expect``."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Final

from aiohttp import web

from proxy.relay.internals import Protocol
from proxy.server.certificates import LiveContext

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from proxy.relay.relay import Relay
    from proxy.settings import Address

BACKLOG: Final = 1024  # connections the kernel may hold for us: a burst of uploads, not a queue to live in
_LINGER: Final = 8.0  # seconds that a refused upload is read on and forgotten, so that its client reads the answer
_READ: Final = 131_072  # bytes read ahead of a slow upstream, for each upload in flight; twice that at most
_MAX_HEADER: Final = 16_384  # bytes: an inline config is the longest that a client sends
_MAX_HEADERS: Final = 100

_silent = logging.getLogger("audiogate.http")


class GatewayServer(web.Server):
    """Makes one protocol a connection, by the settings in force when it opens; ``rejected`` counts by reason."""

    def __init__(self, relay: Relay, rejected: Counter[str]) -> None:
        super().__init__(relay.handle, handler_cancellation=True)
        self.relay = relay
        self.rejected = rejected

    def __call__(self) -> Protocol:
        """Return the protocol for a new connection."""
        timeouts = self.relay.house.settings.timeouts
        return Protocol(
            self,
            loop=self._loop,
            head_limit=timeouts.header,
            rejected=self.rejected,
            keepalive_timeout=_FOR_EVER if timeouts.keepalive is None else timeouts.keepalive,
            access_log=None,
            logger=_silent,
            auto_decompress=False,
            lingering_time=_LINGER,
            read_bufsize=_READ,
            max_line_size=_MAX_HEADER,
            max_field_size=_MAX_HEADER,
            max_headers=_MAX_HEADERS,
        )


_FOR_EVER: Final = 86_400.0  # seconds: what null means for an idle connection


class Listener:
    """A listening gateway. ``shared`` binds with SO_REUSEPORT, for several workers on one port."""

    def __init__(self, relay: Relay, rejected: Counter[str]) -> None:
        self._relay = relay
        self._runner = web.ServerRunner(GatewayServer(relay, rejected))

    async def start(self, address: Address, *, shared: bool = False, passed: Sequence[int] = ()) -> str:
        """Listen on ``address``, or on the descriptors ``passed``, which do so; return where it is. Raises OSError."""
        await self._runner.setup()
        tls = LiveContext.of(lambda: self._relay.house.tls.gateway)
        if not passed:
            host, port = address.host or None, address.port
            await web.TCPSite(
                self._runner, host, port, ssl_context=tls, backlog=BACKLOG, reuse_port=shared or None
            ).start()
        for one in adopted(passed):
            await web.SockSite(self._runner, one, ssl_context=tls, backlog=BACKLOG).start()
        return bound(self._runner)

    async def close(self) -> None:
        """Stop listening and close idle connections."""
        await self._runner.cleanup()


def adopted(descriptors: Sequence[int]) -> list[socket.socket]:
    """Return the sockets that were passed to this process, for a listener to own."""
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]


def bound(runner: web.BaseRunner) -> str:
    """Return the first address that ``runner`` listens on, as ``HOST:PORT``."""
    host, port = runner.addresses[0][:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
