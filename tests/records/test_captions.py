"""Subtitles of both kinds become segments; what is no cue is passed over, and nothing raises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.records.captions import captions_in

SRT = "1\n00:00:00,000 --> 00:00:01,500\ngo forward\n\n2\n00:00:01,500 --> 01:00:03,035\nten\nmeters\n"
VTT = "WEBVTT\n\n00:00.000 --> 00:01.500\ngo forward\n\n00:00:01.500 --> 01:00:03.035\nten\nmeters\n"


def cue(start: float, end: float, text: str, speaker: str | None = None) -> dict[str, Any]:
    return {"start": start, "end": end, "text": text, "speaker": speaker}


TWO = [cue(0.0, 1.5, "go forward"), cue(1.5, 3603.035, "ten meters")]


@pytest.mark.parametrize("text", [SRT, VTT])
def test_cues_become_segments(text: str) -> None:
    assert captions_in(text) == TWO


@pytest.mark.parametrize(
    ("text", "cues"),
    [
        # SubRip as it is found
        ("\n\n00:00:00,000 --> 00:00:01,000\nno number", [cue(0.0, 1.0, "no number")]),
        ("7 \n0:0:0,5 -->0:0:1.25\nx", [cue(0.5, 1.25, "x")]),
        (
            "1\n00:00:00,000 --> 00:00:01,000 X1:1 X2:2\n<i>soft</i> <font color=red>red</font> <b>",
            [cue(0, 1, "soft red")],
        ),
        (
            "1\n00:00:00,000 --> 00:00:01,000\n<img src=x onerror=alert(1)> &amp;",
            [cue(0, 1, "<img src=x onerror=alert(1)> &amp;")],
        ),
        ("1\n00:00:02,000 --> 00:00:01,000\nbackwards", [cue(2.0, 2.0, "backwards")]),
        ("1\n00:00:00,000 --> 00:00:01,000\n\n2\n00:00:01,000 --> 00:00:02,000\nb", [cue(1.0, 2.0, "b")]),
        (
            "1\n00:00:00,000 --> 00:00:01,000\na\n2\n00:00:01,000 --> 00:00:02,000\nb",
            [cue(0, 1, "a 2"), cue(1, 2, "b")],
        ),
        ("1\n00:00:00,000 --> 00:00:01,000\na --> b", [cue(0.0, 1.0, "a --> b")]),
        ("1\n00:00:00,000 --> 00:00:01,000\na\n\nlost\n\n2\n00:00:0", [cue(0.0, 1.0, "a")]),
        # WebVTT's own
        ("WEBVTT", []),
        ("WEBVTT - a title\nKind: captions\n\nNOTE 1 --> 2\nnothing\n\nSTYLE\n::cue{}\n", []),
        ("WEBVTT\n\nintro\n00:00.000 --> 00:01.000 align:start\na", [cue(0.0, 1.0, "a")]),
        (
            "WEBVTT\n\n00:00.000 --> 00:01.000\n<v Ada Lovelace>One &lt;b&gt;</v> <00:00.5><c.x>two",
            [cue(0, 1, "One <b> two", "Ada Lovelace")],
        ),
        ("WEBVTT\n\n00:00.000 --> 00:01.000\n<v.loud  Bob >hi", [cue(0.0, 1.0, "hi", "Bob")]),
        (
            "WEBVTT\n\n00:00.000 --> 00:01.000\na &amp; b &#" + "9" * 5000 + ";",
            [cue(0, 1, "a &amp; b &#" + "9" * 5000 + ";")],
        ),
    ],
)
def test_what_is_found_in_the_field_is_read(text: str, cues: list[dict[str, Any]]) -> None:
    assert captions_in(text) == cues


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "1\nhello",
        "WEBVTTX\n",
        "it is 00:00:00,000 --> 00:00:01,000",
        "1\n2\n00:00:00,000 --> 00:00:01,000\na",
    ],
)
def test_text_is_no_subtitles(text: str) -> None:
    assert captions_in(text) is None


@pytest.mark.parametrize("text", [SRT, VTT])
def test_cut_anywhere_no_cue_is_made_up(text: str) -> None:
    for length in range(len(text)):
        for found in captions_in(text[:length]) or []:
            whole = TWO[0] if found["start"] == 0.0 else TWO[1]
            assert found["start"] == whole["start"]
            assert whole["text"].startswith(found["text"])


@given(
    st.lists(
        st.sampled_from(["1", "\n", "\n\n", "00:00:01,000", " --> ", "WEBVTT", "<v x>", "<", ">", "&#1;", "٣:٣", "a"])
    )
)
def test_nothing_raises(pieces: list[str]) -> None:
    for text in ("".join(pieces), "WEBVTT\n\n" + "".join(pieces), SRT + "".join(pieces)):
        for found in captions_in(text) or []:
            assert 0 <= found["start"] <= found["end"]
            assert found["text"]
