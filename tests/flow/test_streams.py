"""Replies stream: each event at once, each content type as it is, sound in both directions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.flow.forms import audio, field, file, form, usual
from tests.flow.scripts import (
    READ_ALL,
    RESET,
    chunk,
    chunked_head,
    event,
    head,
    hold,
    reply,
    send,
    stepwise,
)

if TYPE_CHECKING:
    from tests.flow.stage import Stage

EVENTS = [
    event({"type": "transcript.text.delta", "delta": "go "}),
    event({"type": "transcript.text.delta", "delta": "förward"}),
    b": a comment, to keep the line warm\n\n",
    event({"type": "transcript.text.done", "text": "go förward"}),
    event("[DONE]"),
]


def test_every_event_reaches_the_client_before_the_next_one_is_written(stage: Stage) -> None:
    stage.script(READ_ALL, *stepwise(EVENTS))
    body = form(field("model", "m"), field("stream", "true"), file())
    with stage.connect() as connection:
        stage.begin(connection, len(body))
        connection.send(body)
        answer = connection.read_head()
        assert (answer.status, answer.header("content-type")) == (200, "text/event-stream")
        for index, data in enumerate(EVENTS):
            assert not connection.readable()
            stage.release(f"event-{index}")
            assert connection.read_chunk() == data
        stage.release("end")
        assert connection.read_chunk() == b""
    record = stage.record()
    assert (record["outcome"], record["stream"], record["bytes_out"]) == ("ok", True, sum(map(len, EVENTS)))


def test_an_event_cut_in_pieces_is_not_put_together_first(stage: Stage) -> None:
    """A piece is flushed as it comes, even if it ends within a line or a letter."""
    data = EVENTS[1]
    pieces = [data[:3], data[3:-10], data[-10:]]
    stage.script(READ_ALL, *stepwise(pieces))
    with stage.connect() as connection:
        stage.begin(connection, len(usual()))
        connection.send(usual())
        connection.read_head()
        for index, piece in enumerate(pieces):
            stage.release(f"event-{index}")
            assert connection.read_chunk() == piece
        stage.release("end")
        assert connection.read_chunk() == b""
    stage.record()


def test_a_stream_that_breaks_ends_broken(stage: Stage) -> None:
    stage.script(READ_ALL, send(chunked_head()), send(chunk(EVENTS[0])), hold(), RESET)
    with stage.connect() as connection:
        stage.begin(connection, len(usual()))
        connection.send(usual())
        answer = connection.read_head()
        assert connection.read_chunk() == EVENTS[0]
        stage.release()
        connection.read_body(answer)
        assert not answer.clean
        assert answer.body == b"", "no error is written into a stream that has begun"
    record = stage.record()
    assert (record["outcome"], record["error_code"], record["status"]) == (
        "upstream_error",
        "upstream_broke",
        200,
    )


FORMATS: dict[str, tuple[str, bytes]] = {
    "text": ("text/plain; charset=utf-8", "Über sieben Brücken\n".encode()),
    "srt": ("application/x-subrip", b"1\n00:00:00,000 --> 00:00:01,000\ngo\n\n"),
    "vtt": ("text/vtt; charset=utf-8", b"WEBVTT\n\n00:00.000 --> 00:01.000\ngo\n\n"),
    "json": ("application/json", b'{ "text" : "h\\u00e9" ,"extra":1.00}'),
    "verbose_json": ("application/json; charset=utf-8", b'{"text":"go","duration":3.03,"segments":[]}'),
    "nothing known": ("application/x-odd", bytes(range(256))),
}


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_reply_keeps_its_content_type_and_its_bytes(stage: Stage, name: str, framing: str) -> None:
    content_type, body = FORMATS[name]
    if framing == "length":
        stage.script(READ_ALL, send(reply(200, body, content_type=content_type)))
    else:
        stage.script(READ_ALL, send(chunked_head(200, content_type) + chunk(body) + b"0\r\n\r\n"))
    answer = stage.post(form(field("model", "m"), field("response_format", name), file()))
    assert (answer.status, answer.header("content-type"), answer.body) == (200, content_type, body)
    assert answer.header("content-length") == (str(len(body)) if framing == "length" else None)
    record = stage.record()
    assert (record["response_format"], record["bytes_out"]) == (name, len(body))


def test_a_content_type_that_is_missing_is_not_made_up(stage: Stage) -> None:
    stage.script(READ_ALL, send(head(200, [("Content-Length", "2")]) + b"ok"))
    answer = stage.post()
    assert (answer.body, answer.header("content-type")) in [
        (b"ok", None),
        (b"ok", "application/octet-stream"),
    ]
    stage.record()


def test_speech_streams_sound_back(stage: Stage) -> None:
    sound = audio(300_000)
    blocks = [sound[:1000], sound[1000:]]
    stage.script(
        READ_ALL,
        send(chunked_head(200, "audio/wav") + chunk(blocks[0])),
        hold(),
        send(chunk(blocks[1]) + b"0\r\n\r\n"),
    )
    asked = json.dumps({"model": "tts-1", "input": "Hällo", "voice": "alloy"}).encode()
    with stage.connect() as connection:
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(asked)))]
        connection.head("POST", "/v1/audio/speech", headers + stage.headers())
        connection.send(asked)
        answer = connection.read_head()
        assert connection.read_chunk() == blocks[0]
        stage.release()
        connection.read_body(answer)
        assert (answer.body, answer.clean, answer.header("content-type")) == (blocks[1], True, "audio/wav")
    seen = stage.seen()
    assert (seen.target, seen.header("content-type")) == ("/v1/audio/speech", "application/json")
    assert json.loads(seen.body) == json.loads(asked)
    record = stage.record()
    assert (record["route"], record["model_requested"], record["outcome"]) == ("speech", "tts-1", "ok")


def test_speech_may_name_its_virtual_key_in_the_model(stage: Stage) -> None:
    asked = json.dumps({"model": "@vk/tts-1", "input": "x", "voice": "alloy"}).encode()
    answer = stage.post(
        asked, target="/v1/audio/speech", content_type="application/json", without=("x-portkey-provider",)
    )
    assert answer.status == 200
    seen = stage.seen()
    assert json.loads(seen.body) == {"model": "tts-1", "input": "x", "voice": "alloy"}
    assert seen.header("authorization") == "Bearer sk-flow-virtual"
    assert seen.header("content-length") == str(seen.length)
    stage.record()


def test_speech_takes_the_overrides_of_its_route(stage: Stage) -> None:
    asked = json.dumps({"model": "tts-1", "input": "x"}).encode()
    extra = [("x-portkey-config", "renamed")]
    answer = stage.post(asked, extra, target="/v1/audio/speech", content_type="application/json")
    assert answer.status == 200
    assert json.loads(stage.seen().body) == {"model": "big", "input": "x", "language": "en"}
    stage.record()
