"""An HTTP/1.1 client on a bare socket: every byte, pause and way of leaving is the test's own."""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

Headers = list[tuple[str, str]]

TIMEOUT = 10.0  # seconds that one socket call may take: more than any test means to wait
PIECE = 1 << 16


class BrokenReplyError(Exception):
    """The connection ended before a whole head had come; ``got`` is what did."""

    def __init__(self, why: str, got: bytes) -> None:
        super().__init__(f"{why} after {got[:200]!r}")
        self.got = got


@dataclass
class Reply:
    """A reply as it came. ``clean`` says that its body ended as its framing promised."""

    status: int
    head: bytes
    headers: Headers
    body: bytes = b""
    clean: bool = False
    interim: list[int] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """The only value of a header field; None when absent."""
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error code of a gateway's answer."""
        code: str = self.json()["error"]["code"]
        return code

    @property
    def closes(self) -> bool:
        """Whether the server said that the connection ends here."""
        return (self.header("connection") or "").lower() == "close"


class Connection:
    """One connection to the gateway."""

    def __init__(
        self,
        port: int,
        *,
        send_buffer: int | None = None,
        receive_buffer: int | None = None,
        connect_timeout: float = TIMEOUT,
    ) -> None:
        self.sock = socket.socket()
        if send_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(connect_timeout)
        try:
            self.sock.connect(("127.0.0.1", port))
        except OSError:
            self.sock.close()
            raise
        self.sock.settimeout(TIMEOUT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self.sock.getsockname()[1]
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Sending

    def send(self, data: bytes) -> None:
        """Send all of these bytes."""
        self.sock.sendall(data)

    def head(self, method: str, target: str, headers: Headers, *, version: str = "1.1", host: bool = True) -> None:
        """Send a request head as it is given, ``Host`` first."""
        first = [("Host", "127.0.0.1")] if host else []
        lines = [f"{method} {target} HTTP/{version}", *(f"{n}: {v}" for n, v in first + headers), "", ""]
        self.send("\r\n".join(lines).encode("latin-1"))

    def chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def end_chunks(self) -> None:
        """End a chunked body."""
        self.send(b"0\r\n\r\n")

    def push(self, data: bytes) -> None:
        """Send as much of this as is taken, answered or not."""
        with suppress(OSError):
            self.send(data)

    def upload(self, pieces: Iterable[bytes], *, chunked: bool = False) -> int:
        """Send pieces until all are gone or a reply is there to read; return how many bytes went in whole pieces."""
        sent = 0
        for piece in pieces:
            data = b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece
            if not self._send_unless_answered(data):
                break
            sent += len(piece)
        return sent

    def _send_unless_answered(self, data: bytes) -> bool:
        view = memoryview(data)
        self.sock.setblocking(False)
        try:
            while view:
                readable, writable, _ = select.select([self.sock], [self.sock], [], TIMEOUT)
                if readable or not writable:
                    return False
                view = view[self.sock.send(view) :]
        except OSError:
            return False
        finally:
            self.sock.settimeout(TIMEOUT)
        return True

    def send_until_blocked(self, data: bytes, quiet: float = 0.3) -> int:
        """Send until nobody takes a byte for ``quiet`` seconds, or answers; return how many were taken."""
        sent = 0
        view = memoryview(data)
        self.sock.setblocking(False)
        try:
            while sent < len(view) and not self.readable() and select.select([], [self.sock], [], quiet)[1]:
                sent += self.sock.send(view[sent : sent + PIECE])
        finally:
            self.sock.settimeout(TIMEOUT)
        return sent

    def half_close(self) -> None:
        """Send a FIN and stay to read."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Leave."""
        self.sock.close()

    # Receiving

    def readable(self, timeout: float = 0) -> bool:
        """Whether bytes or an end are there to be read."""
        return bool(self._rest) or bool(select.select([self.sock], [], [], timeout)[0])

    def read_some(self) -> bytes:
        """Return the next bytes; nothing at the end. A reset raises."""
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        return self.sock.recv(PIECE)

    def read_until(self, mark: bytes) -> bytes:
        """Read until ``mark`` has come; return all up to and including it."""
        data = b""
        while mark not in data:
            try:
                more = self.read_some()
            except ConnectionResetError as error:
                raise BrokenReplyError("reset", data) from error
            if not more:
                raise BrokenReplyError("closed", data)
            data += more
        end = data.index(mark) + len(mark)
        self._rest = data[end:] + self._rest
        return data[:end]

    def read_head(self) -> Reply:
        """Read one head, interim or final; the body stays where it is."""
        head = self.read_until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        headers = [(name.strip().lower(), value.strip()) for name, _, value in (x.partition(":") for x in lines)]
        return Reply(int(first.split(" ")[1]), head, headers)

    def read_reply(self, *, method: str = "POST") -> Reply:
        """Read a whole reply, interim ones before it included."""
        interim = []
        reply = self.read_head()
        while reply.status < 200:
            interim.append(reply.status)
            reply = self.read_head()
        reply.interim = interim
        self.read_body(reply, method=method)
        return reply

    def read_body(self, reply: Reply, *, method: str = "POST") -> None:
        """Read the reply's body to its end, however it ends."""
        try:
            if method == "HEAD" or reply.status in {204, 304}:
                reply.clean = True
            elif "chunked" in (reply.header("transfer-encoding") or ""):
                while piece := self.read_chunk():
                    reply.body += piece
                reply.clean = True
            elif (length := reply.header("content-length")) is not None:
                while len(reply.body) < int(length):
                    reply.body += self._read_at_most(int(length) - len(reply.body))
                reply.clean = True
            else:
                while data := self.read_some():
                    reply.body += data
                reply.clean = True
        except (BrokenReplyError, ConnectionResetError):
            return

    def read_chunk(self) -> bytes:
        """Return one chunk's payload; nothing for the last chunk."""
        size = int(self.read_until(b"\r\n").split(b";")[0], 16)
        data = b""
        while len(data) < size:
            data += self._read_at_most(size - len(data))
        assert self.read_until(b"\r\n") == b"\r\n"
        return data

    def _read_at_most(self, count: int) -> bytes:
        data = self.read_some()
        if not data:
            raise BrokenReplyError("closed", b"")
        data, self._rest = data[:count], data[count:] + self._rest
        return data

    def says_no_more(self) -> bool:
        """Whether the connection ended, or is silent although there is something to answer."""
        return not self.readable(0.15) or self.at_end()

    def at_end(self) -> bool:
        """Wait for the server to end the connection; False when it stays open or sends more."""
        try:
            return not self.read_some()
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def pieces(data: bytes, size: int = PIECE, pause: float = 0.0) -> Iterable[bytes]:
    """Cut a body into pieces, ``pause`` seconds between them."""
    for start in range(0, len(data), size):
        if start and pause:
            time.sleep(pause)
        yield data[start : start + size]
