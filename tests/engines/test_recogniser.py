"""The recogniser hears the sentence word for word, with true times, whatever it heard before."""

from __future__ import annotations

import random
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from proxy.engines.errors import MissingExtraError
from proxy.engines.recogniser import Recogniser
from proxy.engines.sound import BYTES_PER_SECOND, decode
from proxy.engines.transcript import Word, join

VECTORS = Path(__file__).parent.parent / "vectors"
SENTENCE = "go forward ten meters and then turn left"
PAUSE = bytes(int(0.75 * BYTES_PER_SECOND))


def hear(recogniser: Recogniser, pcm: bytes) -> list[Word]:
    return [word for hypothesis in recogniser.listen(pcm) if hypothesis.final for word in hypothesis.words]


@pytest.mark.parametrize("name", ["mulaw.wav", "vbr-noxing.mp3"])
def test_the_sentence_is_heard_word_for_word(recogniser: Recogniser, name: str) -> None:
    pcm = decode((VECTORS / name).read_bytes(), max_seconds=10)
    assert join(hear(recogniser, pcm)) == SENTENCE


def test_hypotheses_grow_before_the_final_one(recogniser: Recogniser, sentence_pcm: bytes) -> None:
    heard = list(recogniser.listen(sentence_pcm))
    assert [hypothesis.final for hypothesis in heard] == [False] * (len(heard) - 1) + [True]
    assert {join(hypothesis.words) for hypothesis in heard} >= {"", "go", "go forward ten meters", SENTENCE}


def test_words_have_times_in_order_within_the_audio(recogniser: Recogniser, phrase_pcm: bytes) -> None:
    words = hear(recogniser, phrase_pcm + PAUSE + phrase_pcm)
    assert join(words) == "go forward go forward"
    for word in words:
        assert 0 <= word.start < word.end <= 2 * 0.9 + 0.75
        assert 0 < word.probability <= 1
    for before, after in pairwise(words):
        assert before.end <= after.start
    assert words[2].start - words[0].start == pytest.approx(0.9 + 0.75, abs=0.1)


def test_a_recording_dropped_half_way_leaves_no_trace(recogniser: Recogniser, phrase_pcm: bytes) -> None:
    alone = hear(recogniser, phrase_pcm)
    dropped = recogniser.listen(phrase_pcm * 2)
    for _ in range(10):
        next(dropped)
    assert hear(recogniser, phrase_pcm) == alone


def test_what_was_heard_before_changes_nothing(recogniser: Recogniser, phrase_pcm: bytes) -> None:
    alone = hear(Recogniser(), phrase_pcm)
    loud_noise = random.Random(7).randbytes(BYTES_PER_SECOND)
    hear(recogniser, loud_noise)
    assert hear(recogniser, phrase_pcm) == alone


@pytest.mark.parametrize("length", [2, 958, 960, 962, 3200, 64_000])
def test_silence_of_any_length_has_no_words(recogniser: Recogniser, length: int) -> None:
    assert hear(recogniser, bytes(length)) == []


def test_speech_without_a_pause_is_cut_at_the_longest_utterance(
    recogniser: Recogniser, phrase_pcm: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.engines.recogniser.UTTERANCE_SECONDS", 1)
    finals = [hypothesis for hypothesis in recogniser.listen(phrase_pcm * 3) if hypothesis.final]
    assert len(finals) == 3
    words = [word for hypothesis in finals for word in hypothesis.words]
    assert all(before.end <= after.start for before, after in pairwise(words))
    assert words[-1].end <= 3 * 0.9


def test_without_pocketsphinx_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(MissingExtraError, match="pocketsphinx"):
        Recogniser()
