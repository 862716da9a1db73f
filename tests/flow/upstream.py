"""A scripted upstream in a process of its own: raw sockets, so that it can misbehave at byte level.

It runs apart from the gateway and from the tests because a peer in the same event loop hides races (an
early answer followed by a reset is always read in time there). It is driven over stdin and stdout, one JSON
object per line and one answer per line, by ``tests.flow.driver``; ``tests.flow.scripts`` names the steps.

A request chooses its script by its ``x-script`` header, or by the port it came in on. A script is a list of
steps::

    ["read", n]      read the body until n bytes of it have come; null: to its end
    ["send", b64]    send these bytes as they are
    ["fill", n]      send n bytes of no meaning
    ["echo"]         answer 200 with the request's head as JSON
    ["hold", gate]   neither read nor send until the gate is released, or the peer leaves
    ["peek"]         wait for the next byte without taking it
    ["sleep", s]     do nothing for s seconds
    ["close"]        close(): a FIN, or a reset by the kernel when bytes are unread
    ["reset"]        close with a reset at once (SO_LINGER 0)
    ["linger"]       send a FIN, then read on until the peer closes

After the last step the rest of the body is read and the connection serves its next request.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import select
import socket
import struct
import sys
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, Final

from tests.flow.framing import Body, header_lines

Step = list[Any]

KEEP: Final = 8 << 20  # bytes of a body kept for the tests to look at; longer bodies are known by length and hash
TAIL: Final = 1 << 10  # last bytes of every body, for the tests about its end
MAX_HEAD: Final = 1 << 20  # a request head longer than this is a bug of the gateway
BACKLOG: Final = 512  # more than any test opens at once
PATIENCE: Final = 60.0  # seconds that anything here waits for a peer: a lost peer must not keep a worker alive
GLANCE: Final = 0.004  # seconds between two looks at whether the peer is still there

DEFAULT_REPLY: Final = (
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"text":"hello"}'
)
DEFAULT_SCRIPT: Final[list[Step]] = [["read", None], ["send", base64.b64encode(DEFAULT_REPLY).decode()]]


class PeerLeftError(Exception):
    """The peer closed (``closed``) or reset (``reset``) the connection while a script was running."""


class Bell:
    """Wakes everyone who waits for something to change."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def ring(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def wait(self) -> asyncio.Future[None]:
        """Return what the next ring sets. It listens from now on, not from when it is awaited."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter


@dataclass
class Seen:
    """What was seen of one request. Times are seconds of the monotonic clock, which every process shares."""

    connection: int
    number: int
    port: int
    head: bytes
    key: str = ""
    framing: str = "none"
    head_at: float = 0.0
    first_body_at: float | None = None
    last_body_at: float | None = None
    length: int = 0
    complete: bool = False
    cut: str | None = None
    cut_at: float | None = None
    done: bool = False
    kept: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)
    digest: Any = field(default_factory=hashlib.sha256)

    def take(self, data: memoryview) -> None:
        now = time.monotonic()
        self.first_body_at = self.first_body_at or now
        self.last_body_at = now
        self.length += len(data)
        self.digest.update(data)
        if len(self.kept) < KEEP:
            self.kept += data[: KEEP - len(self.kept)]
        self.tail += data[-TAIL:]
        del self.tail[:-TAIL]

    def as_json(self) -> dict[str, Any]:
        plain = {name: value for name, value in vars(self).items() if name not in {"digest", "kept", "tail", "head"}}
        blobs = {name: base64.b64encode(getattr(self, name)).decode() for name in ("head", "kept", "tail")}
        return {**plain, **blobs, "sha256": self.digest.hexdigest()}


class Connection:
    """One connection: requests one after the other, each by its script."""

    def __init__(self, house: House, sock: socket.socket, number: int, port: int) -> None:
        self._house, self._sock, self._number, self._port = house, sock, number, port
        self._loop = asyncio.get_running_loop()
        self._buffer = memoryview(bytearray(1 << 18))
        self._rest = b""  # bytes that came and were not taken yet

    async def serve(self) -> None:
        """Answer requests until either side closes."""
        self._house.open += 1
        try:
            for number in range(1, 1000):  # more requests than any test sends on one connection
                head = await self._read_head()
                if head is None or not await self._answer(head, number):
                    break
        finally:
            self._house.open -= 1
            self._sock.close()
            self._house.bell.ring()

    async def _read_head(self) -> bytes | None:
        while b"\r\n\r\n" not in self._rest:
            if len(self._rest) > MAX_HEAD:
                return None
            try:
                data = await asyncio.wait_for(self._loop.sock_recv(self._sock, 65536), PATIENCE)
            except (OSError, TimeoutError):
                return None
            if not data:
                return None
            self._rest += data
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    async def _answer(self, head: bytes, number: int) -> bool:
        """Play the request's script; say whether the connection can serve another."""
        body = Body(head)
        key = dict(header_lines(head)).get(b"x-script", b"").decode() or f"port:{self._port}"
        seen = Seen(self._number, number, self._port, head, key, body.framing, time.monotonic())
        seen.complete = body.ended
        self._house.saw(seen)
        steps = self._house.script(key)
        try:
            for name, *arguments in steps:
                if await getattr(self, f"_do_{name}")(seen, body, *arguments):
                    return False
            await self._do_read(seen, body, None)
        except PeerLeftError as left:
            seen.cut, seen.cut_at = str(left), time.monotonic()
            return False
        finally:
            seen.done = True
            self._house.bell.ring()
        return True

    async def _do_read(self, seen: Seen, body: Body, count: int | None) -> None:
        while not body.ended and (count is None or seen.length < count):
            data, self._rest = self._rest, b""
            view = memoryview(data) if data else self._buffer[: await self._receive()]
            pieces, rest = body.feed(view)
            self._rest = bytes(rest)
            for piece in pieces:
                seen.take(piece)
            seen.complete = body.ended
            self._house.bell.ring()

    async def _receive(self) -> int:
        try:
            size = await asyncio.wait_for(self._loop.sock_recv_into(self._sock, self._buffer), PATIENCE)
        except TimeoutError as error:
            raise PeerLeftError("silent") from error
        except OSError as error:
            raise PeerLeftError("reset") from error
        if not size:
            raise PeerLeftError("closed")
        return size

    async def _do_send(self, _seen: Seen, _body: Body, data: str) -> None:
        await self._write(base64.b64decode(data))

    async def _do_fill(self, _seen: Seen, _body: Body, count: int) -> None:
        block = b"fill" * (1 << 14)
        for start in range(0, count, len(block)):
            await self._write(block[: count - start])

    async def _write(self, data: bytes) -> None:
        try:
            await asyncio.wait_for(self._loop.sock_sendall(self._sock, data), PATIENCE)
        except (OSError, TimeoutError) as error:
            raise PeerLeftError("reset") from error

    async def _do_echo(self, seen: Seen, _body: Body) -> None:
        method, target, _ = seen.head.split(b"\r\n")[0].decode("latin-1").split(" ")
        headers = [[n.decode("latin-1"), v.decode("latin-1")] for n, v in header_lines(seen.head)]
        text = json.dumps({"method": method, "target": target, "headers": headers, "length": seen.length}).encode()
        await self._write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)
        )

    async def _do_hold(self, seen: Seen, _body: Body, gate: str) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        end = time.monotonic() + PATIENCE
        while not self._house.released(seen.key, gate):
            for _, what in poll.poll(0):
                raise PeerLeftError("reset" if what & select.POLLERR else "closed")
            if time.monotonic() > end:
                raise PeerLeftError("silent")
            await asyncio.sleep(GLANCE)

    async def _do_peek(self, _seen: Seen, _body: Body) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        end = time.monotonic() + PATIENCE
        while not poll.poll(0) and time.monotonic() < end:
            await asyncio.sleep(GLANCE)

    async def _do_sleep(self, _seen: Seen, _body: Body, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _do_close(self, _seen: Seen, _body: Body) -> bool:
        self._sock.close()
        return True

    async def _do_reset(self, _seen: Seen, _body: Body) -> bool:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()
        return True

    async def _do_linger(self, seen: Seen, body: Body) -> bool:
        self._sock.shutdown(socket.SHUT_WR)
        await self._do_read(seen, body, None)
        return True


class House:
    """All listeners, scripts and what was seen."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.open = 0
        self._scripts: dict[str, deque[list[Step]]] = defaultdict(deque)
        self._seen: dict[str, list[Seen]] = defaultdict(list)
        self._gates: set[tuple[str, str]] = set()
        self._connections = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[socket.socket] = []

    def saw(self, seen: Seen) -> None:
        self._seen[seen.key].append(seen)
        self.bell.ring()

    def script(self, key: str) -> list[Step]:
        """Return the next script for this key; the default one when none is left."""
        waiting = self._scripts[key]
        return waiting.popleft() if waiting else DEFAULT_SCRIPT

    def released(self, key: str, gate: str) -> bool:
        return (key, gate) in self._gates

    def listen(self, receive_buffer: int | None = None, accept: bool = True) -> int:
        """Open one more port. A small ``receive_buffer`` (bytes) makes back-pressure felt early."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind(("127.0.0.1", 0))
        sock.listen(BACKLOG if accept else 0)
        sock.setblocking(False)
        self._listeners.append(sock)
        port: int = sock.getsockname()[1]
        if accept:
            self._start(self._accept(sock, port))
        return port

    async def _accept(self, listener: socket.socket, port: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listener)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections += 1
            self._start(Connection(self, sock, self._connections, port).serve())

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What the tests may ask for. Every answer is one JSON object.

    async def do_listen(self, receive_buffer: int | None, accept: bool) -> dict[str, Any]:
        return {"port": self.listen(receive_buffer, accept)}

    async def do_play(self, key: str, steps: list[Step]) -> dict[str, Any]:
        self._scripts[key].append(steps)
        return {}

    async def do_release(self, key: str, gate: str) -> dict[str, Any]:
        self._gates.add((key, gate))
        return {}

    async def do_count(self, key: str) -> dict[str, Any]:
        return {"requests": len(self._seen[key]), "open": self.open}

    async def do_wait(self, key: str, index: int, what: str, value: Any, timeout: float) -> dict[str, Any]:
        """Wait until ``what`` of the key's request ``index`` reaches ``value`` (null: until it is set)."""
        end = time.monotonic() + timeout
        while True:
            seen = self._seen[key][index] if len(self._seen[key]) > index else None
            state = getattr(seen, what) if seen else None
            if seen and (bool(state) if value is None else state is not None and state >= value):
                return {"seen": seen.as_json()}
            if (left := end - time.monotonic()) <= 0:
                return {"late": True, "seen": seen.as_json() if seen else None}
            try:
                await asyncio.wait_for(self.bell.wait(), left)
            except TimeoutError:
                continue


async def run() -> None:
    """Obey the lines on stdin until it ends."""
    house = House()
    reader = asyncio.StreamReader(limit=256 << 20)  # a script holds whole replies
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        answer = await getattr(house, f"do_{command.pop('do')}")(**command)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    os._exit(0)  # the tests are gone: so is everything here


if __name__ == "__main__":
    asyncio.run(run())
