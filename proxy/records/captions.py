"""Subtitles as segments: SubRip, and WebVTT (W3C, section 4). What cannot be read as a cue is passed over.

Nothing raises, whatever the text; every pattern is linear in what it reads.
"""

from __future__ import annotations

import html
import re
from typing import Any, Final

Segment = dict[str, Any]
"""``start`` and ``end`` in seconds, ``text``, and ``speaker``, a name or None."""

MOST_NAME: Final = 100  # characters of a speaker's name: a label in a list

_TIME: Final = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMING: Final = re.compile(rf"[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}", re.ASCII)
_FIRST_CUE: Final = re.compile(rf"\s*+(?:\d{{1,9}}[ \t]*\n)?{_TIMING.pattern}", re.ASCII)
_HEADER: Final = re.compile(r"WEBVTT(?:[ \t\n]|$)")
_VOICE: Final = re.compile(r"<v(?:\.[^\s<>]*+)?[ \t]++([^<>]++)>")
_TAG: Final = re.compile(r"<[^<>]*+>")  # WebVTT: all that stands in angle brackets is markup
_STYLE: Final = re.compile(r"</?(?:[biu]|font(?:\s[^<>]*+)?)>", re.IGNORECASE)  # SubRip: these alone, all else is text


def captions_in(text: str) -> list[Segment] | None:
    """Return the cues of subtitles whose lines are ended by LF, in their order; None when ``text`` is no subtitles."""
    if _HEADER.match(text):
        return _cues(text, is_vtt=True)
    return _cues(text, is_vtt=False) if _FIRST_CUE.match(text) else None


def _cues(text: str, *, is_vtt: bool) -> list[Segment]:
    found: list[Segment] = []
    lines: list[str] | None = None  # of the cue that is being read; None between cues and in what is none
    for line in text.split("\n"):
        timing = _TIMING.match(line) if "-->" in line else None
        if timing is not None:
            hours, minutes, seconds, parts = timing.groups()[:4]
            start, end = _seconds(hours, minutes, seconds, parts), _seconds(*timing.groups()[4:])
            lines = []
            found.append({"start": start, "end": max(start, end), "text": lines, "speaker": None})
        elif not line.strip():
            lines = None
        elif lines is not None:
            lines.append(line.strip())
    for cue in found:
        _write(cue, is_vtt=is_vtt)
    return [cue for cue in found if cue["text"]]


def _write(cue: Segment, *, is_vtt: bool) -> None:
    """Put a cue's words in place of its lines, and into ``speaker`` who says them, where WebVTT tells."""
    words = " ".join(cue["text"])
    if is_vtt:
        voice = _VOICE.search(words)
        if voice is not None:
            cue["speaker"] = _unescaped(voice[1]).strip()[:MOST_NAME] or None
        words = _unescaped(_TAG.sub("", words))
    else:
        words = _STYLE.sub("", words)
    cue["text"] = words.strip()


def _unescaped(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:  # a character's number with thousands of digits
        return text


def _seconds(hours: str | None, minutes: str, seconds: str, parts: str) -> float:
    whole = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    return whole + int(parts.ljust(3, "0")) / 1000
