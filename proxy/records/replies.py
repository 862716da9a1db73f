"""What was said, read from a reply: from JSON, events, subtitles or plain text, in the words of any provider.

A reply is known by its shape, never by whom it was asked of. Nothing raises, whatever the bytes; of a reply that broke
off there is what came.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from pydantic_core import from_json

from proxy.metering.eventstream import data_of, events_in
from proxy.records.captions import MOST_NAME, captions_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.records.captions import Segment

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
_PLAIN: Final = frozenset({"application/x-subrip", "application/srt"})
_BOM: Final = "\ufeff"
_NANO: Final = 1_000_000_000
_MOST_SECONDS: Final = 1_000_000  # that a reply's audio has, eleven days; what is more are LocalAI's nanoseconds
_MOST_SPEAKERS: Final = 1_000_000  # a number beyond is no speaker's
_PAGE: Final = ("<!doctype", "<html")


class Said(NamedTuple):
    """What a reply says; None is what it does not."""

    text: str | None = None
    segments: list[Segment] | None = None


_NOTHING: Final = Said()


def is_readable(media_type: str) -> bool:
    """Return whether a reply of this type, in lower case and without parameters, can say anything.

    whisper.cpp sends plain text as ``text/html``; a reply without a type is tried, too.
    """
    return media_type == JSON or media_type.startswith("text/") or media_type in _PLAIN or not media_type


def said_in(body: bytes, media_type: str) -> Said:
    """Return what a reply with this body, whole or cut off, says."""
    if media_type == EVENTS:
        return _of_events(body)
    if media_type == JSON or (not media_type and body.lstrip()[:1] == b"{"):
        return _of_json(body)
    return _of_text(body.decode("utf-8", "replace"))


def spoken(pieces: Iterable[str]) -> str:
    """Return pieces of speech as one text: a space between them where neither has one."""
    text: list[str] = []
    space = True
    for piece in pieces:
        if piece:
            if not space and not piece[0].isspace():
                text.append(" ")
            text.append(piece)
            space = piece[-1].isspace()
    return "".join(text)


def _of_text(text: str) -> Said:
    text = text.removeprefix(_BOM)
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    cues = captions_in(unified)
    if cues is not None:
        return Said(spoken(cue["text"] for cue in cues), cues or None)
    text = text.strip()
    return _NOTHING if not text or text[:9].lower().startswith(_PAGE) else Said(text)


def _of_json(body: bytes) -> Said:
    try:
        return _of_document(orjson.loads(body), whole=True)
    except ValueError:
        pass
    for text in (body, body.decode("utf-8", "replace").removeprefix(_BOM)):
        try:
            document = from_json(text, allow_partial="trailing-strings", cache_strings="keys")
        except ValueError:
            continue
        return _of_document(document, whole=False)
    return _NOTHING


def _of_document(document: object, *, whole: bool) -> Said:
    if isinstance(document, str):  # some servers answer the format text, srt or vtt with a JSON string
        return _of_text(document)
    if not isinstance(document, dict):
        return _NOTHING
    text = _first(document, "text", "transcript")  # the latter is OVHcloud's
    given = next((name for name in ("segments", "speaker_segments") if isinstance(document.get(name), list)), None)
    segments = _segments(document[given]) if given is not None else []
    if text is None and segments:
        text = spoken(segment["text"] for segment in segments)
    if not whole and segments and next(reversed(document)) == given:
        segments.pop()  # cut off in the middle of a number it would tell a wrong time
    return Said(text, segments or None)


def _segments(given: Iterable[Any]) -> list[Segment]:
    """Return the segments that have words; one without its times takes the place where the last one ended."""
    found: list[Segment] = []
    last = 0.0
    for each in given:
        text = each.get("text") if isinstance(each, dict) else None
        if not isinstance(text, str) or not text.strip():
            continue
        start = _seconds(each.get("start"), last)
        last = max(_seconds(each.get("end"), start), start)
        found.append({"start": start, "end": last, "text": text, "speaker": _speaker(each)})
    return found


def _speaker(segment: dict[str, Any]) -> str | None:
    speaker = segment.get("speaker", segment.get("speaker_id"))
    if type(speaker) is int:
        return str(speaker) if 0 <= speaker <= _MOST_SPEAKERS else None
    return speaker[:MOST_NAME] or None if isinstance(speaker, str) else None


def _seconds(value: object, otherwise: float) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return otherwise
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return otherwise
    return float(value) if value <= _MOST_SECONDS else min(value, _MOST_SECONDS * _NANO) / _NANO


def _of_events(body: bytes) -> Said:
    """Read an event stream: the text at its end counts, else the pieces of it, as far as they came."""
    stream = _Events()
    for event in events_in(body):
        data = data_of(event).strip()
        if not data or data == b"[DONE]":
            continue
        try:
            document = orjson.loads(data)
        except ValueError:
            if not data.startswith(b"{"):
                stream.take_text(data.decode("utf-8", "replace"))
            continue
        if isinstance(document, dict):
            stream.take(document)
        elif isinstance(document, str):
            stream.take_text(document)
    return stream.said()


class _Events:
    """What the events of one stream have said so far."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._sentences: list[str] = []
        self._segments: list[dict[str, Any]] = []
        self._done: str | None = None

    def take(self, event: dict[str, Any]) -> None:
        """Take an event's data, with OpenAI's names (``transcript.``), Mistral's (``transcription.``), or none."""
        kind = event.get("type")
        if not isinstance(kind, str):
            self._take_unnamed(event)
        elif kind.endswith(".delta"):
            self._pieces.append(_first(event, "delta", "text") or "")
        elif kind.endswith(".segment"):
            self._segments.append(event)
        elif kind.endswith(".done"):
            self._done = _first(event, "text") if "text" in event else self._done
            self._take_segments(event)

    def take_text(self, text: str) -> None:
        """Take an event that is no JSON: servers that stream the format text send a sentence in each."""
        self._sentences.append(text)

    def _take_unnamed(self, event: dict[str, Any]) -> None:
        choices = event.get("choices")
        if isinstance(choices, list):  # vLLM's, as of a chat
            for choice in choices:
                delta = choice.get("delta") if isinstance(choice, dict) else None
                self._pieces.append((_first(delta, "content") if isinstance(delta, dict) else None) or "")
        else:
            self._sentences.append(_first(event, "text") or "")
            self._take_segments(event)

    def _take_segments(self, event: dict[str, Any]) -> None:
        segments = event.get("segments")
        if isinstance(segments, list):
            self._segments += segments

    def said(self) -> Said:
        """Return what the stream says."""
        segments = _segments(self._segments)
        text = self._done
        if text is None:
            text = "".join(self._pieces) or spoken(self._sentences) or spoken(each["text"] for each in segments) or None
        return Said(text, segments or None)


def _first(document: dict[str, Any], *names: str) -> str | None:
    for name in names:
        value = document.get(name)
        if isinstance(value, str):
            return value
    return None
