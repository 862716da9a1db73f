"""The way out: readiness first, then no new requests, then no requests at all."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from proxy.server.logs import log

if TYPE_CHECKING:
    from proxy.relay.relay import Relay
    from proxy.settings import Drain

_AFTERMATH: Final = 5.0  # seconds for requests that were cut to write their last line


class Stop:
    """Counts the signals that ask for an end: the first drains, the second cuts."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()

    def listen(self) -> None:
        """Take SIGTERM and SIGINT as asking."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ask)

    def ask(self) -> None:
        """Ask for an end; a second time, insist on it."""
        (self.insisted if self.asked.is_set() else self.asked).set()

    async def pause(self, seconds: float) -> None:
        """Wait ``seconds``, or until somebody insists."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.insisted.wait(), seconds)


async def drain(relay: Relay, stop: Stop, limits: Drain) -> None:
    """Let the requests under way finish, within ``limits``; return when there are none."""
    relay.shared.draining = True
    await stop.pause(limits.delay)
    relay.shared.refusing = True
    idle = asyncio.ensure_future(relay.idle())
    insisted = asyncio.ensure_future(stop.insisted.wait())
    await asyncio.wait((idle, insisted), timeout=limits.timeout, return_when=asyncio.FIRST_COMPLETED)
    insisted.cancel()
    if not idle.done():
        log.warning("cutting %d requests that did not finish in time", relay.shared.in_flight)
        relay.cut()
        await asyncio.wait((idle,), timeout=_AFTERMATH)
    idle.cancel()
