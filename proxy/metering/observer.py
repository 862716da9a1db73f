"""Reads what was used from a reply beside its stream: from JSON, from an event stream, or not at all.

The reply's own Content-Type decides, never what was asked for: providers leave out streaming, or formats, that their
model does not know. Plain text, subtitles and audio say nothing, and cost nothing to observe.
"""

from __future__ import annotations

import zlib
from typing import Final

import orjson

from proxy.metering.eventstream import EventStream
from proxy.metering.jsonwalk import TopLevel
from proxy.metering.usage import MEMBERS, Usage, usage_of

_WHOLE: Final = 262_144  # bytes of JSON that are kept and parsed at once: all replies but those with a long word list

# What one chunk of a compressed reply may grow to. JSON with a time for every word shrinks to a tenth; deflate can give
# a thousandfold, and does so only for what is meant to.
_GROWTH: Final = 32  # times its own size
_FREE_GROWTH: Final = 65_536  # bytes: small chunks may grow more, and a byte or two always does
_PIECE: Final = 65_536  # bytes that are inflated at a time

_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's window sizes, which also say what is around the deflated data


class ReplyObserver:
    """Takes a reply's bytes in order, cut anywhere, and says at the end what was used.

    This one observes nothing, for replies that tell nothing. No observer raises, whatever the bytes.
    """

    __slots__ = ()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the reply; an empty chunk is none."""

    def finish(self) -> Usage | None:
        """Return what the reply said was used; None when it said nothing, or was not whole."""
        return None


_NOTHING: Final = ReplyObserver()


def observer_for(content_type: str, content_encoding: str | None = None) -> ReplyObserver:
    """Return the observer for a reply with these headers; parameters of the content type are not looked at."""
    media_type = content_type.partition(";")[0].strip().lower()
    observer: ReplyObserver
    if media_type == "application/json":
        observer = _JsonObserver()
    elif media_type == "text/event-stream":
        observer = _EventObserver()
    else:
        return _NOTHING
    if not content_encoding:
        return observer
    match content_encoding.strip().lower():
        case "identity" | "":
            return observer
        case "gzip" | "x-gzip":
            return _InflatingObserver(observer, _GZIP)
        case "deflate":
            return _InflatingObserver(observer, _ZLIB)
        case _:  # br, zstd, several: audio routes ask upstreams for none at all
            return _NOTHING


def usage_in(body: bytes, content_type: str, content_encoding: str | None = None) -> Usage | None:
    """Return what a reply with this whole body says was used; None when it says nothing."""
    if not content_encoding and content_type == "application/json" and len(body) <= _WHOLE:
        try:
            return usage_of(orjson.loads(body))
        except ValueError:
            return None
    observer = observer_for(content_type, content_encoding)
    observer.feed(body)
    return observer.finish()


class _JsonObserver(ReplyObserver):
    """Keeps a short document and parses it at the end; walks a long one."""

    __slots__ = ("_kept", "_walk")

    def __init__(self) -> None:
        self._kept = bytearray()
        self._walk: TopLevel | None = None

    def feed(self, chunk: bytes) -> None:
        if self._walk is not None:
            self._walk.feed(chunk)
            return
        self._kept += chunk
        if len(self._kept) > _WHOLE:
            self._walk = TopLevel(MEMBERS)
            self._walk.feed(bytes(self._kept))
            self._kept = bytearray()

    def finish(self) -> Usage | None:
        if self._walk is not None:
            return usage_of(self._walk.finish())
        try:
            return usage_of(orjson.loads(self._kept))
        except ValueError:
            return None


class _EventObserver(ReplyObserver):
    """Reads the events that carry usage; the last word counts."""

    __slots__ = ("_stream",)

    def __init__(self) -> None:
        self._stream = EventStream()

    def feed(self, chunk: bytes) -> None:
        self._stream.feed(chunk)

    def finish(self) -> Usage | None:
        return self._stream.finish()


class _InflatingObserver(ReplyObserver):
    """Decompresses for another observer; gives up on what is damaged, and on what grows beyond all measure."""

    __slots__ = ("_begun", "_inflate", "_inner", "_window")

    def __init__(self, inner: ReplyObserver, window: int) -> None:
        self._inner = inner
        self._window = window
        self._inflate = zlib.decompressobj(window)
        self._begun = False

    def feed(self, chunk: bytes) -> None:
        if not chunk or self._inner is _NOTHING:
            return
        if not self._begun:
            self._begun = True
            # RFC 9110 8.4.1.2: some send deflate without the zlib format around it, whose first byte ends in 8.
            if self._window == _ZLIB and chunk[0] & 0x0F != 8:
                self._inflate = zlib.decompressobj(_RAW)
        try:
            grown = self._expand(chunk)
        except zlib.error:
            grown = False
        if not grown:
            self._inner = _NOTHING

    def _expand(self, chunk: bytes) -> bool:
        """Pass on what a chunk grows to; false when it is more than any honest reply would."""
        inflate, inner = self._inflate, self._inner
        allowed = _FREE_GROWTH + _GROWTH * len(chunk)
        while not inflate.eof:
            plain = inflate.decompress(chunk, _PIECE)
            inner.feed(plain)
            allowed -= len(plain)
            if allowed < 0:
                return False
            chunk = inflate.unconsumed_tail
            if not chunk and len(plain) < _PIECE:  # a full piece may have left some behind inside the decompressor
                break
        return True

    def finish(self) -> Usage | None:
        return self._inner.finish()
