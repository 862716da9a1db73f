"""The usage in an event stream, read as WHATWG HTML 9.2 says, wherever the network cuts it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.metering.eventstream import EventStream
from proxy.metering.usage import Usage
from tests.cuts import random_cuts, same_report

SEVEN = Usage(seconds=Decimal(7))
USAGE = b'{"usage":{"type":"duration","seconds":7}}'


def heard(chunks: list[bytes]) -> Usage | None:
    stream = EventStream()
    for chunk in chunks:
        stream.feed(chunk)
    return stream.finish()


PROVIDERS: dict[str, tuple[bytes, Usage | None]] = {
    "OpenAI's transcript": (
        (
            b'data: {"type":"transcript.text.delta","delta":"I","logprobs":[]}\n\n'
            b'data: {"type":"transcript.text.done","text":"I see","logprobs":[],"usage":{"input_tokens":14,'
            b'"input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":45,"total_tokens":59}}\n\n'
            b"data: [DONE]\n\n"
        ),
        Usage(input_tokens=14, output_tokens=45, audio_tokens=14),
    ),
    "OpenAI's transcript without usage": (
        b'data: {"type":"transcript.text.delta","delta":"I"}\n\ndata: {"type":"transcript.text.done","text":"I"}\n\n',
        None,
    ),
    "speakers told apart": (
        (
            b'data: {"type":"transcript.text.segment","id":"seg_2","start":5.2,"end":12.8,"text":"x","speaker":"A"}\n\n'
            b'data: {"type":"transcript.text.done","text":"x","usage":{"type":"duration","seconds":7}}\n\n'
        ),
        SEVEN,
    ),
    "OpenAI's speech": (
        b'data: {"type":"speech.audio.delta","audio":"' + b"QUJD" * 60 + b'"}\n\n'
        b'data: {"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}}\n\n',
        Usage(input_tokens=14, output_tokens=101),
    ),
    "Mistral": (
        (
            b'event: transcription.language\ndata: {"type":"transcription.language","audio_language":"en"}\n\n'
            b'event: transcription.text.delta\ndata: {"type":"transcription.text.delta","text":"I"}\n\n'
            b'event: transcription.done\ndata: {"type":"transcription.done","model":"voxtral-mini-2602","text":"I",'
            b'"usage":{"prompt_audio_seconds":7,"prompt_tokens":9,"completion_tokens":33,"total_tokens":42}}\n\n'
        ),
        Usage(input_tokens=9, output_tokens=33, seconds=Decimal(7)),
    ),
    "vLLM": (
        (
            b'data: {"object":"transcription.chunk","choices":[{"delta":{"content":"I"}}],"usage":null}\n\n'
            b'data: {"object":"transcription.chunk","choices":[],"usage":'
            b'{"prompt_tokens":8,"total_tokens":28,"completion_tokens":20}}\n\n'
            b"data: [DONE]\n\n"
        ),
        Usage(input_tokens=8, output_tokens=20),
    ),
    "speaches: the duration of one segment is not the audio's": (
        b'data: {"task":"transcribe","language":"en","duration":2.5,"text":"I","segments":[]}\n\n',
        None,
    ),
    "an error": (b'data: {"type":"error","error":{"message":"no"}}\n\n', None),
}


@pytest.mark.parametrize(("stream", "usage"), PROVIDERS.values(), ids=PROVIDERS)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=repr)
def test_each_providers_stream_tells_its_usage_however_it_is_cut(
    stream: bytes, usage: Usage | None, line_end: bytes
) -> None:
    assert same_report(stream.replace(b"\n", line_end), heard) == usage


STREAMS: dict[str, tuple[bytes, Usage | None]] = {
    "no space behind the colon": (b"data:" + USAGE + b"\n\n", SEVEN),
    "one space belongs to the field, more to the data": (b"data:   " + USAGE + b"\n\n", SEVEN),
    "data in several lines": (b'data: {"usage":\ndata:{"seconds":\ndata\ndata: 7}\ndata:}\n\n', SEVEN),
    "comments, other fields and unknown ones": (b": ping\nid: 1\nretry: 9\ndata: " + USAGE + b"\nx: y\n:\n\n", SEVEN),
    "a number does not go on in the next line": (b'data: {"usage":{"seconds":7\ndata:7}}\n\n', None),
    "a duration beside usage that is not known yet": (b'data: {"usage":null,"duration":2.5}\n\n', None),
    "a byte order mark": (b"\xef\xbb\xbfdata: " + USAGE + b"\n\n", SEVEN),
    "a byte order mark later on is part of the field's name": (
        b"data: 1\n\n\xef\xbb\xbfdata: " + USAGE + b"\n\n",
        None,
    ),
    "many blank lines": (b"\n\n\n\ndata: 1\n\n\n\n\ndata: " + USAGE + b"\n\n\n\n", SEVEN),
    "mixed line ends": (b"data: 1\r\n\ndata: " + USAGE + b"\n\r\n: x\r\r", SEVEN),
    "usage in the name of another field": (b'event: {"usage":{"seconds":7}}\ndata: {}\n\n', None),
    "a field whose name only begins alike": (b"database: " + USAGE + b"\n\n", None),
    "usage within a string": (b'data: {"delta":"\\"usage\\":{\\"seconds\\":7}"}\n\n', None),
    "usage deeper down": (b'data: {"choices":[{"usage":{"seconds":7}}]}\n\n', None),
    "the last word wins": (b'data: {"usage":{"seconds":3}}\n\ndata: ' + USAGE + b"\n\n", SEVEN),
    "silence is not a word": (b"data: " + USAGE + b'\n\ndata: {"usage":null}\n\ndata: {"usage":{}}\n\n', SEVEN),
    "nonsense is not a word": (b"data: " + USAGE + b'\n\ndata: {"usage":{"seconds":9}\n\ndata: "usage"\n\n', SEVEN),
    "no blank line at the end": (b"data: 1\n\ndata: " + USAGE, SEVEN),
    "cut short": (b"data: 1\n\ndata: " + USAGE[:-1], None),
    "nothing": (b"", None),
}


@pytest.mark.parametrize(("stream", "usage"), STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=repr)
def test_a_stream_is_read_by_the_standard_however_it_is_cut(
    stream: bytes, usage: Usage | None, line_end: bytes
) -> None:
    assert same_report(stream.replace(b"\n", line_end), heard) == usage


@pytest.mark.parametrize("pad", [524_288 - len(b"data: " + USAGE), 524_289 - len(b"data: " + USAGE), 900_000])
def test_an_event_over_the_bound_is_passed_over_and_those_around_it_are_not(pad: int) -> None:
    long = b"data: " + b" " * pad + USAGE
    expected = SEVEN if len(long) <= 524_288 else Usage(seconds=Decimal(3))
    stream = b'data: {"usage":{"seconds":3}}\n\n' + long + b"\n\n"
    for chunks in [[stream], [stream[:-1], b"\n"], *random_cuts(stream, 10)]:
        assert heard(chunks) == expected
        assert heard([*chunks, b"data: {}\n\n"]) == expected
        assert heard([*chunks, b'data: {"usage":{"seconds":4}}\n\n']) == Usage(seconds=Decimal(4))


def test_an_event_of_many_lines_over_the_bound_is_passed_over_to_its_end() -> None:
    stream, last_line = b"data: 1\n" * 70_000, b"data: " + USAGE + b"\n\n"
    for chunks in [[stream + last_line], [stream, last_line], *random_cuts(stream + last_line, 10)]:
        assert heard(chunks) is None


def test_events_are_let_go_of_when_their_blank_line_is_cut() -> None:
    stream = EventStream()
    for _ in range(1_000):
        stream.feed(b"\ndata: " + b"x" * 1_000 + b"\n")
        assert held(stream) < 3_000
    stream.feed(b"\ndata: " + USAGE + b"\n\n")
    assert stream.finish() == SEVEN


def held(stream: EventStream) -> int:
    """Return the bytes that a stream keeps."""
    return sum(len(value) for value in vars(stream).values() if isinstance(value, bytearray))


def test_of_an_event_over_the_bound_little_is_held() -> None:
    stream = EventStream()
    for _ in range(200):
        stream.feed(b"data: " + b"QUJD" * 16_384)
        assert held(stream) <= 524_289
    stream.feed(b"\n\ndata: " + USAGE + b"\n\n")
    assert stream.finish() == SEVEN


LINES = st.sampled_from(
    [b"data: ", b"data:", USAGE, b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b": x", b'"usage"']
)


@given(st.lists(st.binary(max_size=10) | LINES, max_size=30))
def test_no_bytes_make_it_raise_or_hear_another_word_when_cut(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert heard(chunks) == heard([whole]) == heard([whole[at : at + 1] for at in range(len(whole))])
