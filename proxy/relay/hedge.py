"""A hedge: several targets get a copy of the same upload, a while after each other; the first good answer wins.

It costs what it says: whoever had the whole upload may charge for it. All copies are read from the spool, which one of
the readers fills from the client for all of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp.client_reqrep import ClientResponse

    from proxy.relay.decision import Prepared
    from proxy.relay.outgoing import Outgoing
    from proxy.relay.patience import Patience
    from proxy.relay.sender import Sender
    from proxy.relay.shared import Flight
    from proxy.routing.breaker import Permit
    from proxy.routing.tree import Leaf

_OURS: Final = ("client_left", "gateway_refused")
_GOOD: Final = range(200, 300)


@dataclass(slots=True)
class Leg:
    """One of the copies: how to send it, and what has come of it. ``error`` is None while that is a reply.

    ``permit`` and ``flight`` are what it holds from its start to its end.
    """

    leaf: Leaf
    prepared: Prepared
    sender: Sender
    patience: Patience
    send: Callable[[], Awaitable[tuple[ClientResponse, Outgoing | None]]]
    permit: Permit | None = None
    flight: Flight | None = None
    upstream: ClientResponse | None = None
    outgoing: Outgoing | None = None
    error: GatewayError | None = None

    @property
    def good(self) -> bool:
        """Whether the upstream has answered as a client wants it."""
        return self.upstream is not None and self.upstream.status in _GOOD

    @property
    def final(self) -> bool:
        """Whether no other leg could do better: the client has left, or sent what nobody takes."""
        error = self.error
        return error is not None and error.failure in _OURS and error.code != "upload_too_large"


class Race:
    """Runs the legs.

    ``begun`` is told of each before it is sent, ``ended`` of each such one whose answer the client does not get, once
    it has stopped. A leg that nobody needed is in neither.
    """

    def __init__(
        self, legs: Sequence[Leg], delay: float, begun: Callable[[Leg], None], ended: Callable[[Leg], None]
    ) -> None:
        self._legs = list(legs)
        self._delay = delay
        self._begun = begun
        self._ended = ended
        self._running: dict[asyncio.Task[None], Leg] = {}

    async def run(self) -> Leg:
        """Return the first leg with a good answer, or the last one to fail when there is none."""
        last: Leg | None = None
        try:
            while self._legs or self._running:
                if self._legs:
                    self._start(self._legs.pop(0))
                done, _ = await asyncio.wait(
                    self._running,
                    timeout=self._delay if self._legs else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    leg = self._running.pop(task)
                    task.result()
                    if last is not None:
                        self._drop(last)
                    last = leg
                    if leg.good or leg.final:
                        return leg
            assert last is not None, "a race has legs"
            return last
        except BaseException:
            if last is not None:
                self._drop(last)
            raise
        finally:
            await self._stop()

    def _start(self, leg: Leg) -> None:
        self._begun(leg)
        self._running[asyncio.get_running_loop().create_task(self._run(leg))] = leg

    async def _run(self, leg: Leg) -> None:
        try:
            with leg.patience:
                leg.patience.begin_attempt(leg.prepared.target.request_timeout)
                leg.upstream, leg.outgoing = await leg.send()
                leg.patience.head_reached()
        except GatewayError as error:
            leg.error = error

    async def _stop(self) -> None:
        """End what still runs: somebody else has won, or nobody wants an answer any more."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        for task, leg in self._running.items():
            if not task.cancelled():
                task.exception()  # looked at, so that nobody warns of it
            self._drop(leg)
        self._running.clear()

    def _drop(self, leg: Leg) -> None:
        if leg.upstream is not None:
            leg.upstream.close()
        self._ended(leg)
