"""Places are bounded, recognisers are lent to one request at a time, and a cancelled step is waited for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from proxy.engines.bench import Bench
from proxy.engines.errors import EngineError


async def test_a_request_without_a_place_is_told_when_to_come_back() -> None:
    bench = Bench(recognisers=1, waiting=1)
    with bench.place(), bench.place():
        assert bench.taken == 2
        with pytest.raises(EngineError) as caught, bench.place():
            pass
    assert (caught.value.status, caught.value.retry_after) == (503, 5)
    assert bench.taken == 0
    await bench.close()


async def test_a_recogniser_is_lent_to_one_request_at_a_time_and_used_again() -> None:
    bench = Bench(recognisers=1, waiting=1)
    async with bench.recogniser() as first:
        waiting = asyncio.create_task(bench.recogniser().__aenter__())
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting is first
    await bench.close()


async def test_a_cancelled_step_is_waited_for_before_its_recogniser_is_free() -> None:
    bench = Bench(recognisers=1, waiting=0)
    started, release, ended = threading.Event(), threading.Event(), threading.Event()

    def step() -> None:
        started.set()
        release.wait(5)
        ended.set()

    running = asyncio.create_task(bench.run(step))
    await asyncio.to_thread(started.wait, 5)
    running.cancel()
    await asyncio.sleep(0)
    assert not running.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()
    await bench.close()
