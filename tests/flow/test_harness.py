"""The tests' own tools: the scripted upstream does what its script says, and the client sees it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from tests.flow.client import BrokenReplyError, Connection
from tests.flow.forms import CONTENT_TYPE, WAV, field, file, form, parts_of
from tests.flow.scripts import CLOSE, ECHO, LINGER, READ_ALL, RESET, event, hold, read, reply, send, stepwise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.flow.driver import Upstream


@pytest.fixture
def straight(upstream: Upstream) -> Iterator[Connection]:
    with Connection(upstream.port) as connection:
        yield connection


def test_a_form_is_read_back_as_it_was_built() -> None:
    parts = parts_of(form(field("model", "m"), file(WAV, filename="a b.wav")), CONTENT_TYPE)
    assert [(part.name, part.filename, part.payload) for part in parts] == [
        ("model", None, b"m"),
        ("file", "a b.wav", WAV),
    ]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_request_is_seen_whole(upstream: Upstream, straight: Connection, framing: str) -> None:
    body = WAV * 5
    sized = ("Content-Length", str(len(body))) if framing == "length" else ("Transfer-Encoding", "chunked")
    straight.head("POST", "/v1/x", [("x-script", framing), sized])
    if framing == "length":
        straight.send(body)
    else:
        for start in range(0, len(body), 997):
            straight.chunk(body[start : start + 997])
        straight.end_chunks()
    assert straight.read_reply().json() == {"text": "hello"}
    seen = upstream.wait(framing, "done")
    assert (seen.framing, seen.complete, seen.cut, seen.body) == (framing, True, None, body)
    assert seen.sha256 == hashlib.sha256(body).hexdigest()
    assert (seen.method, seen.target, seen.header("x-script")) == ("POST", "/v1/x", framing)


def test_scripts_follow_each_other_on_one_connection(upstream: Upstream, straight: Connection) -> None:
    upstream.play("turns", READ_ALL, ECHO)
    upstream.play("turns", send(reply(429)))
    statuses = []
    for _ in range(3):
        straight.head("POST", "/v1/x", [("x-script", "turns"), ("Content-Length", "3")])
        straight.send(b"abc")
        statuses.append(straight.read_reply().status)
    assert statuses == [200, 429, 200]
    assert upstream.wait("turns", "done", index=2).number == 3


@pytest.mark.parametrize("step", [CLOSE, RESET, LINGER], ids=["close", "reset", "linger"])
def test_an_early_answer_ends_in_its_own_way(upstream: Upstream, straight: Connection, step: list[str]) -> None:
    upstream.play(step[0], read(10), send(reply(401)), step)
    straight.head("POST", "/", [("x-script", step[0]), ("Content-Length", "100")])
    straight.send(b"x" * 10)
    answer = straight.read_reply()
    assert (answer.status, answer.clean) == (401, True)
    assert straight.at_end()


def test_a_client_that_leaves_is_seen_to_leave(upstream: Upstream) -> None:
    for name, leave in (("fin", Connection.close), ("rst", Connection.reset)):
        upstream.play(name, hold())
        connection = Connection(upstream.port)
        connection.head("GET", "/", [("x-script", name)])
        upstream.wait(name, "head_at")
        leave(connection)
        assert upstream.wait(name, "cut").cut == {"fin": "closed", "rst": "reset"}[name]


def test_events_come_one_by_one(upstream: Upstream, straight: Connection) -> None:
    upstream.play("sse", *stepwise([event("one"), event("two")]))
    straight.head("GET", "/", [("x-script", "sse")])
    answer = straight.read_head()
    assert answer.header("content-type") == "text/event-stream"
    for index, text in enumerate(("one", "two")):
        assert not straight.readable()
        upstream.release("sse", f"event-{index}")
        assert straight.read_chunk() == f"data: {text}\n\n".encode()
    upstream.release("sse", "end")
    assert straight.read_chunk() == b""


def test_a_truncated_reply_is_not_clean(upstream: Upstream, straight: Connection) -> None:
    upstream.play("short", send(reply()[:-4]), CLOSE)
    straight.head("GET", "/", [("x-script", "short")])
    assert not straight.read_reply().clean


def test_a_reset_before_the_head_is_a_broken_reply(upstream: Upstream, straight: Connection) -> None:
    upstream.play("nothing", RESET)
    straight.head("GET", "/", [("x-script", "nothing")])
    with pytest.raises(BrokenReplyError):
        straight.read_reply()


def test_a_port_that_never_accepts_never_connects(upstream: Upstream) -> None:
    port = upstream.listen_mute()
    with pytest.raises(TimeoutError):
        Connection(port, connect_timeout=0.2)
