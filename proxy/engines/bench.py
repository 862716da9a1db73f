"""The bench where recognisers wait for work: how many at once, and how many requests may queue.

A request takes a place before its body is read, so the memory for uploads is bounded by the places, and then
a recogniser for as long as it needs one. Threads run one slice at a time: a request that ends stops its
recogniser soon.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from proxy.engines.errors import EngineError
from proxy.engines.recogniser import Recogniser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")

_QUEUE_SECONDS: Final = 300.0  # a client waits no longer than this for a recogniser: many have given up by then
_RETRY_AFTER_SECONDS: Final = 5  # about the time that one short recording takes


class Bench:
    """At most ``recognisers`` at work and ``waiting`` requests behind them; one more is refused with 503."""

    def __init__(self, *, recognisers: int, waiting: int) -> None:
        self._places = recognisers + waiting
        self._taken = 0
        self._idle: list[Recogniser] = []  # never longer than the number of recognisers
        self._free = asyncio.Semaphore(recognisers)
        self._threads = ThreadPoolExecutor(recognisers, thread_name_prefix="recogniser")

    @property
    def taken(self) -> int:
        """Requests that have a place now, at work or waiting."""
        return self._taken

    async def warm(self) -> None:
        """Load the model once, so that the first request does not wait for it."""
        async with self.recogniser():
            pass

    async def close(self) -> None:
        """Let the steps under way end, start no others, and forget the recognisers."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        self._idle.clear()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places. Raises :class:`EngineError` (503, with Retry-After) when there is none."""
        if self._taken >= self._places:
            raise _overloaded()
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    @asynccontextmanager
    async def recogniser(self) -> AsyncIterator[Recogniser]:
        """Lend a recogniser to one request; raise :class:`EngineError` (503) after five minutes' wait."""
        try:
            async with asyncio.timeout(_QUEUE_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise _overloaded() from None
        try:
            recogniser = self._idle.pop() if self._idle else await self.run(Recogniser)
            try:
                yield recogniser
            finally:
                self._idle.append(recogniser)
        finally:
            self._free.release()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` in a thread and return what it returns.

        When the caller is cancelled this still waits for the function to end: the recogniser that it uses
        must be at rest before another request gets it.
        """
        step = asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(*args, **kwargs))
        try:
            return await asyncio.shield(step)
        except asyncio.CancelledError:
            await asyncio.wait([step])
            raise


def _overloaded() -> EngineError:
    return EngineError(
        "The local engine is busy with other recordings. Try again in a few seconds.",
        status=503,
        type="server_error",
        code="overloaded",
        retry_after=_RETRY_AFTER_SECONDS,
    )
