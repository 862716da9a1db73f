"""Copies an upstream's reply to the client, chunk by chunk, and never makes a cut reply look whole.

Once the head has gone out, the only thing left to do about a failure is to cut the connection.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import web

from proxy.headers import to_client
from proxy.relay.internals import Reply
from proxy.relay.patience import Phase, client_left
from proxy.relay.upstream import broke

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiohttp.client_reqrep import ClientResponse
    from multidict import CIMultiDict

    from proxy.records.record import Record
    from proxy.relay.bill import Bill
    from proxy.relay.patience import Patience

SMALL: Final = 65_536  # bytes of a reply that is read whole before its head goes out: one write, and no torn reply
_BODILESS: Final = frozenset({204, 304})


class Answer:
    """The one answer to a client: an upstream's reply, or the gateway's own word.

    ``extra`` are headers that every answer carries. ``started`` says that the head has gone out.
    """

    def __init__(self, request: web.BaseRequest, record: Record, patience: Patience) -> None:
        self.started = False
        self.extra: dict[str, str] = {}
        self.close_after = False
        self._request = request
        self._record = record
        self._patience = patience
        self._read_ahead: list[bytes] = []

    async def own(self, status: int, body: bytes, headers: Mapping[str, str]) -> web.StreamResponse:
        """Send an answer of the gateway's own; returns it also when nobody is left to read it."""
        reply = Reply(status=status, headers={"Server": "audiogate", **headers, **self.extra})
        if status not in _BODILESS:
            reply.content_length = len(body)
        return await self._send_whole(reply, body)

    async def relay(
        self, upstream: ClientResponse, redact: Iterable[str], bill: Bill, *, hold: bool
    ) -> web.StreamResponse:
        """Send the upstream's reply. ``redact`` are secrets that an error body must not show; ``bill`` reads along.

        ``hold``: another upstream could answer instead, so a short reply of unknown length is read whole first, too.

        Raises GatewayError when it failed: with ``started`` unset it can still be answered.
        """
        headers = to_client(upstream.headers)
        length = _declared(upstream)
        whole = await self._whole(upstream, length, hold=hold)
        if whole is None:
            return await self._stream(upstream, headers, length, bill)
        status = upstream.status
        if status < 300:
            self.extra |= bill.whole(whole, upstream.headers)
        elif status >= 400 and "Content-Encoding" not in upstream.headers:
            for secret in redact:
                whole = whole.replace(secret.encode(), b"***")
        self._add(headers)
        reply = Reply(status=status, reason=upstream.reason, headers=headers)
        if status not in _BODILESS:
            reply.content_length = length if self._request.method == "HEAD" else len(whole)
        return await self._send_whole(reply, whole)

    def _add(self, headers: CIMultiDict[str]) -> None:
        """Lay our headers over the upstream's; what an answer varies by adds up."""
        headers.setdefault("Server", "audiogate")
        for name, value in self.extra.items():
            if name == "Vary":
                headers.add(name, value)
            else:
                headers[name] = value

    async def _whole(self, upstream: ClientResponse, length: int | None, *, hold: bool) -> bytes | None:
        """Return a small reply's body, or None for one that is to be streamed."""
        if self._request.method == "HEAD" or upstream.status in _BODILESS or upstream.status < 200:
            return b""
        held = hold and not upstream.content_type.startswith("audio/")
        wanted = held or upstream.status >= 400
        if upstream.content_type == "text/event-stream" or (length is None and not wanted) or (length or 0) > SMALL:
            return None
        self._patience.enter(Phase.REPLY)
        parts: list[bytes] = []
        size = 0
        try:
            while chunk := await upstream.content.readany():
                parts.append(chunk)
                size += len(chunk)
                self._patience.enter(Phase.REPLY)
                if size > SMALL:  # a reply of unknown length turned out long: it is passed on as it comes
                    self._read_ahead = parts
                    return None
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            raise broke("in the middle of its answer") from None
        return b"".join(parts)

    async def _stream(
        self, upstream: ClientResponse, headers: CIMultiDict[str], length: int | None, bill: Bill
    ) -> web.StreamResponse:
        good = upstream.status < 300
        observed = good and bill.open(upstream.headers)
        # Bytes that are here already go out with the head; a head alone must not wait for an event that may be far.
        kind = Reply if upstream.content.total_bytes or self._read_ahead else web.StreamResponse
        self._add(headers)
        reply = kind(status=upstream.status, reason=upstream.reason, headers=headers)
        if length is not None:
            reply.content_length = length
        if self.close_after:
            reply.force_close()
        record, patience, loop = self._record, self._patience, asyncio.get_running_loop()
        await reply.prepare(self._request)
        self.started = True
        record.status = upstream.status
        record.answered = loop.time()
        try:
            for chunk in self._read_ahead:
                if observed:
                    bill.feed(chunk)
                await self._write(reply, chunk)
            while True:
                patience.enter(Phase.REPLY)
                try:
                    chunk = await upstream.content.readany()
                except (aiohttp.ClientError, ConnectionError, TimeoutError):
                    raise broke("in the middle of its answer") from None
                patience.enter(Phase.READER)
                if not chunk:
                    break
                if observed:
                    bill.feed(chunk)
                await self._write(reply, chunk)
            await self._end(reply)
        finally:
            if good:
                bill.close()
        return reply

    async def _write(self, reply: web.StreamResponse, chunk: bytes) -> None:
        try:
            await reply.write(chunk)
        except (ConnectionError, aiohttp.ClientError) as error:
            raise client_left() from error
        self._record.bytes_out += len(chunk)

    async def _end(self, reply: web.StreamResponse) -> None:
        try:
            await reply.write_eof()
        except (ConnectionError, aiohttp.ClientError) as error:
            raise client_left() from error

    async def _send_whole(self, reply: Reply, body: bytes) -> web.StreamResponse:
        if self.close_after:
            reply.force_close()
        self._patience.enter(Phase.READER)
        self.started = True
        self._record.status = reply.status
        self._record.answered = asyncio.get_running_loop().time()
        try:
            await reply.prepare(self._request)
            await reply.write_eof(b"" if self._request.method == "HEAD" else body)
        except (ConnectionError, aiohttp.ClientError) as error:
            raise client_left() from error
        self._record.bytes_out += len(body)
        return reply

    def cut(self) -> None:
        """End the connection so that nobody takes what was sent for the whole."""
        transport = self._request.transport
        if transport is not None:
            transport.abort()


def _declared(upstream: ClientResponse) -> int | None:
    """Return the reply's Content-Length; the parser has refused whatever is not a number."""
    value = upstream.headers.get("Content-Length")
    return int(value) if value is not None and "Transfer-Encoding" not in upstream.headers else None
