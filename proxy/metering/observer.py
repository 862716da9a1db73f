"""Reads what was used from a reply beside its stream: from JSON, from an event stream, or not at all.

The reply's own Content-Type decides, never what was asked for: providers leave out streaming, or formats, that their
model does not know. Plain text, subtitles and audio say nothing, and cost nothing to observe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from proxy.metering.eventstream import EventStream
from proxy.metering.inflate import DamagedError, inflater_for, is_plain
from proxy.metering.jsonwalk import TopLevel
from proxy.metering.usage import MEMBERS, Usage, usage_of

if TYPE_CHECKING:
    from proxy.metering.inflate import Inflater

_WHOLE: Final = 262_144  # bytes of JSON that are kept and parsed at once: all replies but those with a long word list


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
    if content_encoding is None or is_plain(content_encoding):
        return observer
    inflater = inflater_for(content_encoding)
    return _NOTHING if inflater is None else _InflatingObserver(observer, inflater)


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
    """Decompresses for another observer, which hears nothing more of what is given up."""

    __slots__ = ("_inflater", "_inner")

    def __init__(self, inner: ReplyObserver, inflater: Inflater) -> None:
        self._inner = inner
        self._inflater = inflater

    def feed(self, chunk: bytes) -> None:
        if self._inner is _NOTHING:
            return
        try:
            for piece in self._inflater.pieces(chunk):
                self._inner.feed(piece)
        except DamagedError:
            self._inner = _NOTHING

    def finish(self) -> Usage | None:
        return self._inner.finish()
