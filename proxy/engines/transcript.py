"""What was said and when, and its five written forms: text, json, verbose_json, srt and vtt.

Pure: words with times go in, strings and plain dictionaries in OpenAI's shapes come out.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAUSE_SECONDS: Final = 0.5  # a silence this long between two words ends a segment
SEGMENT_SECONDS: Final = 7.0  # the longest a subtitle may stay on screen (the usual rule of the trade)
SEGMENT_CHARACTERS: Final = 84  # two lines of 42, the same rule


@dataclass(frozen=True, slots=True)
class Word:
    """One word: its text, start and end in seconds from the start of the audio, and belief (0 to 1)."""

    text: str
    start: float
    end: float
    probability: float = 1.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of words without a long pause, short enough for a subtitle; never empty."""

    id: int
    words: tuple[Word, ...]

    @property
    def start(self) -> float:
        """Seconds from the start of the audio to the first word."""
        return self.words[0].start

    @property
    def end(self) -> float:
        """Seconds from the start of the audio to the end of the last word."""
        return self.words[-1].end

    @property
    def text(self) -> str:
        """The words, one space apart."""
        return join(self.words)

    def cue(self, point: str) -> str:
        """Return times, text and an empty line, as SubRip (``point`` ",") and WebVTT (".") want them."""
        return f"{_clock(self.start, point)} --> {_clock(self.end, point)}\n{self.text}\n\n"

    def verbose(self) -> dict[str, Any]:
        """Return the segment in the shape of ``verbose_json`` (OpenAI API reference, TranscriptionSegment).

        ``compression_ratio`` is Whisper's formula. ``avg_logprob`` is the mean over words, as this recogniser
        has no tokens, and ``tokens`` is empty for the same reason. ``no_speech_prob`` is the share of the
        segment between words.
        """
        text = self.text.encode()
        spoken = sum(word.end - word.start for word in self.words)
        length = self.end - self.start
        return {
            "id": self.id,
            "seek": round(self.start * 100),  # Whisper counts frames of 10 ms
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "tokens": [],
            "temperature": 0.0,
            "avg_logprob": sum(_logprob(word) for word in self.words) / len(self.words),
            "compression_ratio": len(text) / len(zlib.compress(text)),
            "no_speech_prob": round(max(0.0, 1 - spoken / length), 3) if length > 0 else 0.0,
        }


@dataclass(frozen=True, slots=True)
class Transcript:
    """Everything heard in one file: the words in order, and the length of the audio in seconds."""

    words: tuple[Word, ...]
    duration: float

    @property
    def text(self) -> str:
        """All words, one space apart; empty when nothing was said."""
        return join(self.words)

    @property
    def usage(self) -> dict[str, Any]:
        """What OpenAI reports for models billed by time: whole seconds, rounded up."""
        return usage(self.duration)

    def segments(self) -> list[Segment]:
        """Split the words at pauses and at the length of a subtitle."""
        return [Segment(number, words) for number, words in enumerate(_runs(self.words))]

    def json(self) -> dict[str, Any]:
        """Return ``response_format=json``."""
        return {"text": self.text, "usage": self.usage}

    def verbose_json(self, *, task: str, granularities: Iterable[str]) -> dict[str, Any]:
        """Return ``response_format=verbose_json`` with ``segments``, ``words`` or both, as asked for."""
        body: dict[str, Any] = {
            "task": task,
            "language": "english",  # OpenAI names the language here, elsewhere it uses the code
            "duration": self.duration,
            "text": self.text,
        }
        if "word" in granularities:
            body["words"] = [{"word": word.text, "start": word.start, "end": word.end} for word in self.words]
        if "segment" in granularities:
            body["segments"] = [segment.verbose() for segment in self.segments()]
        return {**body, "usage": self.usage}

    def srt(self) -> str:
        """Return SubRip subtitles: numbered from 1, a comma before the milliseconds."""
        cues = (f"{segment.id + 1}\n{segment.cue(',')}" for segment in self.segments())
        return "".join(cues)

    def vtt(self) -> str:
        """Return WebVTT (W3C WebVTT, section 4): the header, then cues; a point before the milliseconds."""
        cues = (segment.cue(".") for segment in self.segments())
        return "WEBVTT\n\n" + "".join(cues)


def join(words: Iterable[Word]) -> str:
    """Return the words as text, one space apart."""
    return " ".join(word.text for word in words)


def usage(duration: float) -> dict[str, Any]:
    """Return OpenAI's ``usage`` for ``duration`` seconds of audio: 6.96 s and 7 s both count as 7."""
    return {"type": "duration", "seconds": math.ceil(duration)}


def _runs(words: Iterable[Word]) -> Iterator[tuple[Word, ...]]:
    run: list[Word] = []
    for word in words:
        if run and _breaks(run, word):
            yield tuple(run)
            run = []
        run.append(word)
    if run:
        yield tuple(run)


def _breaks(run: list[Word], word: Word) -> bool:
    return (
        word.start - run[-1].end >= PAUSE_SECONDS
        or word.end - run[0].start > SEGMENT_SECONDS
        or len(join(run)) + 1 + len(word.text) > SEGMENT_CHARACTERS
    )


def _logprob(word: Word) -> float:
    return math.log(max(word.probability, 1e-10))  # the recogniser rounds tiny beliefs to 0, which has no logarithm


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"
