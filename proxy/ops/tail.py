"""The live tail: each new record as a server-sent event (WHATWG HTML, 9.2), from one look at the store for all.

An event's id says how far the listener has come; whoever comes back with it (``Last-Event-ID``) misses nothing that the
store still remembers the order of. After a broken connection a record may come twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web

from proxy.ops.answers import OpsError, as_json
from proxy.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.ops.desk import Desk
    from proxy.store.store import Arrivals

_LOOK_EVERY: Final = 0.25  # seconds: a request that one has made shows up at once, as people understand it
_AT_ONCE: Final = 50  # records of one look: each may hold a transcript of a quarter of a megabyte
_HEARTBEAT: Final = 15.0  # seconds of silence: balancers close what says nothing for a minute
_MOST_LISTENERS: Final = 64  # each may hold what follows
_MOST_WAITING: Final = 4_194_304  # bytes that a listener may be behind; then it is cut, and may come back
_RETRY: Final = b"retry: 2000\n"  # milliseconds until a browser comes back


class _Batch(NamedTuple):
    last: int
    text: bytes


class _Listener:
    """One who listens: what has not been sent to it yet, bounded."""

    def __init__(self) -> None:
        self.behind = False
        self._waiting: deque[_Batch] = deque()  # bounded by their bytes
        self._bytes = 0
        self._news = asyncio.Event()

    def put(self, batch: _Batch) -> None:
        self._bytes += len(batch.text)
        self.behind = self.behind or self._bytes > _MOST_WAITING
        if self.behind:
            self._waiting.clear()
        else:
            self._waiting.append(batch)
        self._news.set()

    async def take(self) -> _Batch | None:
        """Return the next batch, or None after a while without one. Ends when the listener is too far behind."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), _HEARTBEAT)
        if self.behind:
            raise ConnectionAbortedError
        if not self._waiting:
            return None
        batch = self._waiting.popleft()
        self._bytes -= len(batch.text)
        if not self._waiting:
            self._news.clear()
        return batch


class Tail:
    """Looks at the store while somebody listens, and tells all listeners that ``is_in`` still lets in."""

    def __init__(self, desk: Desk, is_in: Callable[[web.BaseRequest], bool]) -> None:
        self._desk = desk
        self._is_in = is_in
        self._listeners: set[_Listener] = set()
        self._looking: asyncio.Task[None] | None = None
        self._last = 0  # how far all have been told

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answer with a stream that ends when the client leaves or cannot follow."""
        store = self._desk.store
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        if request.method == "HEAD":
            return answer
        if len(self._listeners) >= _MOST_LISTENERS:
            raise OpsError(
                503, "overloaded", "Too many listen already. Try again later.", headers={"Retry-After": "30"}
            )
        if self._looking is None:
            last = (await store.arrivals(None, limit=1)).last
            if self._looking is None:  # nobody has begun to look meanwhile
                self._last = last
        listener = _Listener()
        self._listeners.add(listener)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            await self._tell(request, answer, listener)
        except (ConnectionError, StoreError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                self._looking = None
        return answer

    async def close(self) -> None:
        """End every stream: they would hold a shutdown up."""
        for listener in self._listeners:
            listener.behind = True
            listener.put(_Batch(0, b""))

    async def _tell(self, request: web.Request, answer: web.StreamResponse, listener: _Listener) -> None:
        told = self._last
        await answer.prepare(request)
        came_from = _last_id(request)
        if came_from is not None and came_from < told:
            told = await self._catch_up(answer, came_from, told)
        await answer.write(_RETRY + b"id: %d\n\n" % told)
        while True:
            batch = await listener.take()
            if not self._is_in(request):  # logged out meanwhile, or the token has changed
                return
            if batch is None:
                await answer.write(b": still here\n\n")
            elif batch.last > told:
                await answer.write(batch.text)

    async def _catch_up(self, answer: web.StreamResponse, after: int, until: int) -> int:
        """Send what came in between two moments; return how far it went."""
        while after < until:
            arrivals = await self._desk.store.arrivals(after, limit=_AT_ONCE)
            if not arrivals.items:
                return until
            await answer.write(_events(arrivals))
            after = arrivals.last
        return after

    async def _look(self) -> None:
        while True:
            try:
                arrivals = await self._desk.store.arrivals(self._last, limit=_AT_ONCE)
            except (StoreError, OpsError):  # it may come back, and the listeners are still here
                arrivals = None
            if arrivals is not None:
                self._last = max(self._last, arrivals.last)
                if arrivals.items:
                    batch = _Batch(self._last, _events(arrivals))
                    for listener in self._listeners:
                        listener.put(batch)
            if arrivals is None or len(arrivals.items) < _AT_ONCE:
                await asyncio.sleep(_LOOK_EVERY)


def _events(arrivals: Arrivals) -> bytes:
    """Return one event for each record; the last one says how far this goes."""
    events = [b"data: " + as_json(record) + b"\n" for record in arrivals.items]
    return b"\n".join(events) + b"id: %d\n\n" % arrivals.last


def _last_id(request: web.Request) -> int | None:
    given = request.headers.get("Last-Event-ID", "")
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 19 else None
