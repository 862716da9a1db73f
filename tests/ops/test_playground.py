"""The playground hands an upload on while it comes and the reply back while that comes, and keeps our secrets here."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from proxy.ops import playground as module
from proxy.ops.playground import loopback_url
from tests.ops.conftest import LAST_CHUNK, TOKEN, to_the_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.ops.conftest import Desktop

    Start = Callable[..., AbstractAsyncContextManager[Desktop]]

WAIT = 8.0  # seconds before a test gives up on an event
PATH = "/api/playground/transcriptions"


class Gateway:
    """A server that takes one request, a step at a time, as the test says."""

    def __init__(self) -> None:
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter
        self.called = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.called.set()

    async def head(self) -> dict[str, str]:
        """Wait for a request's head; return its headers in lower case, the request line under the empty name."""
        async with asyncio.timeout(WAIT):
            await self.called.wait()
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        return {"": first} | {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    async def body(self, count: int) -> bytes:
        """Wait for so many bytes."""
        async with asyncio.timeout(WAIT):
            return await self.reader.readexactly(count)

    async def left(self) -> bool:
        """Wait for the other side to end the connection."""
        async with asyncio.timeout(WAIT):
            with suppress(ConnectionError):
                while await self.reader.read(65_536):
                    pass
        return True

    def say(self, text: bytes) -> None:
        self.writer.write(text)


@asynccontextmanager
async def gateway_of(ops: Desktop) -> AsyncIterator[Gateway]:
    """Put a gateway behind a playground."""
    gateway = Gateway()
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
    gateway.port = server.sockets[0].getsockname()[1]
    ops.desk.gateway = f"http://127.0.0.1:{gateway.port}"
    try:
        yield gateway
    finally:
        if gateway.called.is_set():
            gateway.writer.close()
        server.close()


class Page:
    """A page's side of an upload, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(WAIT):
            return await self.reader.readuntil(mark)


@asynccontextmanager
async def page_of(ops: Desktop, *headers: str, path: str = PATH) -> AsyncIterator[Page]:
    """Begin an upload; the framing is among ``headers``."""
    host = ops.url.removeprefix("http://")
    reader, writer = await asyncio.open_connection(*host.split(":"))
    try:
        lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: multipart/form-data; boundary=x", *headers]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        yield Page(reader, writer)
    finally:
        writer.close()


@pytest.mark.parametrize("what", ["transcriptions", "translations"])
async def test_the_gateway_gets_the_first_byte_before_the_last_was_sent(desktop: Start, what: str) -> None:
    async with (
        desktop() as ops,
        gateway_of(ops) as gateway,
        page_of(ops, "Content-Length: 10", path=f"/api/playground/{what}") as page,
    ):
        page.send(b"first")
        head = await gateway.head()
        assert head[""] == f"POST /v1/audio/{what} HTTP/1.1"
        assert head["content-length"] == "10"
        assert head["content-type"] == "multipart/form-data; boundary=x"
        assert await gateway.body(5) == b"first"
        page.send(b"-last")
        assert await gateway.body(5) == b"-last"
        gateway.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Portkey-Trace-Id: t\r\n\r\n{}")
        answer = await page.until(b"{}")
        assert b"X-Portkey-Trace-Id: t\r\n" in answer


async def test_a_chunked_upload_is_chunked_on(desktop: Start) -> None:
    async with desktop() as ops, gateway_of(ops) as gateway, page_of(ops, "Transfer-Encoding: chunked") as page:
        head = await gateway.head()
        page.send(b"3\r\nabc\r\n")
        assert head["transfer-encoding"] == "chunked"
        assert await gateway.body(8) == b"3\r\nabc\r\n"
        page.send(b"0\r\n\r\n")
        assert await gateway.body(5) == b"0\r\n\r\n"


async def test_events_come_back_one_by_one_as_they_are_written(desktop: Start) -> None:
    async with desktop() as ops, gateway_of(ops) as gateway, page_of(ops, "Content-Length: 0") as page:
        await gateway.head()
        gateway.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b"text/event-stream" in await page.until(b"\r\n\r\n")
        for number in range(3):
            event = b"data: %d\n\n" % number
            gateway.say(b"%x\r\n%b\r\n" % (len(event), event))
            assert event in await page.until(b"\n\n")
        gateway.say(b"0\r\n\r\n")
        assert (await page.until(LAST_CHUNK)).endswith(LAST_CHUNK)


async def test_an_early_refusal_comes_back_before_the_upload_has_ended(desktop: Start) -> None:
    async with desktop() as ops, gateway_of(ops) as gateway, page_of(ops, "Content-Length: 1000000") as page:
        page.send(b"x" * 1000)
        await gateway.head()
        gateway.say(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope")
        answer = await page.until(b"nope")
        assert answer.startswith(b"HTTP/1.1 401")


async def test_a_reply_that_breaks_off_never_looks_whole(desktop: Start) -> None:
    async with desktop() as ops, gateway_of(ops) as gateway, page_of(ops, "Content-Length: 0") as page:
        await gateway.head()
        gateway.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await page.until(b"half")
        gateway.writer.close()
        assert not (await to_the_end(page.reader)).endswith(LAST_CHUNK)


@pytest.mark.parametrize("sent", [0, 5])
async def test_a_page_that_leaves_ends_the_request_at_the_gateway(desktop: Start, sent: int) -> None:
    async with desktop() as ops, gateway_of(ops) as gateway, page_of(ops, "Content-Length: 5") as page:
        page.send(b"x" * sent)
        await gateway.head()
        await gateway.body(sent)
        page.writer.close()
        assert await gateway.left()


@pytest.mark.parametrize(
    ("header", "passes"),
    [
        ("x-portkey-config: default", True),
        ("x-portkey-provider: openai", True),
        ("Authorization: Bearer sk-ops-of-a-provider", True),
        (f"Authorization: Bearer {TOKEN}", False),
        (f"x-portkey-api-key: {TOKEN}", False),
        ("x-portkey-api-key: sk-ops-gateway-key", True),
        ("Cookie: audiogate_session_1=a; b=c", False),
        ("Referer: http://127.0.0.1/playground", False),
        ("Sec-Fetch-Mode: cors", False),
        ("User-Agent: Firefox", True),
    ],
)
async def test_only_what_is_for_the_gateway_goes_there(desktop: Start, header: str, passes: bool) -> None:
    known = [] if TOKEN in header else [f"Authorization: Bearer {TOKEN}"]
    if "sk-ops-of-a-provider" in header:
        known = [f"x-portkey-api-key: {TOKEN}"]
    name, _, value = header.partition(": ")
    async with (
        desktop(ops={"token": TOKEN}) as ops,
        gateway_of(ops) as gateway,
        page_of(ops, "Content-Length: 0", header, *known),
    ):
        head = await gateway.head()
        assert head.get(name.lower()) == (value if passes else None)
        assert TOKEN not in str(head)
        assert "origin" not in head
        assert head["host"] == f"127.0.0.1:{gateway.port}"


async def test_with_a_session_the_bearer_is_the_providers(desktop: Start) -> None:
    async with desktop(ops={"token": TOKEN}) as ops, gateway_of(ops) as gateway:
        cookie = await ops.log_in()
        headers = ("Content-Length: 0", f"Cookie: {cookie}", f"Origin: {ops.url}", "Authorization: Bearer sk-ops-up")
        async with page_of(ops, *headers):
            head = await gateway.head()
            assert head["authorization"] == "Bearer sk-ops-up"
            assert head.keys().isdisjoint({"cookie", "origin"})


async def test_the_upload_of_another_page_goes_nowhere(desktop: Start) -> None:
    async with desktop() as ops, gateway_of(ops) as gateway:
        async with page_of(ops, "Content-Length: 0", "Origin: https://evil.example.com") as page:
            assert b"403" in await page.until(b"\r\n")
        assert not gateway.called.is_set()


async def test_a_gateway_that_is_away_is_said(desktop: Start) -> None:
    async with desktop() as ops:
        assert (await ops.ask("POST", PATH)).refused == (503, "starting")
        ops.desk.gateway = "http://127.0.0.1:1"
        assert (await ops.ask("POST", PATH)).refused == (502, "gateway_unreachable")


async def test_there_is_an_end_to_how_many_may_upload(desktop: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    async with desktop() as ops, gateway_of(ops) as gateway:
        async with page_of(ops, "Content-Length: 1"):
            await gateway.head()
            assert (await ops.ask("POST", PATH)).refused == (503, "overloaded")
        assert await gateway.left()


async def test_a_page_learns_what_it_may_choose(desktop: Start) -> None:
    settings: dict[str, Any] = {
        "auth": {"mode": "keys", "keys": [{"name": "app", "key": "sk-ops-key"}]},
        "virtual_keys": [{"slug": "vk", "provider": "openai", "key": "sk-ops-vk"}],
        "providers": [{"slug": "local", "dialect": "openai", "base_url": "http://127.0.0.1:9/v1", "auth": "none"}],
        "configs": [{"slug": "main", "config": {"virtual_key": "vk"}}],
        "default_config": "main",
    }
    async with desktop(**settings) as ops:
        shown = (await ops.get("/api/playground")).json()
        assert shown["keys_needed"] is True
        assert {"kind": "config", "name": "main", "note": "the default"} in shown["targets"]
        assert {"kind": "virtual_key", "name": "vk", "note": "openai"} in shown["targets"]
        assert {"kind": "provider", "name": "local", "note": "needs no key"} in shown["targets"]
        assert {"kind": "provider", "name": "groq", "note": "needs its key"} in shown["targets"]
        assert shown["formats"][:2] == ["json", "text"]
        assert {"provider": "openai", "model": "whisper-1"} in shown["models"]
        assert not [model for model in shown["models"] if model["model"] in {"*", "tts-1"}]
        assert "sk-ops" not in str(shown)


@pytest.mark.parametrize(
    ("bound", "url"),
    [
        ("127.0.0.1:8787", "http://127.0.0.1:8787"),
        ("0.0.0.0:1", "http://127.0.0.1:1"),
        ("[::]:1", "http://[::1]:1"),
        (":1", "http://127.0.0.1:1"),
        ("10.0.0.7:80", "http://10.0.0.7:80"),
        ("[fd00::1]:80", "http://[fd00::1]:80"),
    ],
)
def test_the_gateway_is_reached_on_this_machine(bound: str, url: str) -> None:
    assert loopback_url(bound) == url
