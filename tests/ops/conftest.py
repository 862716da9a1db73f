"""The ops listener as these tests meet it: a real server over a real store, and a client that sends what it is told."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Gauge

from proxy.ops.desk import Desk
from proxy.ops.state import State
from proxy.records.exposition import Exposition
from proxy.server.assemble import assemble
from proxy.server.ops import Ops
from proxy.settings import Address, Settings
from proxy.store.open import reader_at, writer_at
from tests.ops.records import record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from multidict import CIMultiDictProxy

TOKEN = "sk-ops-token"
LAST_CHUNK = b"\r\n0\r\n\r\n"


async def to_the_end(reader: asyncio.StreamReader) -> bytes:
    """Read until the connection ends, well or not."""
    got = b""
    with suppress(ConnectionResetError):
        while piece := await reader.read(1 << 20):
            got += piece
    return got


class Reply:
    """A whole answer."""

    def __init__(self, status: int, headers: CIMultiDictProxy[str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        assert self.headers["Content-Type"] == "application/json"
        return json.loads(self.body)

    @property
    def refused(self) -> tuple[int, str]:
        """Status and code of an error's answer, whose shape is checked on the way."""
        document = self.json()
        assert document["status"] == "failure"
        assert document["message"] == document["error"]["message"]
        assert document["error"].keys() == {"message", "type", "param", "code"}
        return self.status, document["error"]["code"]


class Desktop:
    """A listening ops server over a store of its own, and what it shows. ``settings`` may change while it runs."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.state = State()
        self.registry = CollectorRegistry()
        self.draining = Gauge("audiogate_draining", "1 while shutting down.", registry=self.registry)
        self.address = f"sqlite:{folder / 'ops.db'}"
        self.change(settings)
        self.desk = Desk(
            state=self.state,
            exposition=Exposition(self.registry, lambda: None),
            house=lambda: self.house,
            loaded_at=lambda: 1.6e9,
            file="audiogate.yaml",
        )
        self.ops = Ops(self.desk)
        self.url = ""

    def change(self, settings: dict[str, Any]) -> None:
        """Put other settings in force."""
        self.house, mistakes = assemble(Settings.model_validate(settings))
        assert mistakes == ()

    def keep(self, *records: dict[str, Any]) -> None:
        """Write records into the store, the first one first."""
        writer = writer_at(self.address)
        writer.open()
        writer.write(records)
        writer.close()

    async def ask(self, method: str, path: str, *, body: Any = None, **headers: str) -> Reply:
        """Send a request; underscores in the names of headers are hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(method, self.url + path, headers=named, json=body, allow_redirects=False) as reply,
        ):
            return Reply(reply.status, reply.headers, await reply.read())

    async def get(self, path: str, **headers: str) -> Reply:
        """GET a path."""
        return await self.ask("GET", path, **headers)

    @asynccontextmanager
    async def slowly(self, path: str) -> AsyncIterator[asyncio.StreamReader]:
        """GET a path and read no more than the head: the rest is left to the test, as slowly as it likes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.url.rpartition(":")[2]), limit=1024)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            yield reader
        finally:
            writer.close()

    async def log_in(self, token: str = TOKEN) -> str:
        """Log in as the console does; return the cookie to send."""
        reply = await self.ask("POST", "/api/session", body={"token": token}, Origin=self.url)
        assert reply.status == 204
        return reply.headers["Set-Cookie"].partition(";")[0]


@pytest.fixture
def desktop(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Desktop]]:
    """Start ops servers: ``settings`` as in the file, ``store`` whether there is one, ``address`` where it listens."""

    @asynccontextmanager
    async def start(*, store: bool = True, address: str = "127.0.0.1", **settings: Any) -> AsyncIterator[Desktop]:
        made = Desktop(tmp_path, settings)
        made.keep(record("0", said="hello"))
        if store:
            made.desk.reader = reader_at(made.address)
            await made.desk.reader.open()
        try:
            where = await made.ops.start(Address(address, 0))
            made.url = f"http://127.0.0.1:{where.rpartition(':')[2]}"
            yield made
        finally:
            await made.ops.close()
            if made.desk.reader is not None:
                await made.desk.reader.close()

    return start
