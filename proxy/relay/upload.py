"""The client's upload: one source, any number of readers from its first byte, and a commit before its last bytes.

A reader pulls: the client is read only as fast as the upstream takes bytes. What passes is observed (form, container,
size) and, when asked for, kept in a spool so that reading can begin again. The last bytes are handed out only when the
whole upload has been found good: no provider can act on a form whose closing delimiter has not arrived.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp.web import RequestPayloadError

from proxy.audio.container import accepts, unsupported_format
from proxy.audio.duration import UNKNOWN_DURATION
from proxy.errors import GatewayError
from proxy.form.observer import FormObserver, check_complete
from proxy.relay.patience import Phase, client_left
from proxy.relay.reading import Follower, Reader
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
    from proxy.relay.spool import Budget
    from proxy.settings import Replay


class Upload:
    """The body of one request.

    ``form`` observes a multipart body; None for every other kind. ``length`` is the Content-Length, None for a chunked
    body. ``limit`` is the largest body in bytes; ``formats`` what the target takes (None: anything);
    ``model_required`` whether a form without ``model`` is refused. These three may be narrowed until the upload is
    committed. ``keeping`` says that what comes is kept for another reader; ``exhausted`` that it could not be, so that
    no other reader can begin; ``shared`` that several read at the same time.
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
        self.keeping = True
        self.exhausted = False
        self.container: Container | None = None
        self.head_size = 0
        self._limit = limit
        self._request = request
        self._source: StreamReader = request.content
        self._chunked = length is None
        self._record = record
        self._patience = patience
        self._spool = Spool(replay, budget)
        self._kept_on_purpose = False
        self._replay = replay
        self._latest = b""  # the one chunk that came when no reader was there, and that nobody has needed again yet
        self._reader: Reader | None = None
        self.shared = False
        self._pulling: asyncio.Future[None] | None = None

    # Reading on, while no attempt is there to take what comes

    async def until(self, ready: Callable[[], bool]) -> None:
        """Read on and keep what comes until ``ready()`` or the end.

        Raises whatever the upload itself fails with, and ``upload_too_large`` when no more can be kept.
        """
        assert self.keeping or self.exhausted, "what an attempt has passed on is not kept"
        while not self.ended and not ready():
            await self._read_on()
            if self.exhausted:
                raise GatewayError(
                    "upload_too_large",
                    "The upload is too large to be kept until it can be sent on. Send the fields before the file.",
                )

    async def gather(self, seconds: float) -> None:
        """Let the client go on for so long before the next attempt, as far as what comes can be kept.

        No target's limits hold meanwhile: the next one's will.
        """
        self.limit, self.formats = self._limit, None
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.keeping and not self.ended:
                    await self._read_on()
                self._patience.enter(Phase.GATEWAY)
                await asyncio.Event().wait()

    async def whole(self, limit: int) -> bytes:
        """Return the whole body, at most ``limit`` bytes: for JSON, which must be read to be changed."""
        self.limit = min(self.limit, limit)
        self._refuse_length()
        await self.until(lambda: False)
        return b"".join(self.kept())

    def kept(self) -> Iterator[bytes]:
        """Return what has come while no attempt took it, from the first byte."""
        yield from iter(self._spool.reader().read, b"")
        if self._latest:
            yield self._latest

    def kept_head(self) -> bytes:
        """Return what came up to the first bytes of the file: enough to plan how the form is rewritten."""
        parts, size = [], 0
        for chunk in self.kept():
            parts.append(chunk)
            size += len(chunk)
            if size >= self.head_size > 0:
                break
        return b"".join(parts)

    @property
    def replay(self) -> Literal["off", "memory", "disk", "exhausted"]:
        """What was made of the upload for the sake of another reader, as records say it."""
        if not self._kept_on_purpose or not self._replay.per_request:
            return "off"
        return "exhausted" if self.exhausted else self._spool.where

    @property
    def replayable(self) -> bool:
        """Whether all that has come can still be sent to another target: it is kept, or nobody has taken it yet."""
        return self.keeping or self._reader is None

    def note_keeping(self) -> None:
        """Take note that the upload is kept because it was needed again, or may be."""
        self._kept_on_purpose = True

    # Reading for an attempt

    def share(self) -> None:
        """Let several readers read at the same time from now on: each from the spool, which one of them fills."""
        self.note_keeping()
        self._keep_latest()
        self.shared = not self.exhausted

    async def more(self, have: int) -> None:
        """Wait until more than ``have`` bytes have come, or the end; who asks first reads for all."""
        while self.received <= have and not self.ended and not self.exhausted:
            if self._pulling is not None:
                await asyncio.shield(self._pulling)
                continue
            self._pulling = asyncio.get_running_loop().create_future()
            try:
                chunk = await self.pull()
                if not self.keeping:
                    self._latest = chunk
            finally:
                self._pulling.set_result(None)
                self._pulling = None

    def reader(self, *, keep: bool) -> Reader:
        """Return a reader from the first byte, in place of any other; ``keep``: another one may be needed."""
        if self.shared:
            return Follower(self, self._spool.reader())
        if keep:
            self.note_keeping()
            self._keep_latest()
        else:
            self.keeping = False
        self._reader = Reader(self, self._spool.reader())
        return self._reader

    def take_over(self, reader: Reader) -> bool:
        """Let ``reader`` be the only one again, if none is: no more can be kept for others."""
        if self._reader is None:
            self._reader = reader
        return self._reader is reader

    def is_read_by(self, reader: Reader) -> bool:
        """Return whether ``reader`` is the one that counts."""
        return self._reader is reader

    def take_latest(self) -> bytes:
        """Return what came beyond the kept bytes while no reader was there; once."""
        chunk, self._latest = self._latest, b""
        return chunk

    def forget(self) -> None:
        """Free what was kept: its last reader has passed it, and no other will come."""
        if not self.keeping:
            self._spool.close()

    @property
    def duration(self) -> Duration:
        """How long the audio is, as far as what has come shows it."""
        file = self.form.file if self.form is not None else None
        return UNKNOWN_DURATION if file is None else file.audio.duration

    @property
    def seconds(self) -> float:
        """The audio that has come so far, in seconds, as far as that can be told while it comes."""
        file = self.form.file if self.form is not None else None
        return 0.0 if file is None else file.audio.seconds

    def close(self) -> None:
        """Free what was kept."""
        self._spool.close()

    # Within

    async def pull(self) -> bytes:
        """Return the next bytes from the client, observed and, if need be, kept; empty at the end."""
        chunk = await self._read()
        if chunk:
            if self.keeping:  # before anything is refused: another target may take what this one does not
                self._keep(chunk)
                if self.exhausted and not self.shared:
                    self.forget()  # whoever pulls has passed it, and it is of no use without the rest
            self._observe(chunk)
        return chunk

    async def _read_on(self) -> None:
        """Read the next bytes while no reader is there. They are kept when that goes on, and not for their own sake."""
        if self.shared:
            await self.more(self.received)
            return
        self._keep_latest()
        if not self.exhausted:
            chunk = self._latest = await self._read()
            if chunk:
                self._observe(chunk)

    async def _read(self) -> bytes:
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
        if self.received == self.length or (self._chunked and self._source.at_eof()):
            self.ended = True  # known without another round: most uploads are here whole by then
            self._record.body_done = now
        return chunk

    def _keep(self, chunk: bytes) -> None:
        try:
            self._spool.append(chunk)
        except SpoolFullError:
            self.keeping, self.exhausted = False, True

    def _keep_latest(self) -> None:
        if self._latest and self.keeping:
            self._keep(self._latest)
            self._latest = self._latest if self.exhausted else b""

    def _observe(self, chunk: bytes) -> None:
        """Look at what has come, and refuse what the target does not take."""
        seen = self.container
        if self.form is not None:
            self.form.feed(chunk)
            if seen is None and self.form.file is not None:
                self.head_size = self.head_size or self.received
                self._look(self.form.file)
        if self.received > self.limit:
            raise too_large(self.limit)
        if self.container is not seen:
            self._refuse_container()

    def _gone(self) -> bool:
        transport = self._request.transport
        return transport is None or transport.is_closing()

    def commit_if_ended(self) -> None:
        """Commit as soon as the last bytes have come."""
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
        self._refuse_container()

    def refusal(self, limit: int, formats: frozenset[str] | None) -> GatewayError | None:
        """Return why a target with these limits cannot be sent this upload, as far as that can be told by now."""
        if self.received > limit or (self.length is not None and self.length > limit):
            return too_large(limit)
        if formats is not None and self.container is not None and not accepts(self.container, formats):
            return unsupported_format(formats, self.container)
        return None

    def _refuse_length(self) -> None:
        if self.length is not None and self.length > self.limit:
            raise too_large(self.limit)

    def _look(self, file: FilePart) -> None:
        """Take note of the container as soon as the file has shown it."""
        self.container = file.audio.container
        if self.container is not None:
            self._record.container = self.container.name

    def _refuse_container(self) -> None:
        container, formats = self.container, self.formats
        if container is not None and formats is not None and not accepts(container, formats):
            raise unsupported_format(formats, container)


def too_large(limit: int) -> GatewayError:
    """Return the refusal of an upload over ``limit`` bytes, in OpenAI's words with the way out."""
    return GatewayError(
        "upload_too_large",
        f"Maximum content size limit ({limit}) exceeded. Compress or split the audio, or ask for a higher "
        "limits.max_upload_bytes.",
    )
