"""A drain refuses late, waits for the requests under way within limits, and then cuts."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from proxy.server.drain import Stop, drain
from proxy.settings import Drain

LONG = 30.0  # seconds: a drain that waits so long is one that waited for nothing
SOON = 5.0


class Requests:
    """The relay as a drain sees it: a number of requests, which end when they are told or cut."""

    def __init__(self, in_flight: int) -> None:
        self.shared = self  # one object is enough for both
        self.draining = False
        self.refusing = False
        self.in_flight = in_flight
        self.was_cut = False
        self._ended = asyncio.Event()
        if not in_flight:
            self._ended.set()

    async def idle(self) -> None:
        await self._ended.wait()

    def finish(self) -> None:
        self.in_flight = 0
        self._ended.set()

    def cut(self) -> None:
        self.was_cut = True
        self.finish()


async def drained(requests: Any, stop: Stop, *, delay: float = 0.0, timeout: float = LONG) -> None:
    await asyncio.wait_for(drain(requests, stop, Drain(delay=delay, timeout=timeout)), SOON)


async def test_nothing_under_way_is_drained_at_once() -> None:
    requests = Requests(0)
    await drained(requests, Stop())
    assert (requests.draining, requests.refusing, requests.was_cut) == (True, True, False)


async def test_a_request_under_way_may_finish() -> None:
    requests = Requests(1)
    asyncio.get_running_loop().call_later(0.02, requests.finish)
    await drained(requests, Stop())
    assert not requests.was_cut


async def test_new_requests_are_served_during_the_delay() -> None:
    requests, seen = Requests(0), []
    asyncio.get_running_loop().call_later(0.02, lambda: seen.append((requests.draining, requests.refusing)))
    await drained(requests, Stop(), delay=0.1)
    assert seen == [(True, False)]
    assert requests.refusing


async def test_the_timeout_cuts(caplog: pytest.LogCaptureFixture) -> None:
    requests = Requests(2)
    await drained(requests, Stop(), timeout=0.02)
    assert requests.was_cut
    assert caplog.messages == ["cutting 2 requests that did not finish in time"]


@pytest.mark.parametrize(("delay", "timeout"), [(LONG, LONG), (0.0, LONG)])
async def test_a_second_signal_cuts_delay_and_wait(delay: float, timeout: float) -> None:
    requests, stop = Requests(1), Stop()
    stop.ask()
    asyncio.get_running_loop().call_later(0.02, stop.ask)
    await drained(requests, stop, delay=delay, timeout=timeout)
    assert requests.was_cut


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_asks_and_the_second_insists(number: signal.Signals) -> None:
    stop = Stop()
    stop.listen()
    try:
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.asked.wait(), SOON)
        assert not stop.insisted.is_set()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.insisted.wait(), SOON)
    finally:
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(each)
