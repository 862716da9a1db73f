"""How long to wait for whom: one lazy timer a request, and a way to stop the waiting task with the reason.

A timer per read or write would cost two calls into the loop per chunk. Here a chunk only notes the time and the phase;
the timer looks at them when it fires, and is seldom early.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Self

from proxy.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from proxy.settings import Timeouts

_NEVER: Final = float("inf")

Limits = tuple[tuple[float, ...], float]


class Phase(IntEnum):
    """Whom the request waits for."""

    GATEWAY = 0  # ourselves: no limit of its own
    CLIENT = 1  # the client's next byte
    ACCEPT = 2  # the upstream, to take bytes
    FIRST_BYTE = 3  # the upstream, to answer
    REPLY = 4  # the upstream's next byte
    READER = 5  # the client, to take bytes of the reply


class Patience:
    """The limits of one request, and the interrupt that they end it with.

    Used as a context manager around everything that may be interrupted: an interrupt cancels the task that entered it
    and leaves the block as the :class:`GatewayError` given to :meth:`interrupt`; a cancellation from elsewhere passes.
    """

    __slots__ = (
        "_deadline",
        "_limits",
        "_loop",
        "_phase",
        "_shortest",
        "_since",
        "_task",
        "_timer",
        "_total",
        "reason",
    )

    def __init__(self, timeouts: Timeouts, limits: Limits | None = None) -> None:
        self.reason: GatewayError | None = None
        self._loop = asyncio.get_running_loop()
        self._limits, self._shortest = limits or limits_of(timeouts)
        self._phase = Phase.GATEWAY
        self._since = self._loop.time()
        self._deadline: tuple[float, GatewayError | None] = (_NEVER, None)
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if timeouts.total is not None:
            error = _upstream_timeout(f"and the upload together took longer than {timeouts.total:g} seconds")
            self._deadline = (self._since + timeouts.total, error)
        self._total = self._deadline

    def enter(self, phase: Phase) -> None:
        """Take note that the wait for ``phase`` begins now."""
        self._phase = phase
        self._since = self._loop.time()

    def deadline(self, seconds: float) -> None:
        """End the request with 408 when no reply's head is there in ``seconds`` (a route's ``request_timeout``)."""
        due = self._loop.time() + seconds
        if due < self._deadline[0]:
            error = GatewayError(
                "request_timeout",
                f"Request exceeded the timeout sent in the request: {seconds * 1000:.0f}ms. Raise it or send less.",
                failure="upstream_timed_out",
            )
            self._deadline = (due, error)
            if self._task is not None:
                self._schedule(self._loop.time())

    @property
    def ends(self) -> float | None:
        """When the whole request is over (``timeouts.total``), on the loop's clock; None: never."""
        return self._total[0] if self._total[0] < _NEVER else None

    def begin_attempt(self, seconds: float | None) -> None:
        """Take note that an attempt begins, whose reply's head is to come in ``seconds`` (a target's own limit)."""
        self._deadline = self._total
        if seconds is not None:
            self.deadline(seconds)

    def taken(self) -> GatewayError | None:
        """Return, once, the reason why the running task was just cancelled; the task goes on with something else.

        None: somebody else cancelled it, and the cancellation must pass.
        """
        error, self.reason = self.reason, None
        if error is None or self._task is None or self._task.uncancel():
            return None
        self.enter(Phase.GATEWAY)
        self._deadline = self._total
        self._schedule(self._since)
        return error

    def head_reached(self) -> None:
        """Forget the deadline of the reply's head: from here on only ``timeouts.total`` counts."""
        self._deadline = self._total

    def interrupt(self, reason: GatewayError) -> None:
        """End the request with ``reason``; the first reason stays."""
        if self.reason is None:
            self.reason = reason
            if self._task is not None:
                self._task.cancel()

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._schedule(self._loop.time())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.reason is None or task is None:
            return
        if isinstance(error, asyncio.CancelledError) and task.uncancel() == 0:
            raise self.reason from None
        if error is not None and not isinstance(error, asyncio.CancelledError):
            task.uncancel()  # the block failed by itself before the interrupt reached it
            raise self.reason from None

    def _schedule(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # No phase that begins from now on can be over before the shortest limit has passed.
        due = min(self._since + self._limits[self._phase], now + self._shortest, self._deadline[0])
        if due < _NEVER:
            self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        self._timer = None
        due, error = self._deadline
        if now >= due and error is not None:
            self.interrupt(error)
        elif now >= self._since + self._limits[self._phase]:
            self.interrupt(_OVER[self._phase](self._limits[self._phase]))
        else:
            self._schedule(now)


def limits_of(timeouts: Timeouts) -> Limits:
    """Return the limit of each phase, and the shortest of them; made once for all requests of a house."""
    phases = (
        _NEVER,
        _or_never(timeouts.upload_idle),
        _or_never(timeouts.upload_idle),
        _or_never(timeouts.first_byte),
        _or_never(timeouts.idle),
        _or_never(timeouts.idle),  # a reader that takes nothing is as idle as an upstream that sends nothing
    )
    return phases, min(phases)


def _or_never(seconds: float | None) -> float:
    return _NEVER if seconds is None else seconds


def _upload_timeout(limit: float) -> GatewayError:
    return GatewayError(
        "upload_timeout", f"No byte of the upload came for {limit:g} seconds. Send it again.", failure="client_left"
    )


def _upstream_timeout(what: str) -> GatewayError:
    return GatewayError("upstream_timeout", f"The upstream {what}. Try again.", failure="upstream_timed_out")


_OVER: Final[dict[Phase, Callable[[float], GatewayError]]] = {
    Phase.CLIENT: _upload_timeout,
    Phase.ACCEPT: lambda limit: _upstream_timeout(f"accepted no byte of the upload for {limit:g} seconds"),
    Phase.FIRST_BYTE: lambda limit: _upstream_timeout(f"did not answer within {limit:g} seconds"),
    Phase.REPLY: lambda limit: _upstream_timeout(f"fell silent for {limit:g} seconds"),
    Phase.READER: lambda _limit: client_left(),
}


def client_left() -> GatewayError:
    """Return what a request ends with whose client is gone: for the record only, nobody reads an answer."""
    return GatewayError("client_left", "The client closed the connection.", failure="client_left")
