"""Samples to words: pocketsphinx with its bundled US English model, one slice of audio at a time.

Silence cuts the audio into utterances. Each is heard slice by slice, so that a caller can stop between two
slices and can see the best guess so far; at its end the decoder looks at the whole utterance again, and that
last hypothesis is final.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxy.engines.errors import MissingExtraError
from proxy.engines.sound import BYTES_PER_SECOND, SAMPLE_RATE
from proxy.engines.transcript import Word

if TYPE_CHECKING:
    from collections.abc import Iterator

SLICE_SECONDS: Final = (
    0.05  # pocketsphinx holds the interpreter lock for a slice: about 10 ms, so the event loop still runs
)
UTTERANCE_SECONDS: Final = 15  # the final passes over an utterance hold it for about a thirtieth of this

_FRAMES_PER_SECOND: Final = 100  # pocketsphinx counts time in frames of 10 ms
_SLICE_BYTES: Final = int(SLICE_SECONDS * BYTES_PER_SECOND)
_MAX_STATES: Final = 3000  # HMM states kept per frame: a quarter faster than the default 30000 with the same words
_VARIANT: Final = re.compile(r"\(\d+\)$")  # the dictionary numbers other pronunciations: "to(2)"
_MEASURE: Final = "measure"
_NOT_WORDS: Final = ("<", "[", "+")  # <s>, <sil>, [NOISE], ++COUGH++


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The best guess at the words of the current utterance; ``final`` when nothing can change it any more."""

    words: tuple[Word, ...]
    final: bool


class Recogniser:
    """One pocketsphinx decoder. Not thread-safe: one recording at a time, but from any thread.

    Making one loads the model: about 0.4 s and 100 MB. Raises :class:`MissingExtraError` without the
    ``local`` extra.
    """

    def __init__(self) -> None:
        self._sphinx = load_pocketsphinx()
        # FATAL keeps the decoder's own log off stderr; it says nothing that a request could act on.
        self._decoder = self._sphinx.Decoder(samprate=SAMPLE_RATE, maxhmmpf=_MAX_STATES, loglevel="FATAL")
        self._search = self._decoder.current_search()
        self._decoder.add_jsgf_string(_MEASURE, "#JSGF V1.0; grammar measure; public <any> = a;")
        self._listening = False

    def listen(self, pcm: bytes) -> Iterator[Hypothesis]:
        """Yield a hypothesis after each slice of speech, and a final one at the end of each utterance.

        ``pcm`` is what :func:`proxy.engines.sound.decode` returns. Word times are seconds from its start and
        lie within it. The iterator may be dropped half-way.
        """
        length = len(pcm) / BYTES_PER_SECOND
        for start, speech in self._utterances(pcm):
            self._begin(speech)
            for position in range(0, len(speech), _SLICE_BYTES):
                self._decoder.process_raw(speech[position : position + _SLICE_BYTES])
                yield Hypothesis(self._words(start, length), final=False)
            self._end()
            yield Hypothesis(self._words(start, length), final=True)

    def _utterances(self, pcm: bytes) -> Iterator[tuple[float, bytes]]:
        """Yield each stretch of speech with its start in seconds, cut at pauses and at a maximum length."""
        endpointer = self._sphinx.Endpointer(sample_rate=SAMPLE_RATE)
        frame_bytes = endpointer.frame_bytes
        speech = bytearray()
        start = 0.0
        for position in range(0, len(pcm), frame_bytes):
            frame = pcm[position : position + frame_bytes]
            last = position + frame_bytes >= len(pcm)
            heard = endpointer.end_stream(frame) if last else endpointer.process(frame)
            if heard:
                if not speech:
                    start = max(start, endpointer.speech_start)
                speech += heard
            if speech and (last or not endpointer.in_speech or len(speech) >= UTTERANCE_SECONDS * BYTES_PER_SECOND):
                yield start, bytes(speech)
                start += len(speech) / BYTES_PER_SECOND
                speech.clear()

    def _begin(self, speech: bytes) -> None:
        """Start an utterance with fresh state and the cepstral mean of that same utterance.

        By itself pocketsphinx carries mean and noise level over from whatever it heard before, so a result
        would depend on earlier requests and the first one would be wrong. So the utterance is measured first,
        under a grammar so small that the search costs next to nothing. Measuring a whole utterance also
        enlarges buffers that the slice-by-slice path must not find enlarged (it crashes): hence the second
        reset.
        """
        decoder = self._decoder
        if self._listening:  # the last recording was dropped half-way
            self._end()
        decoder.reinit_feat()
        decoder.activate_search(_MEASURE)
        decoder.start_utt()
        decoder.process_raw(speech, no_search=True, full_utt=True)
        mean = decoder.get_cmn()
        decoder.end_utt()
        decoder.activate_search(self._search)
        decoder.reinit_feat()
        decoder.set_cmn(mean)
        decoder.start_utt()
        self._listening = True

    def _end(self) -> None:
        self._listening = False
        self._decoder.end_utt()

    def _words(self, offset: float, length: float) -> tuple[Word, ...]:
        if self._decoder.hyp() is None:
            return ()
        return tuple(
            Word(
                _VARIANT.sub("", segment.word),
                start=round(min(offset + segment.start_frame / _FRAMES_PER_SECOND, length), 3),
                end=round(min(offset + (segment.end_frame + 1) / _FRAMES_PER_SECOND, length), 3),
                probability=min(segment.prob, 1.0),
            )
            for segment in self._decoder.seg()
            if not segment.word.startswith(_NOT_WORDS)
        )


def load_pocketsphinx() -> Any:
    """Import pocketsphinx when it is first needed; raise :class:`MissingExtraError` if it is not there."""
    try:
        import pocketsphinx  # noqa: PLC0415  an extra: the gateway itself must start without it
    except ImportError as error:
        raise MissingExtraError("pocketsphinx") from error
    return pocketsphinx
