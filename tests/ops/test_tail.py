"""The live tail: every new record once, in order, to all who listen, and nobody who is slow costs memory."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import pytest

from proxy.ops import tail as module
from proxy.store.store import StoreError
from tests.ops.conftest import LAST_CHUNK, TOKEN, to_the_end
from tests.ops.records import record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from proxy.store.store import Arrivals, StoreReader
    from tests.ops.conftest import Desktop

    Start = Callable[..., AbstractAsyncContextManager[Desktop]]

WAIT = 8.0  # seconds before a test gives up on an event


class Event(NamedTuple):
    """A block of a stream: its last id, the record, or a comment."""

    id: str | None
    record: dict[str, Any] | None
    comment: str | None


class Listening:
    """A client that reads a stream block by block."""

    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self._reply = reply

    async def event(self) -> Event:
        """Wait for the next block."""
        lines: list[str] = []
        async with asyncio.timeout(WAIT):
            while (line := (await self._reply.content.readline()).decode()) not in {"\n", ""}:
                lines.append(line.rstrip("\n"))
        fields = dict(line.split(": ", 1) for line in lines)
        data = fields.get("data")
        return Event(fields.get("id"), json.loads(data) if data else None, fields.get(""))

    async def names(self, count: int) -> list[str]:
        """Wait for so many records; return their traces."""
        found: list[str] = []
        while len(found) < count:
            got = (await self.event()).record
            if got is not None:
                found.append(got["trace_id"])
        return found


@asynccontextmanager
async def listening(ops: Desktop, **headers: str) -> AsyncIterator[Listening]:
    """Listen, from when the server says that it does."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession(read_bufsize=2**20) as session,
        session.get(f"{ops.url}/api/requests/stream", headers=named) as reply,
    ):
        assert (reply.status, reply.headers["Content-Type"]) == (200, "text/event-stream")
        yield Listening(reply)


async def test_new_records_come_in_the_order_in_which_they_were_kept(desktop: Start) -> None:
    async with desktop() as ops, listening(ops) as first, listening(ops) as second:
        assert (await first.event()).id == (await second.event()).id != None  # noqa: E711
        kept = record("a", said="eins\nzwei \u2028", minutes=5)
        ops.keep(kept)
        ops.keep(record("c", minutes=1), record("b", minutes=2))
        assert (await first.event()).record == kept
        assert await first.names(2) == ["c", "b"]
        assert await second.names(3) == ["a", "c", "b"]


async def test_who_comes_back_with_the_last_id_has_missed_nothing(desktop: Start) -> None:
    async with desktop() as ops:
        async with listening(ops) as before:
            came_from = (await before.event()).id
            assert came_from is not None
        ops.keep(*(record(str(number), minutes=number) for number in range(1, 121)))
        async with listening(ops, Last_Event_ID=came_from) as after:
            assert await after.names(120) == [str(number) for number in range(1, 121)]
            ops.keep(record("next", minutes=500))
            assert await after.names(1) == ["next"]


@pytest.mark.parametrize("last", ["", "abc", "-1", "9" * 40, "99999999"])
async def test_an_id_that_is_none_begins_now(desktop: Start, last: str) -> None:
    async with desktop() as ops, listening(ops, Last_Event_ID=last) as stream:
        await stream.event()
        ops.keep(record("a", minutes=1))
        assert await stream.names(1) == ["a"]


async def test_silence_is_broken_by_a_comment(desktop: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HEARTBEAT", 0.05)
    async with desktop() as ops, listening(ops) as stream:
        await stream.event()
        assert (await stream.event()).comment == "still here"


async def test_a_listener_that_does_not_read_is_cut_and_the_others_hear_on(
    desktop: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 2_000_000)
    async with desktop() as ops, listening(ops) as good:
        await good.event()
        async with ops.slowly("/api/requests/stream") as slow:
            for batch in range(10):
                ops.keep(*(record(f"{batch}-{n}", said="x" * 100_000, minutes=batch) for n in range(10)))
                await good.names(10)
            assert not (await to_the_end(slow)).endswith(LAST_CHUNK)


async def test_a_store_that_is_away_for_a_while_ends_no_stream(desktop: Start) -> None:
    async with desktop() as ops, listening(ops) as stream:
        await stream.event()
        assert ops.desk.reader is not None
        away = Away(ops.desk.reader)
        ops.desk.reader = away  # type: ignore[assignment]  # nobody asks it for more
        ops.keep(record("a", minutes=1))
        async with asyncio.timeout(WAIT):
            while away.asked < 2:
                await asyncio.sleep(0.01)
        ops.desk.reader = away.reader
        assert await stream.names(1) == ["a"]


class Away:
    """A store that cannot be reached."""

    def __init__(self, reader: StoreReader) -> None:
        self.reader = reader
        self.asked = 0

    async def arrivals(self, _after: int, *, limit: int) -> Arrivals:
        self.asked += limit > 0
        raise StoreError("nobody answers")


async def test_who_logs_out_hears_no_more(desktop: Start) -> None:
    async with desktop(ops={"token": TOKEN}) as ops:
        cookie = await ops.log_in()
        async with listening(ops, Cookie=cookie) as stream:
            await stream.event()
            await ops.ask("DELETE", "/api/session", Cookie=cookie, Origin=ops.url)
            ops.keep(record("a", minutes=1))
            assert await stream.event() == (None, None, None)


async def test_nobody_looks_while_nobody_listens(desktop: Start) -> None:
    async with desktop() as ops:
        async with listening(ops) as stream:
            await stream.event()
            assert looking()
        async with asyncio.timeout(WAIT):
            while looking():
                await asyncio.sleep(0.01)


def looking() -> bool:
    return any("Tail._look" in repr(task) for task in asyncio.all_tasks())


async def test_there_is_an_end_to_how_many_may_listen(desktop: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_LISTENERS", 1)
    async with desktop() as ops:
        async with listening(ops) as stream:
            await stream.event()
            refused = await ops.get("/api/requests/stream")
            assert refused.refused == (503, "overloaded")
            assert "Retry-After" in refused.headers
        async with asyncio.timeout(WAIT):
            while (await ops.ask("HEAD", "/api/requests/stream")).status != 200 or looking():
                await asyncio.sleep(0.01)
        async with listening(ops) as stream:
            await stream.event()


async def test_a_shutdown_waits_for_no_listener(desktop: Start) -> None:
    async with desktop() as ops, listening(ops) as stream:
        await stream.event()
        await ops.ops.close()
        with pytest.raises(aiohttp.ClientPayloadError):
            await stream.event()
