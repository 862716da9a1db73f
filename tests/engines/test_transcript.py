"""Words with times become OpenAI's json and verbose_json, and valid SubRip and WebVTT."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.engines.transcript import SEGMENT_SECONDS, Transcript, Word, usage

SENTENCE = Transcript((Word("turn", 0.18, 0.39, 0.9), Word("left", 0.39, 1.0, 0.4)), 1.5)
PAUSE = Transcript((Word("turn", 0.0, 0.5), Word("left", 3661.0, 3662.25)), 3663.0)
NOTHING = Transcript((), 2.0)


def test_json_holds_text_and_usage() -> None:
    assert SENTENCE.json() == {"text": "turn left", "usage": {"type": "duration", "seconds": 2}}


@pytest.mark.parametrize(("duration", "seconds"), [(0.1, 1), (6.96, 7), (7.0, 7), (8.47, 9)])
def test_usage_is_whole_seconds_rounded_up(duration: float, seconds: int) -> None:
    assert usage(duration) == {"type": "duration", "seconds": seconds}


def test_a_long_pause_starts_a_new_segment() -> None:
    assert [segment.text for segment in SENTENCE.segments()] == ["turn left"]
    assert [segment.text for segment in PAUSE.segments()] == ["turn", "left"]


def test_subrip_numbers_its_cues_and_writes_hours() -> None:
    assert PAUSE.srt() == ("1\n00:00:00,000 --> 00:00:00,500\nturn\n\n2\n01:01:01,000 --> 01:01:02,250\nleft\n\n")


def test_webvtt_has_its_header_and_points() -> None:
    assert SENTENCE.vtt() == "WEBVTT\n\n00:00:00.180 --> 00:00:01.000\nturn left\n\n"


def test_silence_is_an_empty_transcript_in_every_form() -> None:
    assert NOTHING.json()["text"] == ""
    assert NOTHING.srt() == ""
    assert NOTHING.vtt() == "WEBVTT\n\n"
    assert NOTHING.verbose_json(task="transcribe", granularities=("segment",))["segments"] == []


@pytest.mark.parametrize(
    ("granularities", "present", "absent"),
    [
        (("segment",), {"segments"}, {"words"}),
        (("word",), {"words"}, {"segments"}),
        (("word", "segment"), {"words", "segments"}, set()),
    ],
)
def test_verbose_json_holds_the_granularities_asked_for(
    granularities: tuple[str, ...], present: set[str], absent: set[str]
) -> None:
    body = SENTENCE.verbose_json(task="translate", granularities=granularities)
    assert (body["task"], body["language"], body["duration"]) == ("translate", "english", 1.5)
    assert present <= body.keys()
    assert not absent & body.keys()


def test_a_verbose_segment_has_whispers_fields_computed_from_its_words() -> None:
    (segment,) = SENTENCE.verbose_json(task="transcribe", granularities=("segment",))["segments"]
    assert segment["avg_logprob"] == pytest.approx(-0.5108, abs=0.001)
    assert (segment["seek"], segment["start"], segment["end"]) == (18, 0.18, 1.0)
    assert 0 < segment["compression_ratio"] < 1
    assert segment["no_speech_prob"] == 0.0
    assert segment["tokens"] == []


def test_a_word_that_the_recogniser_gives_no_chance_has_a_finite_logprob() -> None:
    (segment,) = Transcript((Word("hm", 0.0, 0.0, 0.0),), 1.0).segments()
    assert segment.verbose()["avg_logprob"] == pytest.approx(-23.03, abs=0.01)


spoken = st.lists(
    st.tuples(st.floats(0, 2), st.floats(0.01, 3), st.text("abcdefgh", min_size=1, max_size=30)), max_size=60
)


@given(spoken)
def test_segments_hold_every_word_once_and_fit_a_subtitle(gaps: list[tuple[float, float, str]]) -> None:
    words, now = [], 0.0
    for gap, length, text in gaps:
        start, now = now + gap, now + gap + length
        words.append(Word(text, start, now))
    segments = Transcript(tuple(words), now).segments()
    assert [word for segment in segments for word in segment.words] == words
    assert [segment.id for segment in segments] == list(range(len(segments)))
    for segment in segments:
        assert len(segment.words) == 1 or segment.end - segment.start <= SEGMENT_SECONDS
    for before, after in pairwise(segments):
        assert before.end <= after.start


@given(spoken)
def test_every_cue_is_well_formed(gaps: list[tuple[float, float, str]]) -> None:
    words = tuple(Word(text, gap, gap + length) for gap, length, text in gaps)
    for cue in Transcript(words, 5.0).srt().split("\n\n")[:-1]:
        assert re.fullmatch(r"\d+\n\d\d:[0-5]\d:[0-5]\d,\d{3} --> \d\d:[0-5]\d:[0-5]\d,\d{3}\n[a-h ]+", cue)
