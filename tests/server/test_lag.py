"""The event loop's lag is what a task that wanted to run had to wait."""

from __future__ import annotations

import asyncio
import time

from proxy.server.lag import watch_lag

SOON = 5.0  # seconds: long enough for any machine


async def test_a_loop_that_was_held_up_is_late_and_one_that_was_not_is_hardly() -> None:
    lags: list[float] = []
    seen = asyncio.Event()

    def observe(seconds: float) -> None:
        lags.append(seconds)
        seen.set()

    beats: list[int] = []
    watching = asyncio.create_task(watch_lag(observe, lambda: beats.append(len(lags))))
    await asyncio.sleep(0)
    time.sleep(0.6)  # somebody holds the loop past the next sample
    await asyncio.wait_for(seen.wait(), SOON)
    watching.cancel()
    assert lags[0] >= 0.3
    assert beats == [1]


async def test_samples_come_again_and_again_and_never_below_zero() -> None:
    lags: list[float] = []
    enough = asyncio.Event()

    def observe(seconds: float) -> None:
        lags.append(seconds)
        if len(lags) == 3:
            enough.set()

    watching = asyncio.create_task(watch_lag(observe))
    await asyncio.wait_for(enough.wait(), SOON)
    watching.cancel()
    assert min(lags) >= 0
