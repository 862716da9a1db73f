"""Reads an upload for one attempt: what was kept, then what comes; the last bytes only once it is committed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from proxy.errors import GatewayError

if TYPE_CHECKING:
    from proxy.relay.spool import SpoolReader
    from proxy.relay.upload import Upload

_CLOSING: Final = len(b"\r\n----\r\n")  # what a closing delimiter has beside its boundary (RFC 2046, 5.1.1)


class Reader:
    """Reads one upload from its first byte; an upload makes it, and makes another for the next attempt.

    Until the upload has been found good, as many bytes as a closing delimiter has are held back at its end, and never
    a byte before them: with a Content-Length the end is known by count; without one, that many are carried from chunk
    to chunk.
    """

    def __init__(self, upload: Upload, kept: SpoolReader) -> None:
        self._upload = upload
        self._kept: SpoolReader | None = kept
        self._tail = len(upload.boundary) + _CLOSING if upload.boundary is not None else 0
        self._position = 0
        self._taken = 0  # bytes, by a follower
        self._held = b""

    async def read(self) -> bytes:
        """Return the next bytes that may go out; empty at the end. Waits for ever once another reader has begun."""
        upload = self._upload
        while True:
            if not upload.is_read_by(self):
                await asyncio.Event().wait()
            if self._kept is not None:
                chunk = self._next_kept(self._kept)
            elif upload.ended:
                upload.commit()
                held, self._held = self._held, b""
                return held
            else:
                chunk = await upload.pull()
                upload.commit_if_ended()
            if chunk := self._passed(chunk):
                return chunk

    def _passed(self, chunk: bytes) -> bytes:
        """Return what may go out now of what was held back and ``chunk``."""
        if self._upload.committed:  # nothing is held back of an upload that has been found good
            chunk, self._held = self._held + chunk, b""
            return chunk
        return self._release(chunk) if self._tail else chunk

    def _next_kept(self, kept: SpoolReader) -> bytes:
        chunk = kept.read()
        if chunk:
            return chunk
        self._kept = None
        self._upload.forget()
        return self._upload.take_latest()

    def _release(self, chunk: bytes) -> bytes:
        self._position += len(chunk)
        length = self._upload.length
        if length is not None:
            excess = self._position - (length - self._tail)
            if excess <= 0:
                return chunk
        else:
            excess = self._tail
        data = self._held + chunk if self._held else chunk
        keep = min(excess, len(data))
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep]


class Follower(Reader):
    """One of several that read the same upload at the same time: each at its own pace, from the spool.

    When no more can be kept, the first of them that gets there goes on alone; the others have lost the upload.
    """

    async def read(self) -> bytes:
        """Return the next bytes that may go out; empty at the end. Raises GatewayError when the upload is lost."""
        upload, kept = self._upload, self._kept
        if kept is None:  # alone by now
            return await super().read()
        while True:
            chunk = kept.read()
            if not chunk and upload.exhausted:
                if not upload.take_over(self):
                    raise GatewayError("upload_too_large", "The upload is too large to be kept for several upstreams.")
                return await super().read()
            if not chunk:
                if not upload.ended:
                    await upload.more(self._taken)
                    continue
                upload.commit()
                held, self._held = self._held, b""
                return held
            self._taken += len(chunk)
            upload.commit_if_ended()
            if chunk := self._passed(chunk):
                return chunk
