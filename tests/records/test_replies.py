"""What was said, in the words of every provider: JSON, events, subtitles, plain text; whole, or as far as it came."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.records.replies import Said, is_readable, said_in, spoken

JSON, EVENTS, PLAIN = "application/json", "text/event-stream", "text/plain"


def segment(start: float, end: float, text: str, speaker: str | None = None) -> dict[str, Any]:
    return {"start": start, "end": end, "text": text, "speaker": speaker}


def events(*documents: Any, done: bool = False) -> bytes:
    said = [document if isinstance(document, str) else json.dumps(document) for document in documents]
    return b"".join(b"data: " + text.encode() + b"\n\n" for text in (*said, *(["[DONE]"] if done else [])))


def delta(text: str) -> dict[str, Any]:
    return {"type": "transcript.text.delta", "delta": text, "logprobs": [{"token": text, "logprob": -0.1}]}


def segment_event(start: float, end: float, text: str, speaker: str) -> dict[str, Any]:
    return {
        "type": "transcript.text.segment",
        "id": "seg_1",
        "start": start,
        "end": end,
        "text": text,
        "speaker": speaker,
    }


DONE = {"type": "transcript.text.done", "text": "Go forward.", "usage": {"type": "duration", "seconds": 3}}
VERBOSE = {
    "task": "transcribe",
    "language": "english",
    "duration": 3.03,
    "text": "Go forward. Ten \u00e9t\u00e9s \U0001f600",
    "segments": [
        {"id": 0, "seek": 0, "start": 0.0, "end": 1.25, "text": " Go forward.", "tokens": [1, 2], "avg_logprob": -0.25},
        {"id": 1, "seek": 0, "start": 1.25, "end": 3.03, "text": " Ten \u00e9t\u00e9s \U0001f600", "tokens": [3]},
    ],
    "usage": {"type": "duration", "seconds": 4},
}
VERBOSE_SEGMENTS = [segment(0.0, 1.25, " Go forward."), segment(1.25, 3.03, " Ten \u00e9t\u00e9s \U0001f600")]


@pytest.mark.parametrize(
    ("document", "text", "segments"),
    [
        ({"text": "The sun"}, "The sun", None),
        ({"text": ""}, "", None),
        ({"text": "a", "usage": {"type": "tokens"}, "segments": []}, "a", None),
        ({"transcript": "OVHcloud's"}, "OVHcloud's", None),
        (VERBOSE, VERBOSE["text"], VERBOSE_SEGMENTS),
        # diarized_json
        (
            {
                "text": "Hi. Oh.",
                "segments": [
                    {"type": "transcript.text.segment", "start": 0, "end": 1, "text": "Hi.", "speaker": "A"},
                    {"start": 1, "end": 2, "text": "Oh.", "speaker": "B"},
                ],
            },
            "Hi. Oh.",
            [segment(0.0, 1.0, "Hi.", "A"), segment(1.0, 2.0, "Oh.", "B")],
        ),
        # Mistral's
        (
            {"model": "voxtral", "text": "Hi", "segments": [{"text": "Hi", "start": 0.1, "end": 0.9, "speaker_id": 0}]},
            "Hi",
            [segment(0.1, 0.9, "Hi", "0")],
        ),
        # Together's
        (
            {"text": "x", "speaker_segments": [{"text": "x", "start": 0, "end": 1, "speaker_id": "SPEAKER_00"}]},
            "x",
            [segment(0, 1, "x", "SPEAKER_00")],
        ),
        # LocalAI counts nanoseconds
        ({"text": "x", "segments": [{"start": 0, "end": 2_500_000_000, "text": "x"}]}, "x", [segment(0, 2.5, "x")]),
        # segments alone
        (
            {"segments": [{"start": 0, "end": 1, "text": "a"}, {"start": 1, "end": 2, "text": "b"}]},
            "a b",
            [segment(0, 1, "a"), segment(1, 2, "b")],
        ),
        # times that are missing, written or nonsense
        (
            {
                "text": "",
                "segments": [{"text": "a", "end": "1.5"}, {"text": "b"}, {"text": "c", "start": -1, "end": "1e400"}],
            },
            "",
            [segment(0, 1.5, "a"), segment(1.5, 1.5, "b"), segment(1.5, 1.5, "c")],
        ),
        (
            {"text": "t", "segments": [{"text": "a", "start": True, "end": "x"}, {"text": " "}, 7, None, {"text": 1}]},
            "t",
            [segment(0, 0, "a")],
        ),
        (
            {"text": "t", "segments": [{"text": "a", "start": 0, "end": 10**30, "speaker": True}]},
            "t",
            [segment(0, 1e6, "a")],
        ),
        ({"text": "t", "segments": {"a": 1}}, "t", None),
        # a JSON string, as some servers answer the plain formats
        ("hello\n", "hello", None),
        ("1\n00:00:00,000 --> 00:00:01,000\nhi\n", "hi", [segment(0, 1, "hi")]),
        # nothing that anybody said
        ({"error": {"message": "no"}}, None, None),
        ({"text": None}, None, None),
        ({"text": ["a"]}, None, None),
        ([{"text": "a"}], None, None),
        (7, None, None),
        (None, None, None),
    ],
)
def test_json_of_any_provider(document: Any, text: str | None, segments: list[Any] | None) -> None:
    for body in (json.dumps(document), json.dumps(document, ensure_ascii=False, indent=1)):
        assert said_in(body.encode(), JSON) == Said(text, segments)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", None),
        (b"<html>", None),
        (b"\xef\xbb\xbf" + b'{"text":"a"}', "a"),
        (b'{"text":"a\xffb"}', "a\ufffdb"),
        (b'{"text":"a"} {"text":"b"}', "a"),
        (b'{"text":"a' + b"[" * 3, "a[[["),
        (b'{"a":' * 3000, None),
        (b"[" * 3000, None),
    ],
    ids=repr,
)
def test_json_that_is_none_or_odd(body: bytes, text: str | None) -> None:
    assert said_in(body, JSON).text == text


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_of_json_that_broke_off_there_is_what_came(ensure_ascii: bool) -> None:
    body = json.dumps(VERBOSE, ensure_ascii=ensure_ascii).encode()
    texts, counts = [""], [0]
    for length in range(len(body)):
        text, segments = said_in(body[:length], JSON)
        if text is not None:
            assert str(VERBOSE["text"]).startswith(text.rstrip("\ufffd"))
            assert len(text.rstrip("\ufffd")) >= len(texts[-1])
            texts.append(text.rstrip("\ufffd"))
        for found, whole in zip(segments or [], VERBOSE_SEGMENTS, strict=False):
            assert found == whole
        counts.append(len(segments or []))
    assert texts[-1] == VERBOSE["text"]
    assert counts[-1] == 2
    assert counts == sorted(counts)


@pytest.mark.parametrize(
    ("body", "text", "segments"),
    [
        (events(delta("Go"), delta(" forward."), DONE), "Go forward.", None),
        (events(delta("Go"), delta(" forward."), DONE, done=True), "Go forward.", None),
        (events(delta("pieces differ"), DONE), "Go forward.", None),
        (events(delta("Go"), delta(" forw")), "Go forw", None),
        (events(delta("a"), {"type": "transcript.text.done", "text": ""}), "", None),
        (events(delta("a"), {"type": "transcript.text.done"}), "a", None),
        (events(delta("a"), {"type": "error", "error": {"message": "no"}}), "a", None),
        (events(delta("a"), "{not json}", delta("b")), "ab", None),
        # diarized
        (
            events(
                segment_event(0, 1, "Hi.", "A"),
                segment_event(1, 2, "Oh.", "B"),
                {"type": "transcript.text.done", "text": "Hi. Oh."},
            ),
            "Hi. Oh.",
            [segment(0, 1, "Hi.", "A"), segment(1, 2, "Oh.", "B")],
        ),
        (
            events(segment_event(0, 1, "Hi.", "A"), segment_event(1, 2, "Oh.", "B")),
            "Hi. Oh.",
            [segment(0, 1, "Hi.", "A"), segment(1, 2, "Oh.", "B")],
        ),
        # Mistral's
        (
            b"event: transcription.text.delta\n"
            + events({"type": "transcription.text.delta", "text": "Hi"})
            + events({"type": "transcription.language", "audio_language": "en"})
            + events({"type": "transcription.segment", "text": "Hi", "start": 0, "end": 0.5, "speaker_id": "s1"})
            + events(
                {"type": "transcription.done", "text": "Hi", "segments": [], "usage": {"prompt_audio_seconds": 1}}
            ),
            "Hi",
            [segment(0, 0.5, "Hi", "s1")],
        ),
        # vLLM's
        (
            events(
                {"object": "transcription.chunk", "choices": [{"delta": {"content": "a"}}]},
                {"choices": [{"delta": {"content": " b"}}]},
                {"choices": [], "usage": {}},
                {"choices": [7, {"delta": 1}, {"delta": {"content": None}}]},
                done=True,
            ),
            "a b",
            None,
        ),
        # a sentence in each event, as JSON or not
        (events({"text": "One."}, {"text": "Two."}), "One. Two.", None),
        (events("One.", " Two."), "One. Two.", None),
        (events('"One."', "[1]", "7"), "One.", None),
        (
            events({"text": "One.", "segments": [{"start": 0, "end": 1, "text": "One."}]}),
            "One.",
            [segment(0, 1, "One.")],
        ),
        # nothing said
        (b"", None, None),
        (b": comment\n\n", None, None),
        (events("[DONE]"), None, None),
        (events({"type": "ping"}), None, None),
    ],
)
def test_events_of_any_provider(body: bytes, text: str | None, segments: list[Any] | None) -> None:
    assert said_in(body, EVENTS) == Said(text, segments)
    assert said_in(body.replace(b"\n", b"\r\n"), EVENTS) == Said(text, segments)
    assert said_in(body.replace(b"\n", b"\r"), EVENTS) == Said(text, segments)


def test_of_events_that_broke_off_there_is_what_came() -> None:
    body = events(
        delta("Go"), delta(" \u00e9t\u00e9"), delta("."), {"type": "transcript.text.done", "text": "Go \u00e9t\u00e9."}
    )
    texts = [said_in(body[:length], EVENTS).text or "" for length in range(len(body) + 1)]
    assert set(texts) == {"", "Go", "Go \u00e9t\u00e9", "Go \u00e9t\u00e9."}
    assert [len(text) for text in texts] == sorted(len(text) for text in texts)


@pytest.mark.parametrize("media_type", [PLAIN, "text/html", "text/vtt", "text/srt", "application/x-subrip", ""])
@pytest.mark.parametrize(
    ("body", "text", "segments"),
    [
        (b"go forward\nten meters\n", "go forward\nten meters", None),
        ("\ufeffd\u00e9j\u00e0 vu".encode(), "d\u00e9j\u00e0 vu", None),
        (b"a\xffb", "a\ufffdb", None),
        (b"1\r\n00:00:00,000 --> 00:00:01,000\r\ngo\r\non\r\n\r\n", "go on", [segment(0, 1, "go on")]),
        (
            b"\xef\xbb\xbfWEBVTT\n\n00:00.000 --> 00:01.000\ngo\n\n00:01.000 --> 00:02.000\non",
            "go on",
            [segment(0, 1, "go"), segment(1, 2, "on")],
        ),
        (b"WEBVTT\n\n", "", None),
        (b"", None, None),
        (b" \n", None, None),
        (b"<!DOCTYPE html><title>Log in</title>", None, None),
        (b"<html>", None, None),
        (b"<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>", None),
    ],
)
def test_text_and_subtitles(media_type: str, body: bytes, text: str | None, segments: list[Any] | None) -> None:
    assert said_in(body, media_type) == Said(text, segments)


def test_a_reply_without_a_type_may_be_json() -> None:
    assert said_in(b' {"text": "a"}', "") == Said("a", None)


@pytest.mark.parametrize(
    ("media_type", "readable"),
    [
        (JSON, True),
        (EVENTS, True),
        (PLAIN, True),
        ("text/vtt", True),
        ("application/x-subrip", True),
        ("", True),
        ("audio/mpeg", False),
        ("application/octet-stream", False),
        ("image/png", False),
        ("application/pdf", False),
    ],
)
def test_sound_and_other_things_say_nothing_that_can_be_read(media_type: str, *, readable: bool) -> None:
    assert is_readable(media_type) is readable


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([], ""),
        (["a", "b"], "a b"),
        (["a ", "b"], "a b"),
        (["a", " b"], "a b"),
        (["a", "", "b"], "a b"),
        ([" a"], " a"),
    ],
)
def test_pieces_of_speech_have_one_space_between_them(pieces: list[str], text: str) -> None:
    assert spoken(pieces) == text


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["text", "segments", "start", "end", "speaker", "type", "delta", "choices", "content", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(
    ANY_JSON, st.integers(0, 400), st.sampled_from(["transcript.text.delta", "transcription.segment", "x.done", None])
)
def test_no_document_raises_and_segments_are_in_order(document: Any, length: int, kind: str | None) -> None:
    if isinstance(document, dict) and kind is not None:
        document["type"] = kind
    body = json.dumps(document).encode()
    for data, media_type in ((body, JSON), (body[:length], JSON), (b"data: " + body, EVENTS)):
        text, segments = said_in(data, media_type)
        assert text is None or isinstance(text, str)
        for each in segments or []:
            assert list(each) == ["start", "end", "text", "speaker"]
            assert 0 <= each["start"] <= each["end"] <= 1e6
            assert each["text"].strip()


@given(st.binary(max_size=200), st.sampled_from([JSON, EVENTS, PLAIN, ""]))
def test_no_bytes_raise(body: bytes, media_type: str) -> None:
    said_in(body, media_type)
