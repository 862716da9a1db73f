"""An upload whose client is a test: it feeds bytes by hand, and nothing happens in between."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

from proxy.form.scanner import FormLimits
from proxy.records.record import Record
from proxy.relay.patience import Patience
from proxy.relay.spool import Budget
from proxy.relay.upload import Upload
from proxy.settings import Replay, Timeouts
from tests.flow.forms import BOUNDARY, field, file, form

if TYPE_CHECKING:
    from proxy.relay.reading import Reader

ROUNDS: Final = 8  # of the loop: more than any read needs that has something to read
MODEL: Final = field("model", "whisper-1")
TAIL: Final = len(f"\r\n--{BOUNDARY}--\r\n")  # what is held back of a form that has not been found good


def small_form(data: bytes = b"audio", *, file_first: bool = False) -> bytes:
    """Return a form of a few hundred bytes."""
    return form(file(data), MODEL) if file_first else form(MODEL, file(data))


class Transport(asyncio.Transport):
    """A connection that nothing comes from by itself."""

    closing = False

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        """Nothing is read anyway."""

    def resume_reading(self) -> None:
        """Nothing is read anyway."""


class Fed:
    """An upload of ``body``, of which nothing has come yet. ``limits`` are the settings' ``replay``."""

    def __init__(
        self,
        body: bytes,
        *,
        chunked: bool = False,
        boundary: str | None = BOUNDARY,
        limit: int = 1 << 30,
        **limits: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.body = body
        self.fed = 0
        self.budget = Budget(limits.get("total", 1 << 30))
        self.record = Record("transcriptions", "POST", 0.0)
        self.transport = Transport()
        protocol = BaseProtocol(loop)
        protocol.transport = self.transport
        self.source = StreamReader(protocol, 1 << 16, loop=loop)
        request: Any = SimpleNamespace(content=self.source, transport=self.transport)
        self.upload = Upload(
            request,
            self.record,
            Patience(Timeouts()),
            boundary=boundary.encode() if boundary is not None else None,
            length=None if chunked else len(body),
            limit=limit,
            fields=FormLimits(),
            replay=Replay(**limits),
            budget=self.budget,
        )

    def feed(self, count: int | None = None) -> None:
        """Let so many more bytes come, or all that are left; the body ends with its last."""
        end = len(self.body) if count is None else min(self.fed + count, len(self.body))
        if end > self.fed:
            self.source.feed_data(self.body[self.fed : end])
            self.fed = end
        if end == len(self.body) and not self.source.is_eof():
            self.source.feed_eof()

    def break_off(self, error: Exception) -> None:
        """Let the body fail."""
        self.source.set_exception(error)


async def soon(reader: Reader) -> bytes | None:
    """Return what ``reader`` has for its upstream now, or None when it waits: it is cancelled then, as by a failure."""
    task = asyncio.ensure_future(reader.read())
    for _ in range(ROUNDS):
        await asyncio.sleep(0)
        if task.done():
            return task.result()
    task.cancel()
    await asyncio.wait([task])
    return None


async def drained(reader: Reader) -> bytes:
    """Return all that ``reader`` has for its upstream now."""
    out = b""
    while chunk := await soon(reader):
        out += chunk
    return out
