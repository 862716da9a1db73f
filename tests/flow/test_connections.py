"""Two requests on one connection: whatever became of the first, the second is whole or cannot be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flow.cases import BY_BODY, BY_HEADERS, Case
from tests.flow.client import BrokenReplyError, Connection
from tests.flow.forms import audio, usual
from tests.flow.scripts import CLOSE, LINGER, READ_ALL, RESET, error, head, hold, read, reply, send
from tests.flow.stage import Stage

if TYPE_CHECKING:
    from tests.flow.scripts import Step

LARGE = usual(audio(400_000))
CASES = BY_HEADERS | BY_BODY


def serves_on_or_ends(stage: Stage, connection: Connection, *, closes: bool) -> None:
    """The next request gets its own answer, or the server ended the connection and said so."""
    second = Stage(stage.gateway, stage.upstream)
    second.script(READ_ALL, send(reply(200, b"the answer to the second request")))
    if closes:
        connection.push(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nx-portkey-provider: free\r\n\r\n")
        assert connection.says_no_more()
        return
    second.begin(connection, len(usual()))
    connection.send(usual())
    answer = connection.read_reply()
    assert (answer.status, answer.body) == (200, b"the answer to the second request")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_after_a_refusal(stage: Stage, case: Case) -> None:
    """The body of the first request, which nobody may have read, is not taken for a second one."""
    with stage.connect() as connection:
        sized = [("Content-Type", case.content_type), ("Content-Length", str(len(case.body)))]
        connection.head(case.method, case.target, sized + stage.headers(case.extra, without=case.without))
        connection.push(case.body)
        answer = connection.read_reply()
        assert answer.status == case.status
        serves_on_or_ends(stage, connection, closes=answer.closes)


AFTER: dict[str, list[Step]] = {
    "an error": [READ_ALL, send(error(429))],
    "an error with an early end": [read(1000), send(error(401)), CLOSE],
    "an error with an early reset": [read(1000), send(error(401)), RESET],
    "an error with an early FIN": [read(1000), send(error(413)), LINGER],
    "an error while reading on": [read(1000), send(error(413)), READ_ALL],
    "nothing": [READ_ALL, CLOSE],
    "a reset": [read(5000), RESET],
    "garbage": [READ_ALL, send(b"no HTTP at all\r\n\r\n"), CLOSE],
    "a cut reply": [READ_ALL, send(head(200, [("Content-Length", "99")]) + b"cut"), CLOSE],
    "a reset reply": [READ_ALL, send(head(200, [("Content-Length", "99")]) + b"cut"), RESET],
    "too much": [
        READ_ALL,
        send(reply(200, b"hello") + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        hold("never"),
    ],
    "a body where none may be": [
        READ_ALL,
        send(b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil"),
        hold("never"),
    ],
}


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("steps", AFTER.values(), ids=AFTER.keys())
def test_after_an_upstream_that_says(stage: Stage, steps: list[Step], chunked: bool) -> None:
    stage.script(*steps)
    with stage.connect() as connection:
        stage.begin(connection, None if chunked else len(LARGE))
        pieces = [LARGE[start : start + 50_000] for start in range(0, len(LARGE), 50_000)]
        if connection.upload(pieces, chunked=chunked) == len(LARGE) and chunked:
            connection.upload([b"0\r\n\r\n"])
        try:
            answer = connection.read_reply()
        except BrokenReplyError:
            pytest.fail("no answer")
        assert b"evil" not in answer.body
        serves_on_or_ends(stage, connection, closes=answer.closes or not answer.clean)


def test_an_early_end_of_one_upload_does_not_leak_into_the_next(stage: Stage) -> None:
    """The upstream reads on after its early answer: what it reads next must not be the tail of this body."""
    stage.script(read(1000), send(error(413)), READ_ALL)
    with stage.connect() as connection:
        stage.begin(connection, len(LARGE))
        connection.send(LARGE[:100_000])
        assert connection.read_reply().status == 413
    first = stage.seen("done")
    assert (first.complete, first.cut is not None) == (False, True)
    assert stage.post().status == 200
    assert stage.seen(index=1).body == usual()
    stage.records(2)


def test_many_requests_share_the_upstreams_connections(stage: Stage) -> None:
    with stage.connect() as connection:
        for _ in range(10):
            stage.begin(connection, len(usual()))
            connection.send(usual())
            assert connection.read_reply().status == 200
    seen = [stage.seen("done", index=index) for index in range(10)]
    assert len({each.connection for each in seen}) < 5, "a connection for every request"
    stage.records(10)
