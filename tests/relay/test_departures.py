"""A client that leaves is noticed while nobody reads from it, on both event loops."""

from __future__ import annotations

import asyncio
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
import uvloop

from proxy.relay.departures import Departures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

SOON = 2.0  # seconds in which a departure must have been noticed
STAYS = 0.1  # seconds after which a client that stays counts as undisturbed

Run = Any


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a scenario on either loop."""

    def run(scenario: Callable[[Departures], Awaitable[None]]) -> None:
        async def main() -> None:
            departures = Departures(asyncio.get_running_loop())
            try:
                await scenario(departures)
            finally:
                departures.close()

        def serve() -> None:
            with asyncio.Runner(loop_factory=request.param) as runner:
                runner.run(main())

        with ThreadPoolExecutor(1) as thread:  # pytest-asyncio has a loop of its own in this one
            thread.submit(serve).result()

    return run


class Server(asyncio.Protocol):
    """The gateway's end of a connection."""

    def __init__(self) -> None:
        self.made = asyncio.get_running_loop().create_future()
        self.lost = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self.made.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


class Listener:
    """Accepts clients one by one."""

    def __init__(self) -> None:
        self._accepted: asyncio.Queue[Server] = asyncio.Queue()
        self._address = ("", 0)

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Listener]:
        listener = cls()
        async with await asyncio.get_running_loop().create_server(listener._serve, "127.0.0.1", 0) as server:
            listener._address = server.sockets[0].getsockname()
            yield listener

    def _serve(self) -> Server:
        server = Server()
        self._accepted.put_nowait(server)
        return server

    async def connect(self) -> tuple[socket.socket, Server]:
        """Return a client, and the server's end that reads nothing, as behind a slow upstream."""
        client = socket.create_connection(self._address)
        server = await self._accepted.get()
        await server.made
        await asyncio.sleep(0)  # uvloop starts to read after connection_made
        server.transport.pause_reading()
        assert not server.transport.is_reading()
        return client, server


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("unread", [0, 1, 100_000])
@pytest.mark.parametrize(
    "leave",
    [socket.socket.close, reset, lambda client: client.shutdown(socket.SHUT_WR)],
    ids=["FIN", "RST", "half-close"],
)
def test_a_client_that_leaves_is_dropped_at_once_even_with_unread_bytes_before_it(
    run: Run, leave: Callable[[socket.socket], None], unread: int
) -> None:
    async def scenario(departures: Departures) -> None:
        async with Listener.open() as listener:
            client, server = await listener.connect()
            with client:
                client.sendall(b"x" * unread)
                assert departures.watch(server.transport) is not None
                leave(client)
                await asyncio.wait_for(server.lost, SOON)

    run(scenario)


def test_a_client_that_left_before_the_watch_began_is_dropped_too(run: Run) -> None:
    async def scenario(departures: Departures) -> None:
        async with Listener.open() as listener:
            client, server = await listener.connect()
            client.sendall(b"x")
            client.close()
            departures.watch(server.transport)
            await asyncio.wait_for(server.lost, SOON)

    run(scenario)


def test_bytes_that_wait_are_no_departure_and_a_forgotten_client_is_left_alone(run: Run) -> None:
    async def scenario(departures: Departures) -> None:
        async with Listener.open() as listener:
            client, server = await listener.connect()
            ticket = departures.watch(server.transport)
            client.sendall(b"x" * 1_000)
            departures.forget(ticket)
            client.close()
            await asyncio.sleep(STAYS)
            assert not server.lost.done()
            server.transport.abort()
            await server.lost

    run(scenario)


def test_a_client_is_watched_again_for_its_next_request(run: Run) -> None:
    async def scenario(departures: Departures) -> None:
        async with Listener.open() as listener:
            client, server = await listener.connect()
            for _ in range(3):
                departures.forget(departures.watch(server.transport))
            assert departures.watch(server.transport) is not None
            client.close()
            await asyncio.wait_for(server.lost, SOON)

    run(scenario)


def test_an_old_ticket_says_nothing_about_the_next_owner_of_its_number(run: Run) -> None:
    async def scenario(departures: Departures) -> None:
        async with Listener.open() as listener:
            client, server = await listener.connect()
            old = departures.watch(server.transport)
            assert old is not None
            client.close()
            await asyncio.wait_for(server.lost, SOON)
            held = []
            while True:  # until the kernel has given the number to another client of ours
                client, server = await listener.connect()
                held.append((client, server))
                new = departures.watch(server.transport)
                assert new is not None
                if new[0] == old[0]:
                    break
                assert len(held) < 50
            departures.forget(old)
            departures.forget(None)
            client.close()
            await asyncio.wait_for(server.lost, SOON)
            for each, its_server in held:
                each.close()
                await asyncio.wait_for(its_server.lost, SOON)

    run(scenario)


def test_a_transport_without_a_socket_cannot_be_watched(run: Run) -> None:
    async def scenario(departures: Departures) -> None:
        assert departures.watch(asyncio.Transport()) is None
        async with Listener.open() as listener:
            client, server = await listener.connect()
            client.close()
            server.transport.abort()
            await server.lost
            assert departures.watch(server.transport) is None

    run(scenario)
