"""Upstreams that answer badly: garbage, nothing, too much, too little; and replies that only look odd."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from tests.flow.forms import usual
from tests.flow.scripts import (
    CLOSE,
    PEEK,
    READ_ALL,
    RESET,
    chunk,
    chunked_head,
    fill,
    head,
    hold,
    reply,
    send,
    sleep,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flow.client import Headers
    from tests.flow.scripts import Step
    from tests.flow.stage import Stage

OK_HEAD = b"HTTP/1.1 200 OK\r\n"

BROKEN: dict[str, list[Step]] = {
    "closes without an answer": [CLOSE],
    "resets without an answer": [RESET],
    "closes in the status line": [send(b"HTTP/1.1 2"), CLOSE],
    "closes in the head": [send(OK_HEAD + b"Content-Type: text/plain\r\nConte"), CLOSE],
    "resets in the head": [send(OK_HEAD + b"Content-Type: text/pl"), RESET],
    "is no HTTP server": [send(b"220 mail.example ESMTP\r\n"), CLOSE],
    "speaks garbage": [send(bytes(range(256)) * 20), CLOSE],
    "speaks TLS": [send(b"\x15\x03\x01\x00\x02\x02\x28"), CLOSE],
    "has a head without end": [send(OK_HEAD + b"X-Pad: " + b"x" * 300_000), CLOSE],
    "has too many headers": [send(OK_HEAD + b"X-Pad: x\r\n" * 30_000 + b"\r\n"), CLOSE],
    "has two lengths": [send(OK_HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), CLOSE],
    "has a length and chunks": [
        send(OK_HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        CLOSE,
    ],
    "has a length that is no number": [send(OK_HEAD + b"Content-Length: many\r\n\r\nhello"), CLOSE],
    "has a NUL in a header": [send(OK_HEAD + b"X-Odd: a\0b\r\nContent-Length: 0\r\n\r\n"), CLOSE],
}


@pytest.mark.parametrize("steps", BROKEN.values(), ids=BROKEN.keys())
def test_an_answer_that_is_none_is_a_502_and_the_clients_connection_lives(stage: Stage, steps: list[Step]) -> None:
    stage.script(READ_ALL, *steps)
    with stage.connect() as connection:
        for expected in (502, 200):
            stage.begin(connection, len(usual()))
            connection.send(usual())
            answer = connection.read_reply()
            assert answer.status == expected
            if expected == 502:
                assert (answer.code, answer.closes) == ("upstream_broke", False)
    assert stage.seen(index=1).number == 1, "the broken connection is not used again"
    broken, fine = stage.records(2)
    assert (broken["status"], broken["outcome"], broken["error_code"]) == (
        502,
        "upstream_error",
        "upstream_broke",
    )
    assert (fine["status"], fine["outcome"], fine["error_code"]) == (200, "ok", None)


CUT: dict[str, tuple[bytes, bytes]] = {
    "length": (head(200, [("Content-Type", "application/json"), ("Content-Length", "99000")]), b'{"text":'),
    "chunked": (chunked_head(200, "application/json"), chunk(b'{"text":')),
    "in a chunk": (chunked_head(200, "application/json"), b'10\r\n{"text":'),
    "SSE": (chunked_head(), chunk(b'data: {"type":"transcript.text.delta"}\n\n')),
}


@pytest.mark.parametrize("ending", [CLOSE, RESET], ids=["close", "reset"])
@pytest.mark.parametrize(("first", "then"), CUT.values(), ids=CUT.keys())
def test_a_cut_reply_is_cut_for_the_client_too(stage: Stage, first: bytes, then: bytes, ending: Step) -> None:
    stage.script(READ_ALL, send(first + then), hold(), ending)
    with stage.connect() as connection:
        stage.begin(connection, len(usual()))
        connection.send(usual())
        answer = connection.read_head()
        assert answer.status == 200
        stage.release()
        connection.read_body(answer)
        assert not answer.clean, "a truncated reply ended as if it were whole"
        assert answer.body in then
    record = stage.record()
    assert (record["outcome"], record["error_code"]) == ("upstream_error", "upstream_broke")
    assert record["attempts"][0]["failure"]
    assert stage.post().status == 200
    stage.records(2)


def test_a_small_reply_that_is_cut_is_a_502_or_cut_for_the_client_too(stage: Stage) -> None:
    """A reply that fits in one write may be looked at whole before its head goes out."""
    stage.script(READ_ALL, send(head(200, [("Content-Length", "100")]) + b'{"text":'), CLOSE)
    answer = stage.post()
    assert (answer.status, answer.clean) in [(502, True), (200, False)]
    record = stage.record()
    assert (record["outcome"], record["error_code"]) == ("upstream_error", "upstream_broke")


ODD: dict[str, tuple[list[Step], int, bytes]] = {
    "early hints before": (
        [send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + reply())],
        200,
        b'{"text":"hello"}',
    ),
    "several interim heads": (
        [send(b"HTTP/1.1 100 Continue\r\n\r\n" * 5 + reply())],
        200,
        b'{"text":"hello"}',
    ),
    "no framing, then the end": (
        [send(head(200, [("Content-Type", "text/plain")]) + b"hello"), CLOSE],
        200,
        b"hello",
    ),
    "HTTP/1.0": (
        [send(head(200, [("Content-Type", "text/plain")], version="1.0") + b"hello"), CLOSE],
        200,
        b"hello",
    ),
    "nothing in it": ([send(reply(200, b""))], 200, b""),
    "no content": ([send(head(204, []))], 204, b""),
    "one byte at a time": (
        [step for byte in reply(200, b"slow") for step in (send(bytes([byte])), sleep(0))],
        200,
        b"slow",
    ),
    "a status nobody knows": ([send(reply(299, b"x"))], 299, b"x"),
    "a reason of its own": ([send(reply().replace(b"OK", b"Sehr gut"))], 200, b'{"text":"hello"}'),
    "no reason": ([send(reply().replace(b"200 OK", b"200 "))], 200, b'{"text":"hello"}'),
    "closing afterwards": ([send(reply(headers=[("Connection", "close")])), CLOSE], 200, b'{"text":"hello"}'),
    "chunk extensions": ([send(chunked_head(200, "text/plain") + b"2;a=b\r\nhi\r\n0\r\n\r\n")], 200, b"hi"),
    "trailers": ([send(chunked_head(200, "text/plain") + b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n")], 200, b"hi"),
}


@pytest.mark.parametrize(("steps", "status", "body"), ODD.values(), ids=ODD.keys())
def test_an_odd_reply_is_a_reply(stage: Stage, steps: list[Step], status: int, body: bytes) -> None:
    stage.script(READ_ALL, *steps)
    answer = stage.post()
    assert (answer.status, answer.body, answer.clean, answer.interim) == (status, body, True, [])
    record = stage.record()
    assert (record["outcome"], record["bytes_out"]) == ("ok", len(body))


def test_a_redirect_is_never_followed(stage: Stage) -> None:
    """A credential must not go where an upstream points, and a streamed body cannot be sent again."""
    port = stage.upstream.listen()
    stage.script(READ_ALL, send(reply(302, b"", [("Location", f"http://127.0.0.1:{port}/v1/elsewhere")])))
    answer = stage.post()
    assert answer.status in {302, 502}
    assert stage.upstream.requests(f"port:{port}") == 0
    assert stage.upstream.requests(stage.token) == 1
    assert stage.record()["outcome"] in {"ok", "upstream_error"}


def test_a_compressed_reply_crosses_as_it_is(stage: Stage) -> None:
    packed = gzip.compress(b'{"text":"hello"}')
    stage.script(READ_ALL, send(reply(200, packed, [("Content-Encoding", "gzip")])))
    answer = stage.post()
    assert (answer.body, answer.header("content-encoding")) == (packed, "gzip")
    assert answer.header("content-length") == str(len(packed))
    stage.record()


def test_a_reply_that_claims_to_be_compressed_crosses_as_it_is(stage: Stage) -> None:
    stage.script(READ_ALL, send(reply(200, b"not gzip at all", [("Content-Encoding", "gzip")])))
    answer = stage.post()
    assert (answer.status, answer.body) == (200, b"not gzip at all")
    assert stage.record()["outcome"] == "ok"


DROPPED: Headers = [
    ("Set-Cookie", "session=1"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "X-Any"),
    ("Strict-Transport-Security", "max-age=1"),
    ("Connection", "X-Private"),
    ("X-Private", "1"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Authenticate", "Basic"),
    ("Trailer", "X-Sum"),
    ("Upgrade", "h2c"),
    ("x-portkey-trace-id", "the upstream's own"),
]


@pytest.mark.parametrize(("name", "value"), DROPPED, ids=[name for name, _ in DROPPED])
def test_a_reply_header_that_is_not_for_the_client_stays(stage: Stage, name: str, value: str) -> None:
    stage.script(READ_ALL, send(reply(200, b"{}", [*DROPPED, ("OpenAI-Processing-Ms", "12")])))
    answer = stage.post()
    assert answer.header("openai-processing-ms") == "12"
    assert (name.lower(), value) not in answer.headers
    stage.record()


def test_a_large_reply_crosses_at_the_readers_pace(stage: Stage) -> None:
    """A client that reads slowly slows the upstream; nothing piles up in between."""
    size = 48 << 20
    stage.script(READ_ALL, send(head(200, [("Content-Type", "audio/mpeg"), ("Content-Length", str(size))])), fill(size))
    before = stage.gateway.rss()
    with stage.connect(receive_buffer=1 << 16) as connection:
        stage.begin(connection, len(usual()))
        connection.send(usual())
        answer = connection.read_head()
        stage.upstream.never(stage.token, "done", within=0.5)
        assert stage.gateway.rss() - before < 12 << 20
        connection.read_body(answer)
        assert (len(answer.body), answer.clean) == (size, True)
    assert stage.record()["bytes_out"] == size


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_request_on_a_dying_connection_is_never_sent_twice(stage: Stage, method: str) -> None:
    """It may have been acted upon, and billed: a keep-alive connection that dies says nothing about that."""
    stage.script(READ_ALL, send(reply()), PEEK, CLOSE)
    with stage.connect() as connection:
        statuses = []
        for _ in range(2):
            connection.head(method, "/v1/things", [("Content-Length", "2"), *stage.headers()])
            connection.send(b"{}")
            statuses.append(connection.read_reply(method=method).status)
    sent = stage.upstream.requests(stage.token)
    assert (statuses, sent) in [([200, 502], 1), ([200, 200], 2)]
    stage.records(2)


def test_a_connection_that_the_upstream_closed_while_idle_is_not_used(
    own_gateway: Callable[..., Stage],
) -> None:
    stage = own_gateway()
    before = stage.gateway.fds()
    for index in range(3):
        stage.script(READ_ALL, send(reply()), CLOSE)
        assert stage.post().status == 200
        assert stage.seen("done", index=index).number == 1
        stage.gateway.wait_for(lambda: stage.gateway.fds() <= before, "the gateway to let go of the connection")
    stage.records(3)
    stage.gateway.stop()
