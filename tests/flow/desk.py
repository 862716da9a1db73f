"""The ops listener as scripts and pages meet it: requests on connections of their own, and the live tail."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.flow.client import Connection
from tests.flow.gateway import WAIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.flow.client import Headers, Reply
    from tests.flow.gateway import Gateway


class Desk:
    """A gateway's ops listener, asked with the same ``headers`` each time."""

    def __init__(self, gateway: Gateway, *headers: tuple[str, str]) -> None:
        self.gateway = gateway
        self.headers = list(headers)

    def ask(self, method: str, target: str, body: bytes | None = None, extra: Headers | None = None) -> Reply:
        """Send a request and read the whole reply."""
        length = [] if body is None else [("Content-Length", str(len(body)))]
        with Connection(self.gateway.ops_port) as connection:
            connection.head(method, target, [*self.headers, *length, *(extra or [])])
            connection.send(body or b"")
            return connection.read_reply(method=method)

    def get(self, target: str) -> Any:
        """GET a document; it must be there."""
        reply = self.ask("GET", target)
        assert reply.status == 200, reply.body
        return reply.json()

    def wait_items(self, query: str, count: int) -> list[dict[str, Any]]:
        """Wait until the store holds so many records that ``query`` finds; return them, the newest first."""
        end = time.monotonic() + WAIT
        while True:
            items: list[dict[str, Any]] = self.get(f"/api/requests?limit=500&{query}")["items"]
            if len(items) >= count or time.monotonic() > end:
                assert len(items) == count, f"{len(items)} records where {count} were expected"
                return items
            time.sleep(0.02)

    @contextmanager
    def listening(self) -> Iterator[Connection]:
        """Listen to the live tail, from when the server says that it does."""
        with Connection(self.gateway.ops_port) as connection:
            connection.head("GET", "/api/requests/stream", self.headers)
            assert connection.read_head().status == 200
            assert b"id: " in connection.read_chunk()
            yield connection


def next_records(connection: Connection, count: int) -> list[dict[str, Any]]:
    """Wait for so many records of a live tail."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        for line in connection.read_chunk().splitlines():
            if line.startswith(b"data: "):
                found.append(json.loads(line.removeprefix(b"data: ")))
    return found
