"""Whom a request waits for and how long, and how an interrupt ends it with its reason."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from proxy.errors import GatewayError
from proxy.relay.patience import Patience, Phase, client_left
from proxy.settings import Timeouts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TINY = 0.02  # seconds
LONG = 5.0  # seconds: a test that waits so long has failed


def patience(**limits: float | None) -> Patience:
    """Return a patience that has no limits but these."""
    none: dict[str, Any] = dict.fromkeys(("upload_idle", "first_byte", "idle", "total"))
    return Patience(Timeouts.model_construct(**{**Timeouts().model_dump(), **none, **limits}))


def ever() -> Awaitable[None]:
    return asyncio.sleep(LONG)


async def ended(
    waiting: Patience, phase: Phase = Phase.GATEWAY, wait: Callable[[], Awaitable[None]] = ever
) -> GatewayError:
    """Return the error that ends a block in which ``wait`` is waited for."""

    async def block() -> None:
        with waiting:
            waiting.enter(phase)
            await wait()

    with pytest.raises(GatewayError) as end:
        await block()
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
    return end.value


@pytest.mark.parametrize(
    ("phase", "limit", "code", "failure"),
    [
        (Phase.CLIENT, "upload_idle", "upload_timeout", "client_left"),
        (Phase.ACCEPT, "upload_idle", "upstream_timeout", "upstream_timed_out"),
        (Phase.FIRST_BYTE, "first_byte", "upstream_timeout", "upstream_timed_out"),
        (Phase.REPLY, "idle", "upstream_timeout", "upstream_timed_out"),
        (Phase.READER, "idle", "client_left", "client_left"),
    ],
)
async def test_each_phase_has_its_limit_and_its_error(phase: Phase, limit: str, code: str, failure: str) -> None:
    error = await ended(patience(**{limit: TINY}), phase)
    assert (error.code, error.failure) == (code, failure)


@pytest.mark.parametrize("phase", Phase)
async def test_a_phase_without_a_limit_waits(phase: Phase) -> None:
    limits = {"upload_idle": TINY, "first_byte": TINY, "idle": TINY}
    for own in {Phase.CLIENT: ("upload_idle",), Phase.ACCEPT: ("upload_idle",), Phase.FIRST_BYTE: ("first_byte",),
                Phase.REPLY: ("idle",), Phase.READER: ("idle",)}.get(phase, ()):  # fmt: skip
        del limits[own]
    with patience(**limits) as waiting:
        waiting.enter(phase)
        await asyncio.sleep(5 * TINY)


async def test_every_chunk_begins_the_wait_anew() -> None:
    with patience(upload_idle=10 * TINY) as waiting:
        for _ in range(15):
            waiting.enter(Phase.CLIENT)
            await asyncio.sleep(TINY)


async def test_the_total_counts_through_all_phases() -> None:
    waiting = patience(total=3 * TINY)

    async def upload() -> None:
        while True:
            waiting.enter(Phase.CLIENT)
            await asyncio.sleep(TINY / 4)

    assert (await ended(waiting, wait=upload)).code == "upstream_timeout"


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("others", [{}, {"upload_idle": LONG, "first_byte": LONG, "idle": LONG}])
async def test_a_requests_own_deadline_ends_it_with_408(inside: bool, others: dict[str, float]) -> None:
    waiting = patience(**others)
    if not inside:
        waiting.deadline(TINY)

    async def wait() -> None:
        if inside:
            waiting.deadline(TINY)
        await ever()

    error = await ended(waiting, wait=wait)
    assert (error.code, error.status, error.failure) == ("request_timeout", 408, "upstream_timed_out")
    assert "20ms" in error.message


async def test_the_sooner_of_deadline_and_total_counts() -> None:
    waiting = patience(total=TINY)
    waiting.deadline(LONG)
    assert (await ended(waiting, Phase.GATEWAY)).code == "upstream_timeout"


async def test_the_deadline_is_for_the_replys_head_and_the_total_for_all_of_it() -> None:
    waiting = patience(total=4 * TINY)

    async def wait() -> None:
        waiting.deadline(TINY)
        waiting.head_reached()
        await ever()

    assert (await ended(waiting, wait=wait)).code == "upstream_timeout"
    with patience() as waiting:
        waiting.deadline(TINY)
        waiting.head_reached()
        await asyncio.sleep(3 * TINY)


async def test_an_interrupt_ends_the_block_with_its_reason_and_the_first_stays() -> None:
    waiting = patience()
    loop = asyncio.get_running_loop()
    loop.call_soon(waiting.interrupt, client_left())
    loop.call_soon(waiting.interrupt, GatewayError("draining", "m"))
    assert (await ended(waiting, Phase.GATEWAY)).code == "client_left"
    assert waiting.reason is not None
    assert waiting.reason.code == "client_left"


async def test_an_interrupt_beats_the_error_it_causes() -> None:
    waiting = patience()
    asyncio.get_running_loop().call_soon(waiting.interrupt, client_left())

    async def wait() -> None:
        try:
            await ever()
        except asyncio.CancelledError:
            raise ConnectionResetError from None

    assert (await ended(waiting, wait=wait)).code == "client_left"


@pytest.mark.parametrize("interrupted", [True, False])
async def test_a_cancellation_from_elsewhere_passes(interrupted: bool) -> None:
    waiting = patience()

    async def block() -> None:
        with waiting:
            await asyncio.sleep(LONG)

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    task.cancel()
    if interrupted:
        waiting.interrupt(client_left())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_an_error_of_the_block_passes_and_nothing_fires_after_it() -> None:
    with pytest.raises(KeyError), patience(upload_idle=TINY, total=TINY):
        raise KeyError
    with patience(upload_idle=TINY, total=TINY):
        pass
    await asyncio.sleep(3 * TINY)
    waiting = patience()
    with waiting:
        pass
    waiting.interrupt(client_left())  # nobody is in there any more
    await asyncio.sleep(0)
