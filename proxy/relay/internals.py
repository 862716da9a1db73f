"""Every private name of aiohttp that the gateway uses, each with its reason. A test fails when one of them changes."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import http_parser, web, web_protocol
from aiohttp.client_proto import ResponseHandler

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.connector import Connection


def require_c_parser() -> None:
    """Refuse to run on aiohttp's Python parser: it had most of the smuggling CVEs."""
    if http_parser.HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise RuntimeError(
            "aiohttp runs without its C parser. Install a wheel of aiohttp, and unset AIOHTTP_NO_EXTENSIONS."
        )


def never_resend(session: aiohttp.ClientSession) -> None:
    """Keep aiohttp from sending PUT, DELETE and GET a second time by itself: a streamed body is gone, a bill is not."""
    session._retry_connection = False


_LAST_WORDS: Final = 65_536  # bytes of an answer read from a connection that is lost already: a refusal is short
_FINAL, _REFUSED = 200, 400  # the first of the statuses that end a request, and of those that say no


class UpstreamProtocol(ResponseHandler):
    """aiohttp's client connection, made for streamed uploads.

    It does not wait to be closed for an upstream that takes no more bytes, and it reads what an upstream said before
    it reset the connection: a refusal that comes early in an upload has a reset behind it, and a write that meets the
    reset first would lose the answer, which Linux still keeps. ``uploading`` says that the request has a body.
    """

    uploading = False

    def connection_lost(self, exc: BaseException | None) -> None:
        """Read the last words, then let go. Over TLS what the kernel holds is not for us to read: it stays unread."""
        if (
            isinstance(exc, OSError)
            and self.transport is not None
            and self.transport.get_extra_info("sslcontext") is None
        ):
            for data in _unread(self.transport):
                self.data_received(data)
        super().connection_lost(exc)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Resume, if reading was paused; aiohttp asks for it with every chunk that is taken."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def feed_data(self, data: tuple[Any, Any], size: int = 0) -> None:
        """Take a reply's head; no other request goes the way of an upload that was refused.

        Who refuses an upload early closes behind it, and need not say so. The next attempt, which begins at once, would
        be lost on that connection, and nobody could tell whether it was the upstream that failed.
        """
        status = data[0].code
        if self.uploading and status >= _REFUSED:
            self.force_close()
        if status >= _FINAL:
            self.uploading = False
        super().feed_data(data, size)

    def close(self) -> None:
        """Close; unsent bytes belong to a body that will never be whole, and go with the connection.

        One that has just been lost says so itself, with its last words. aiohttp's writer, which closes when it cannot
        end a chunked body, would take the reply away from whoever is reading it, and tell nobody.
        """
        transport = self.transport
        if transport is not None and transport.is_closing():
            return
        if transport is not None and transport.get_write_buffer_size():
            transport.abort()
        super().close()


class UpstreamRequest(aiohttp.ClientRequest):
    """aiohttp's request, whose body may end on a connection that has just been lost.

    The connection tells of that itself, with what was read of it last; aiohttp would only add a task's exception that
    nobody retrieves.
    """

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        """Write the body."""
        if isinstance(conn.protocol, UpstreamProtocol):
            conn.protocol.uploading = True
        with suppress(aiohttp.ClientConnectionResetError):
            await super().write_bytes(writer, conn, content_length)


on_connect: ContextVar[Callable[[float], None] | None] = ContextVar("on_connect", default=None)
"""Who is told, in the task that sends a request, how many seconds it took to open a connection for it."""


class Connector(aiohttp.TCPConnector):
    """aiohttp's pool, opening its connections as :class:`UpstreamProtocol` and telling how long that takes.

    aiohttp's own tracing costs every request a dozen calls, also those that find a connection open.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        make: Any = functools.partial(UpstreamProtocol, loop=asyncio.get_running_loop())
        self._factory = make

    async def _create_connection(self, *arguments: Any) -> ResponseHandler:
        began = self._loop.time()
        protocol = await super()._create_connection(*arguments)
        if (told := on_connect.get()) is not None:
            told(self._loop.time() - began)
        return protocol


def _unread(transport: asyncio.Transport) -> list[bytes]:
    """Return what the kernel still holds of a connection that was reset."""
    found: list[bytes] = []
    try:
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as rest:
            rest.setblocking(False)
            while data := rest.recv(_LAST_WORDS):
                found.append(data)
    except (OSError, AttributeError):
        return found
    return found


class Reply(web.StreamResponse):
    """A reply whose head goes out with its first bytes, in one write, instead of by itself."""

    _send_headers_immediately = False


class Protocol(web.RequestHandler):
    """aiohttp's connection with a limit of its own for a request's head, beside the one for an idle connection.

    aiohttp has one timer for both. The head's begins with its first byte, and at once on a new connection.
    """

    __slots__ = ("_head_limit", "_head_timer", "_rejected")

    def __init__(self, *args: Any, head_limit: float | None, rejected: Counter[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rejected = rejected
        self._head_limit = head_limit
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the limit for the first head."""
        super().connection_made(transport)
        self._start_head_timer()

    def data_received(self, data: bytes) -> None:
        """Start the limit when a head begins; the timer itself looks whether it ended."""
        super().data_received(data)
        if self._messages:
            self._tell_of_broken_framing()
        elif self._head_timer is None and self._waits_for_head():
            self._start_head_timer()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Resume, if reading was paused; aiohttp asks for it with every chunk that is taken."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def _tell_of_broken_framing(self) -> None:
        """End the body under way when its framing breaks: aiohttp queues the error and lets the body's reader wait."""
        request = self._current_request
        if request is not None and isinstance(self._messages[-1][0], web_protocol._ErrInfo):
            content = request.content
            if not content.is_eof() and content.exception() is None:
                content.set_exception(web.RequestPayloadError("broken chunk framing"))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the parser refused with a bare 400: its words would repeat the client's bytes."""
        if status == 400:
            self._rejected["bad_request"] += 1
        reply = web.Response(status=status)
        reply.force_close()
        return reply

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the timer with the connection."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().connection_lost(exc)

    def _waits_for_head(self) -> bool:
        return self._waiter is not None and not self._waiter.done() and not self._messages

    def _start_head_timer(self) -> None:
        if self._head_limit is not None:
            count = self._request_count
            self._head_timer = self._loop.call_later(self._head_limit, self._head_is_late, count)

    def _head_is_late(self, count: int) -> None:
        self._head_timer = None
        if self._request_count == count and self._waits_for_head():
            self.force_close()
