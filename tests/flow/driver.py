"""The test's end of the scripted upstream: start it, give it scripts, ask what it saw."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.flow.forms import Part, parts_of

if TYPE_CHECKING:
    from tests.flow.scripts import Step

WAIT = 8.0  # seconds before a test gives up on an event: far more than a busy machine needs
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Seen:
    """What the upstream saw of one request. Times are seconds of the monotonic clock."""

    connection: int
    number: int
    port: int
    key: str
    head: bytes
    framing: str
    head_at: float
    first_body_at: float | None
    last_body_at: float | None
    length: int
    complete: bool
    cut: str | None
    cut_at: float | None
    done: bool
    kept: bytes
    tail: bytes
    sha256: str

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Undo what the upstream's ``Seen.as_json`` did."""
        blobs = {name: base64.b64decode(data[name]) for name in ("head", "kept", "tail")}
        return cls(**{**data, **blobs})

    @property
    def body(self) -> bytes:
        """The whole body; only for bodies that were kept whole."""
        assert len(self.kept) == self.length, "too long to be kept: use length and sha256"
        return self.kept

    @property
    def method(self) -> str:
        return self.head.split(b" ")[0].decode()

    @property
    def target(self) -> str:
        return self.head.split(b" ")[1].decode("latin-1")

    @cached_property
    def headers(self) -> list[tuple[str, str]]:
        """Header fields in order, names in lower case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return [(name.strip().lower(), value.strip()) for name, sep, value in (x.partition(":") for x in lines) if sep]

    def header(self, name: str) -> str | None:
        """The only value of a header field; None when absent."""
        values = self.header_values(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    def header_values(self, name: str) -> list[str]:
        """Every value of a header field."""
        return [value for key, value in self.headers if key == name.lower()]

    @cached_property
    def parts(self) -> list[Part]:
        """The form's parts, read by a parser of the tests' own."""
        return parts_of(self.body, self.header("content-type") or "")

    def fields(self, name: str) -> list[str]:
        """Text of every part of this name."""
        return [part.payload.decode() for part in self.parts if part.name == name]


class Upstream:
    """The scripted upstream, running."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.flow.upstream"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        self.port = self.listen()
        self._fillers: list[socket.socket] = []

    @property
    def url(self) -> str:
        """Base URL of the main port, as a provider's ``base_url``."""
        return f"http://127.0.0.1:{self.port}/v1"

    def _ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def listen(self, receive_buffer: int | None = None) -> int:
        """Open one more port; its scripts are keyed ``port:N`` unless the request names one."""
        port: int = self._ask("listen", receive_buffer=receive_buffer, accept=True)["port"]
        return port

    def listen_mute(self) -> int:
        """Open a port whose handshakes never complete: nobody accepts and its backlog is full."""
        port: int = self._ask("listen", receive_buffer=None, accept=False)["port"]
        for _ in range(3):  # a backlog of 0 holds one; the others make sure of it
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            self._fillers.append(filler)
        return port

    def play(self, key: str, *steps: Step) -> None:
        """Queue a script for the next request with this key."""
        self._ask("play", key=key, steps=steps)

    def release(self, key: str, gate: str = "gate") -> None:
        """Open a gate that a script holds at."""
        self._ask("release", key=key, gate=gate)

    def requests(self, key: str) -> int:
        """How many requests with this key have come so far."""
        count: int = self._ask("count", key=key)["requests"]
        return count

    def open_connections(self) -> int:
        """How many connections are open now, on all ports."""
        count: int = self._ask("count", key="")["open"]
        return count

    def wait(self, key: str, what: str, value: Any = None, *, index: int = 0, timeout: float = WAIT) -> Seen:
        """Wait until something is seen of a request: ``head_at``, ``length`` of so much, ``cut`` …"""
        answer = self._ask("wait", key=key, index=index, what=what, value=value, timeout=timeout)
        assert "late" not in answer, f"the upstream waited {timeout} s in vain for {what}: {_short(answer['seen'])}"
        return Seen.from_json(answer["seen"])

    def never(self, key: str, what: str, value: Any = None, *, index: int = 0, within: float = 0.25) -> None:
        """Give something that must not happen a fair time to happen."""
        answer = self._ask("wait", key=key, index=index, what=what, value=value, timeout=within)
        assert "late" in answer, f"the upstream saw what it must not: {what}, {_short(answer['seen'])}"

    def stop(self) -> None:
        """End the process: it goes when its stdin ends."""
        for filler in self._fillers:
            filler.close()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def _short(seen: dict[str, Any] | None) -> dict[str, Any] | None:
    return seen and {name: value for name, value in seen.items() if name not in {"head", "kept", "tail", "sha256"}}
