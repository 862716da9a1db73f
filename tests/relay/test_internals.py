"""The private names of aiohttp that the gateway leans on: this fails when one of them goes or means something else."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
from collections import Counter
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import http_parser, web
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from proxy.relay.internals import (
    Connector,
    Protocol,
    Reply,
    UpstreamProtocol,
    UpstreamRequest,
    never_resend,
    on_connect,
    require_c_parser,
)


def test_the_c_parser_is_there_and_its_absence_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    require_c_parser()
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    with pytest.raises(RuntimeError, match="C parser"):
        require_c_parser()


async def test_a_session_resends_unless_told_otherwise() -> None:
    async with aiohttp.ClientSession() as session:
        assert session._retry_connection is True
        never_resend(session)
        assert session._retry_connection is False


def test_a_session_asks_this_flag_before_it_resends() -> None:
    assert "_retry_connection" in inspect.getsource(aiohttp.ClientSession._request)


async def test_a_connector_makes_its_connections_by_its_factory() -> None:
    plain, ours = aiohttp.TCPConnector(), Connector()
    assert type(plain._factory()) is ResponseHandler
    assert type(ours._factory()) is UpstreamProtocol
    assert "self._factory" in inspect.getsource(aiohttp.TCPConnector)
    await plain.close()
    await ours.close()


async def test_a_connector_tells_how_long_opening_a_connection_took_and_nothing_of_a_reused_one() -> None:
    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(text="here")

    told: list[float] = []
    server = web.ServerRunner(web.Server(answer))
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    on_connect.set(told.append)
    async with aiohttp.ClientSession(connector=Connector()) as session:
        for _ in range(3):
            async with session.get(f"http://127.0.0.1:{server.addresses[0][1]}") as reply:
                assert await reply.text() == "here"
    await server.cleanup()
    (seconds,) = told
    assert seconds > 0


@pytest.mark.parametrize(
    ("method", "status", "connections"), [("POST", 200, 1), ("POST", 400, 3), ("POST", 503, 3), ("GET", 404, 1)]
)
async def test_no_other_request_goes_the_way_of_an_upload_that_was_refused(
    method: str, status: int, connections: int
) -> None:
    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=status)

    server = web.ServerRunner(web.Server(answer))
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    opened: list[float] = []
    on_connect.set(opened.append)
    url = f"http://127.0.0.1:{server.addresses[0][1]}"
    async with aiohttp.ClientSession(connector=Connector(), request_class=UpstreamRequest) as session:
        for _ in range(3):
            async with session.request(method, url, data=b"audio" if method == "POST" else None) as reply:
                assert reply.status == status
                await reply.read()
    await server.cleanup()
    assert len(opened) == connections


async def test_the_end_of_a_body_on_a_lost_connection_is_nobodys_unretrieved_exception() -> None:
    class Lost:
        async def write_eof(self) -> None:
            raise aiohttp.ClientConnectionResetError

    def request(kind: type[aiohttp.ClientRequest]) -> aiohttp.ClientRequest:
        return kind("POST", URL("http://127.0.0.1/"), loop=asyncio.get_running_loop(), session=session)

    lost: Any = Lost()
    async with aiohttp.ClientSession(connector=Connector()) as session:
        with pytest.raises(aiohttp.ClientConnectionResetError):
            await request(aiohttp.ClientRequest).write_bytes(lost, Mock())
        closed = Mock()
        await request(UpstreamRequest).write_bytes(lost, closed)
        assert closed.close.called
    assert "self.write_bytes(" in inspect.getsource(aiohttp.ClientRequest.send)


async def test_who_reads_a_reply_learns_that_its_connection_was_lost_also_when_the_writer_saw_it_first() -> None:
    protocol, transport = UpstreamProtocol(asyncio.get_running_loop()), Mock()
    transport.is_closing.return_value = False
    transport.get_extra_info.return_value = None  # neither TLS, nor a socket of which the kernel holds anything more
    protocol.connection_made(transport)
    protocol.set_response_params()
    protocol.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    _, reply = await protocol.read()
    transport.is_closing.return_value = True
    protocol.close()
    protocol.connection_lost(ConnectionResetError(104, "reset"))
    with pytest.raises(aiohttp.ClientPayloadError):
        await asyncio.wait_for(reply.readany(), 1)


@pytest.mark.parametrize("context", [None, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)], ids=["plain", "tls"])
async def test_what_the_kernel_still_holds_of_a_lost_connection_is_read_unless_it_is_encrypted(
    context: ssl.SSLContext | None,
) -> None:
    protocol, transport = UpstreamProtocol(asyncio.get_running_loop()), Mock()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        transport.get_extra_info.side_effect = {"sslcontext": context, "socket": ours}.get
        protocol.connection_made(transport)
        protocol.set_response_params()
        protocol.connection_lost(ConnectionResetError(104, "reset"))
        if context is None:
            head, _ = await protocol.read()
            assert head.code == 413
        else:
            with pytest.raises(aiohttp.ClientOSError):
                await protocol.read()


def test_a_reply_sends_its_head_by_itself_unless_told_otherwise() -> None:
    assert web.StreamResponse._send_headers_immediately is True
    assert Reply._send_headers_immediately is False
    assert "_send_headers_immediately" in inspect.getsource(web.StreamResponse)


@pytest.mark.parametrize("name", ["_waiter", "_messages", "_request_count"])
def test_a_connection_still_has_what_the_heads_timer_looks_at(name: str) -> None:
    assert name in web.RequestHandler.__slots__
    assert f"self.{name}" in inspect.getsource(web.RequestHandler)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("connection_made", ["self", "transport"]),
        ("connection_lost", ["self", "exc"]),
        ("data_received", ["self", "data"]),
        ("handle_error", ["self", "request", "status", "exc", "message"]),
        ("force_close", ["self"]),
    ],
)
def test_the_methods_that_are_overridden_keep_their_parameters(name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(web.RequestHandler, name)).parameters) == parameters
    assert list(inspect.signature(getattr(Protocol, name)).parameters) == parameters


async def test_a_new_connection_waits_for_a_head_and_a_request_ends_the_wait() -> None:
    served = asyncio.Event()

    async def handle(_request: web.BaseRequest) -> web.Response:
        served.set()
        assert not protocols[0]._waits_for_head()
        return web.Response()

    server = web.Server(handle)
    protocols: list[Protocol] = []

    def make() -> Protocol:
        loop = asyncio.get_running_loop()
        protocols.append(Protocol(server, loop=loop, head_limit=None, rejected=Counter()))
        return protocols[-1]

    listener = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert served.is_set()
    assert protocols[0]._request_count == 1
    writer.close()
    await writer.wait_closed()
    listener.close()
    await server.shutdown()
