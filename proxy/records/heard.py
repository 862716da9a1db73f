"""What an upstream said in its reply: kept beside the stream as it came, and read when somebody wants to know.

Keeping costs the stream next to nothing: a reference to each chunk. Reading takes milliseconds, so whoever writes
records somewhere does it, in a thread of its own.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from proxy.metering.inflate import DamagedError, inflater_for, is_plain
from proxy.records.redaction import redacted, redacted_segments
from proxy.records.replies import Said, is_readable, said_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.records.captions import Segment

_log = logging.getLogger("audiogate")

_MOST_BYTES: Final = (
    1_048_576  # of one reply, in memory and inflated: two hours with times and tokens for every sentence
)
_CHUNK: Final = 49  # bytes that a chunk takes beside its own: of a byte at a time there would be forty times the cap
MOST_TEXT: Final = 262_144  # characters of a transcript: five hours of speech, and more than anybody scrolls through
_MOST_SEGMENTS: Final = 10_000  # of a transcript: one every two seconds of those five hours
_MARGIN: Final = 4_096  # characters behind the cap that are looked at, so that nothing is cut before it is redacted


class Heard:
    """The body of one reply with status 2xx, as far as the cap allows.

    ``size`` is the memory it takes, which changes no more once the reply has ended. :meth:`feed` is for the event loop;
    :meth:`read` for any thread, again and again.
    """

    __slots__ = ("__weakref__", "_chunks", "_encoding", "_lock", "_media_type", "_more", "_read", "_redact", "size")

    def __init__(self, media_type: str, content_encoding: str | None, *, redact: bool) -> None:
        self.size = 0
        self._chunks: list[bytes] = []
        self._media_type = media_type
        self._encoding = content_encoding
        self._redact = redact
        self._more = False
        self._read: Transcript | None = None
        self._lock = Lock()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the reply."""
        size = self.size
        if size < _MOST_BYTES:
            self._chunks.append(chunk)
            self.size = size + len(chunk) + _CHUNK
        else:
            self._more = True

    def read(self, *, torn: bool) -> Transcript:
        """Return what was said. ``torn``: the reply broke off, so that its last word may be half a word.

        The first one to ask has it worked out; the bytes are gone then.
        """
        with self._lock:
            if self._read is None:
                try:
                    body, whole = self._body()
                    said = said_in(body, self._media_type)
                    self._read = _transcript(said, whole=whole, torn=torn or not whole, redact=self._redact)
                except Exception:  # noqa: BLE001  (a reply that nobody thought of costs its transcript, not the record)
                    _log.exception("what a reply said could not be read")
                    self._read = _NONE
                self._chunks = []
            return self._read

    def _body(self) -> tuple[bytes, bool]:
        """Return the body without its compression, and whether that is all of it."""
        raw = b"".join(self._chunks)
        if self._encoding is None or is_plain(self._encoding):
            return raw[:_MOST_BYTES], not self._more and len(raw) <= _MOST_BYTES
        inflater = inflater_for(self._encoding)
        plain = bytearray()
        try:
            for piece in inflater.pieces(raw) if inflater is not None else ():
                plain += piece
                if len(plain) > _MOST_BYTES:
                    return bytes(plain[:_MOST_BYTES]), False
        except DamagedError:
            pass  # what came before the damage was said
        return bytes(plain), not self._more


class Transcript(NamedTuple):
    """What a reply said, within the caps. ``cut``: there was more."""

    text: str | None
    segments: list[Segment] | None
    cut: bool


_NONE: Final = Transcript(None, None, cut=False)


def heard_from(content_type: str, content_encoding: str | None, *, redact: bool) -> Heard | None:
    """Return what takes a reply with these headers; None for one that nobody could read: sound, or br.

    ``redact``: what is personal or secret is left out when it is read.
    """
    media_type = _media_type(content_type)
    if media_type is None:
        return None
    if content_encoding and not is_plain(content_encoding) and inflater_for(content_encoding) is None:
        return None
    return Heard(media_type, content_encoding, redact=redact)


def told(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as anybody may see it: ``transcript`` a text or None, ``segments``, ``transcript_cut``.

    It may take milliseconds: not for the event loop.
    """
    heard = record.get("transcript")
    found = heard.read(torn=record.get("outcome") != "ok") if isinstance(heard, Heard) else _NONE
    return {**record, "transcript": found.text, "segments": found.segments, "transcript_cut": found.cut}


def untold(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record without what was heard, for those who have no business with it."""
    return record if record.get("transcript") is None else {**record, "transcript": None}


@lru_cache(maxsize=64)  # content types: a provider has three
def _media_type(content_type: str) -> str | None:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type if is_readable(media_type) else None


def _transcript(said: Said, *, whole: bool, torn: bool, redact: bool) -> Transcript:
    text, segments = said
    if text is None:
        return _NONE
    cut = not whole or len(text) > MOST_TEXT
    text = text[: MOST_TEXT + _MARGIN]
    kept = _within(segments) if segments is not None else None
    if segments is not None and kept is not None and len(kept) < len(segments):
        cut = True
    if redact:
        text = redacted(text, torn=torn)
        kept = redacted_segments(kept, torn=torn) if kept is not None else None
    return Transcript(_storable(text[:MOST_TEXT]), kept and [_storable_segment(each) for each in kept], cut)


def _within(segments: list[Segment]) -> list[Segment]:
    """Return the segments that are within the caps."""
    room = MOST_TEXT
    for number, segment in enumerate(segments[:_MOST_SEGMENTS]):
        room -= len(segment["text"])
        if room < 0:
            return segments[:number]
    return segments[:_MOST_SEGMENTS]


def _storable(text: str) -> str:
    """Return a text without the one character that no database takes."""
    return text.replace("\x00", "\ufffd")


def _storable_segment(segment: Segment) -> Segment:
    speaker = segment["speaker"]
    return {**segment, "text": _storable(segment["text"]), "speaker": None if speaker is None else _storable(speaker)}
