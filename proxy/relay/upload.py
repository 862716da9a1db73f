"""The client's upload: one source, any number of sequential readers, and a commit before its last bytes.

A reader pulls: the client is read only as fast as the upstream takes bytes. What passes is observed (form, container,
size) and, when asked for, kept in a spool so that reading can begin again. The last bytes are handed out only when the
whole upload has been found good: no provider can act on a form whose closing delimiter has not arrived.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp.web import RequestPayloadError

from proxy.audio.container import UNKNOWN, accepts, unsupported_format
from proxy.audio.duration import UNKNOWN_DURATION
from proxy.errors import GatewayError
from proxy.form.observer import FormObserver, check_complete
from proxy.relay.patience import Phase, client_left
from proxy.relay.spool import Spool, SpoolFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    from aiohttp import StreamReader
    from aiohttp.web import BaseRequest

    from proxy.audio.container import Container
    from proxy.audio.duration import Duration
    from proxy.form.observer import FilePart
    from proxy.form.scanner import FormLimits
    from proxy.records.record import Record
    from proxy.relay.patience import Patience
    from proxy.relay.spool import Budget, SpoolReader
    from proxy.settings import Replay

_CLOSING: Final = len(b"\r\n----\r\n")  # what a closing delimiter has beside its boundary (RFC 2046, 5.1.1)


class Upload:
    """The body of one request.

    ``form`` observes a multipart body; None for every other kind. ``length`` is the Content-Length, None for a chunked
    body. ``limit`` is the largest body in bytes; ``formats`` what the target takes (None: anything);
    ``model_required`` whether a form without ``model`` is refused. These three may be narrowed until the upload is
    committed.
    """

    def __init__(
        self,
        request: BaseRequest,
        record: Record,
        patience: Patience,
        *,
        boundary: bytes | None,
        length: int | None,
        limit: int,
        fields: FormLimits,
        replay: Replay,
        budget: Budget,
    ) -> None:
        self.form = FormObserver(boundary, fields) if boundary is not None else None
        self.boundary = boundary
        self.length = length
        self.limit = limit
        self.formats: frozenset[str] | None = None
        self.model_required = False
        self.received = 0
        self.ended = False
        self.committed = False
        self.reading = False
        self.container: Container | None = None
        self._request = request
        self._source: StreamReader = request.content
        self._chunked = length is None
        self._record = record
        self._patience = patience
        self._spool = Spool(replay, budget)
        self._keeping = True
        self._again: SpoolReader | None = None
        self._tail = len(boundary) + _CLOSING if boundary is not None else 0
        self._position = 0
        self._held = b""

    # Reading on, ahead of any attempt

    async def until(self, ready: Callable[[], bool]) -> None:
        """Read on and keep what comes until ``ready()`` or the end; only before the first attempt.

        Raises whatever the upload itself fails with, and ``upload_too_large`` when no more can be kept.
        """
        assert self._keeping, "what an attempt has passed on is not kept"
        while not self.ended and not ready():
            await self._next()

    async def whole(self, limit: int) -> bytes:
        """Return the whole body, at most ``limit`` bytes: for JSON, which must be read to be changed."""
        self.limit = min(self.limit, limit)
        self._refuse_length()
        await self.until(lambda: False)
        return b"".join(self.kept())

    def kept(self) -> Iterator[bytes]:
        """Return what was kept so far, from the first byte."""
        return iter(self._spool.reader().read, b"")

    @property
    def kept_in(self) -> Literal["memory", "disk"]:
        """Where the last bytes were kept."""
        return self._spool.where

    # Reading for an attempt

    def rewind(self) -> None:
        """Begin at the first byte: what was kept comes first, then what the client sends on. That is not kept."""
        self._keeping = False
        self._again = self._spool.reader()
        self._position = 0
        self._held = b""

    async def read(self) -> bytes:
        """Return the next bytes that may go out; empty at the end, when the upload has been committed."""
        while True:
            if self._again is not None:
                chunk = self._again.read()
                if not chunk:
                    self._again = None
                    self._spool.close()
                    continue
            elif self.ended:
                self.commit()
                held, self._held = self._held, b""
                return held
            else:
                chunk = await self._next()
                self._commit_if_whole()
            if self.committed:  # nothing is held back of an upload that has been found good
                chunk, self._held = self._held + chunk, b""
            elif self._tail:
                chunk = self._release(chunk)
            if chunk:
                return chunk

    @property
    def duration(self) -> Duration:
        """How long the audio is, as far as what has come shows it."""
        file = self.form.file if self.form is not None else None
        return UNKNOWN_DURATION if file is None else file.audio.duration

    def close(self) -> None:
        """Free what was kept."""
        self._spool.close()

    # Within

    async def _next(self) -> bytes:
        """Return the next bytes from the client, observed and, if need be, kept; empty at the end."""
        self._patience.enter(Phase.CLIENT)
        self.reading = True
        try:
            # One buffer at a time: joining them is a copy. Chunked bodies are joined, or tiny chunks would stay tiny.
            chunk = await self._source.readany() if self._chunked else (await self._source.readchunk())[0]
        except asyncio.CancelledError:
            raise
        except RequestPayloadError:
            if self._gone():
                raise client_left() from None
            raise GatewayError("truncated_upload", "The upload is not properly chunked. Check what sends it.") from None
        except Exception as error:
            raise client_left() from error
        finally:
            self.reading = False
            self._patience.enter(Phase.GATEWAY)
        now = asyncio.get_running_loop().time()
        if not chunk:
            self.ended = True
            self._record.body_done = now
            return chunk
        if self._record.body_started is None:
            self._record.body_started = now
        self.received += len(chunk)
        self._record.bytes_in = self.received
        if self.received > self.limit:
            raise too_large(self.limit)
        if self.received == self.length or (self._chunked and self._source.at_eof()):
            self.ended = True  # known without another round: most uploads are here whole by then
            self._record.body_done = now
        if self.form is not None:
            self.form.feed(chunk)
            if self.container is None and self.form.file is not None:
                self._look(self.form.file)
        if self._keeping:
            try:
                self._spool.append(chunk)
            except SpoolFullError:
                raise GatewayError(
                    "upload_too_large",
                    "The upload is too large to be kept until it can be sent on. Send the fields before the file.",
                ) from None
        return chunk

    def _gone(self) -> bool:
        transport = self._request.transport
        return transport is None or transport.is_closing()

    def _release(self, chunk: bytes) -> bytes:
        """Hold back the closing delimiter's length at the end of the form, and never a byte before it.

        With a Content-Length the end is known by count; without one, that many bytes are carried from chunk to chunk.
        """
        self._position += len(chunk)
        if self.length is not None:
            excess = self._position - (self.length - self._tail)
            if excess <= 0:
                return chunk
        else:
            excess = self._tail
        data = self._held + chunk if self._held else chunk
        keep = min(excess, len(data))
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep]

    def _commit_if_whole(self) -> None:
        if self.ended:
            self.commit()

    def commit(self) -> None:
        """Check, once, everything that only the end can tell; from here on the last bytes may go out."""
        if not self.committed:
            self._check()
            self.committed = True

    def _check(self) -> None:
        """Refuse an upload that has ended without being whole and good; nothing has been committed then."""
        if self.length is not None and self.received != self.length:
            raise client_left()  # the parser would have said so: the last line of defence for a shared connection
        form = self.form
        if form is None:
            return
        form.finish()
        check_complete(form, model_required=self.model_required)

    def narrow(self, *, limit: int, formats: frozenset[str] | None, model_required: bool) -> None:
        """Apply the target's own limits, to what has passed already too."""
        self.limit, self.formats, self.model_required = limit, formats, model_required
        self._refuse_length()
        if self.received > limit:
            raise too_large(limit)
        if self.container is not None:
            self._refuse_container(self.container)

    def _refuse_length(self) -> None:
        if self.length is not None and self.length > self.limit:
            raise too_large(self.limit)

    def _look(self, file: FilePart) -> None:
        """Take note of the container as soon as the file has shown it."""
        self.container = file.audio.container
        if self.container is not None:
            self._record.container = self.container.name
            self._refuse_container(self.container)

    def _refuse_container(self, container: Container) -> None:
        if self.formats is not None and container is not UNKNOWN and not accepts(container, self.formats):
            raise unsupported_format(self.formats, container)


def too_large(limit: int) -> GatewayError:
    """Return the refusal of an upload over ``limit`` bytes, in OpenAI's words with the way out."""
    return GatewayError(
        "upload_too_large",
        f"Maximum content size limit ({limit}) exceeded. Compress or split the audio, or ask for a higher "
        "limits.max_upload_bytes.",
    )
