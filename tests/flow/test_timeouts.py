"""Every wait has an end, each end its own name; and what is merely slow is not late."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.flow.client import pieces
from tests.flow.forms import audio, field, file, form, usual
from tests.flow.scripts import READ_ALL, chunk, chunked_head, fill, head, hold, read, reply, send, sleep
from tests.flow.stage import TRANSCRIPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flow.client import Headers, Reply
    from tests.flow.scripts import Step
    from tests.flow.stage import Stage

BODY = usual(audio(24 << 20, seed=4))
SHORT = usual()


def check_failed(stage: Stage, status: int, code: str, outcome: str) -> None:
    record = stage.record()
    assert (record["status"], record["error_code"], record["outcome"]) == (status, code, outcome)


def test_an_upstream_that_does_not_accept_the_connection(hasty: Stage) -> None:
    answer = hasty.post(extra=[("x-portkey-provider", "mute")])
    assert (answer.status, answer.code) == (504, "upstream_timeout")
    check_failed(hasty, 504, "upstream_timeout", "upstream_error")


@pytest.mark.parametrize(
    "body",
    [usual(audio(500_000)), form(file(audio(500_000)), field("model", "m"))],
    ids=["fields first", "file first"],
)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_client_that_stops_sending(hasty: Stage, body: bytes, chunked: bool) -> None:
    with hasty.connect() as connection:
        hasty.begin(connection, None if chunked else len(body))
        (connection.chunk if chunked else connection.send)(body[:100_000])
        hasty.seen("length", 50_000)
        answer = connection.read_reply()
        assert (answer.status, answer.code) == (408, "upload_timeout")
        assert answer.json()["error"]["type"] == "timeout_error"
        assert answer.closes
    check_failed(hasty, 408, "upload_timeout", "client_error")
    hasty.uncommitted()


def test_a_client_that_sends_a_head_and_no_body(hasty: Stage) -> None:
    with hasty.connect() as connection:
        hasty.begin(connection, len(SHORT))
        answer = connection.read_reply()
        assert (answer.status, answer.code) == (408, "upload_timeout")
    check_failed(hasty, 408, "upload_timeout", "client_error")


def test_a_client_that_stops_sending_while_the_route_waits_for_a_field(hasty: Stage) -> None:
    body = form(file(audio(500_000)), field("model", "whisper-1"))
    with hasty.connect() as connection:
        hasty.begin(connection, len(body), [("x-portkey-provider", "@azure")])
        connection.send(body[:100_000])
        assert connection.read_reply().code == "upload_timeout"
    check_failed(hasty, 408, "upload_timeout", "client_error")
    hasty.unseen()


@pytest.mark.parametrize("after", [0, 100_000], ids=["at once", "later"])
def test_an_upstream_that_stops_reading(hasty: Stage, after: int) -> None:
    hasty.script(read(after), hold("never"))
    with hasty.connect() as connection:
        hasty.begin(connection, len(BODY))
        assert connection.upload(pieces(BODY)) < len(BODY)
        answer = connection.read_reply()
        assert (answer.status, answer.code) == (504, "upstream_timeout")
    check_failed(hasty, 504, "upstream_timeout", "upstream_error")


LATE: dict[str, list[Step]] = {
    "says nothing": [hold("never")],
    "says half a head": [send(b"HTTP/1.1 200 OK\r\nContent-"), hold("never")],
    "only says 100": [send(b"HTTP/1.1 100 Continue\r\n\r\n"), hold("never")],
}


@pytest.mark.parametrize("steps", LATE.values(), ids=LATE.keys())
def test_an_upstream_whose_answer_does_not_begin(hasty: Stage, steps: list[Step]) -> None:
    hasty.script(READ_ALL, *steps)
    answer = hasty.post()
    assert (answer.status, answer.code) == (504, "upstream_timeout")
    assert answer.header("x-portkey-provider") == "up"
    assert hasty.seen("cut").complete
    check_failed(hasty, 504, "upstream_timeout", "upstream_error")


STALLED: dict[str, bytes] = {
    "a head": chunked_head(),
    "an event": chunked_head() + chunk(b"data: 1\n\n"),
    "half a body": head(200, [("Content-Type", "text/plain"), ("Content-Length", "10")]) + b"half",
}


@pytest.mark.parametrize("said", STALLED.values(), ids=STALLED.keys())
def test_an_upstream_whose_answer_stalls(hasty: Stage, said: bytes) -> None:
    hasty.script(READ_ALL, send(said), hold("never"))
    answer = hasty.post()
    assert (answer.status, answer.clean) in [(200, False), (504, True)]
    hasty.seen("cut")
    record = hasty.record()
    assert (record["outcome"], record["error_code"]) == ("upstream_error", "upstream_timeout")


def request_timeout(value: str) -> Headers:
    return [("x-portkey-request-timeout", value)]


TOO_LATE: dict[str, tuple[Headers, list[Step]]] = {
    "by header": (request_timeout("250"), [READ_ALL, hold("never")]),
    "by config": ([("x-portkey-config", "hurried")], [READ_ALL, hold("never")]),
    "with half a head": (request_timeout("250"), [READ_ALL, send(b"HTTP/1.1 200"), hold("never")]),
}


@pytest.mark.parametrize(("extra", "steps"), TOO_LATE.values(), ids=TOO_LATE.keys())
def test_a_requests_own_timeout(stage: Stage, extra: Headers, steps: list[Step]) -> None:
    stage.script(*steps)
    answer = stage.post(extra=extra)
    assert (answer.status, answer.code) == (408, "request_timeout")
    assert answer.json()["error"]["type"] == "timeout_error"
    stage.seen("cut")
    assert stage.record()["error_code"] == "request_timeout"


@pytest.mark.parametrize("value", ["0", "5000"])
def test_a_requests_own_timeout_ends_with_the_head(stage: Stage, value: str) -> None:
    extra = request_timeout("400" if value != "0" else "0")
    stage.script(READ_ALL, send(chunked_head()), sleep(0.6), send(chunk(b"late but fine") + b"0\r\n\r\n"))
    answer = stage.post(extra=extra)
    assert (answer.status, answer.body, answer.clean) == (200, b"late but fine", True)
    stage.record()


def test_the_total_time_of_a_request(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway(timeouts={"total": 0.5})
    drip: list[Step] = [step for _ in range(40) for step in (send(chunk(b"drip")), sleep(0.05))]
    stage.script(READ_ALL, hold("never"))
    stage.script(READ_ALL, send(chunked_head()), *drip, send(b"0\r\n\r\n"))
    answers: list[Reply] = [stage.post(), stage.post()]
    assert [(answers[0].status, answers[0].code), answers[1].clean] == [(504, "upstream_timeout"), False]
    assert {record["error_code"] for record in stage.records(2)} == {"upstream_timeout"}
    stage.gateway.stop()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_slow_upload_is_not_a_stalled_one(hasty: Stage, chunked: bool) -> None:
    """It takes three times as long as any of the timeouts."""
    with hasty.connect() as connection:
        hasty.begin(connection, None if chunked else len(SHORT))
        for piece in pieces(SHORT, len(SHORT) // 12 + 1, pause=0.13):
            (connection.chunk if chunked else connection.send)(piece)
        if chunked:
            connection.end_chunks()
        assert connection.read_reply().status == 200
    assert hasty.record()["outcome"] == "ok"


def test_a_slow_reply_is_not_a_stalled_one(hasty: Stage) -> None:
    drip: list[Step] = [step for _ in range(10) for step in (sleep(0.13), send(chunk(b"drip ")))]
    hasty.script(READ_ALL, send(chunked_head()), *drip, send(b"0\r\n\r\n"))
    answer = hasty.post()
    assert (answer.status, answer.body, answer.clean) == (200, b"drip " * 10, True)
    assert hasty.record()["outcome"] == "ok"


@pytest.mark.parametrize("said", [b"", b"POST /v1/x HTTP/1.1\r\nHost: x\r\nX-A"], ids=["nothing", "half a head"])
def test_a_client_that_does_not_finish_its_head_is_let_go(hasty: Stage, said: bytes) -> None:
    with hasty.connect() as connection:
        connection.send(said)
        started = time.monotonic()
        while not connection.at_end():
            assert time.monotonic() - started < 5


def test_a_head_that_drips_is_let_go(hasty: Stage) -> None:
    with hasty.connect() as connection:
        connection.send(f"POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: x\r\n".encode())
        started = time.monotonic()
        while not connection.readable(0.1):
            assert time.monotonic() - started < 5, "a head may take timeouts.header, not for ever"
            connection.upload([b"X-Drip: 1\r\n"])


def test_an_idle_connection_is_closed_after_keepalive(hasty: Stage) -> None:
    with hasty.connect() as connection:
        hasty.begin(connection, len(SHORT))
        connection.send(SHORT)
        answer = connection.read_reply()
        assert (answer.status, answer.closes) == (200, False)
        assert connection.at_end()
    assert hasty.record()["outcome"] == "ok"


def test_a_client_that_does_not_read_its_reply_is_let_go(hasty: Stage) -> None:
    size = 48 << 20  # more than all buffers on the way hold
    hasty.script(READ_ALL, send(head(200, [("Content-Type", "audio/mpeg"), ("Content-Length", str(size))])), fill(size))
    with hasty.connect(receive_buffer=1 << 16) as connection:
        hasty.begin(connection, len(SHORT))
        connection.send(SHORT)
        answer = connection.read_head()
        hasty.seen("cut")
        check_failed(hasty, 499, "client_left", "client_left")
        connection.read_body(answer)
        assert not answer.clean


def test_a_late_answer_does_not_reach_the_next_request(hasty: Stage) -> None:
    """The upstream connection of a request that timed out is dropped with whatever it may still say."""
    hasty.script(READ_ALL, hold(), send(reply(200, b"the first answer")))
    hasty.script(READ_ALL, send(reply(200, b"the second answer")))
    answers = []
    with hasty.connect() as connection:
        for _ in range(2):
            hasty.begin(connection, len(SHORT))
            connection.send(SHORT)
            answers.append(connection.read_reply())
            hasty.release()
    assert [answer.status for answer in answers] == [504, 200]
    assert answers[1].body == b"the second answer"
    hasty.records(2)
