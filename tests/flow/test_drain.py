"""Going down as Kubernetes expects: unready at once, serving on, then refusing, finishing, exit 0."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.flow.client import BrokenReplyError, Connection
from tests.flow.forms import audio, usual
from tests.flow.scripts import READ_ALL, chunk, chunked_head, hold, reply, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.flow.stage import Stage

BODY = usual()


@pytest.fixture
def busy(own_gateway: Callable[..., Stage]) -> Iterator[Callable[..., tuple[Stage, Connection]]]:
    """Start a gateway with one request in flight, whose answer the upstream holds back."""
    opened: list[Connection] = []

    def start(**changes: object) -> tuple[Stage, Connection]:
        stage = own_gateway(**changes)
        stage.script(READ_ALL, hold(), send(reply(200, b"finished")))
        connection = stage.connect()
        opened.append(connection)
        stage.begin(connection, len(BODY))
        connection.send(BODY)
        stage.seen()
        return stage, connection

    yield start
    for connection in opened:
        connection.close()


def unready(stage: Stage) -> None:
    stage.gateway.wait_for(lambda: stage.gateway.ops("/readyz")[0] == 503, "readyz to say 503")


def test_a_draining_gateway_is_unready_at_once_and_serves_for_the_delay(
    busy: Callable[..., tuple[Stage, Connection]],
) -> None:
    """A balancer needs that delay to notice; until then requests still come and are served."""
    stage, connection = busy(drain={"delay": 1.5, "timeout": 10})
    assert stage.gateway.ops("/livez")[0] == 200
    stage.gateway.signal(signal.SIGTERM)
    unready(stage)
    assert stage.gateway.ops("/livez")[0] == 200, "draining is not dead"
    assert stage.post().status == 200
    statuses = []

    def refused() -> bool:
        answer = stage.post()
        statuses.append(answer.status)
        if answer.status == 503:
            assert (answer.code, answer.closes) == ("draining", True)
            assert int(answer.header("retry-after") or 0) > 0
        return answer.status == 503

    stage.gateway.wait_for(refused, "new requests to be refused")
    assert set(statuses) == {200, 503}
    stage.release()
    answer = connection.read_reply()
    assert (answer.status, answer.body, answer.closes) == (200, b"finished", True)
    assert stage.gateway.wait_exit() == 0
    stage.gateway.check_remains()
    outcomes = [record["outcome"] for record in stage.gateway.records(stage.token)]
    assert outcomes.count("ok") == statuses.count(200) + 2
    assert outcomes.count("gateway_error") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_requests_it_ends_at_once(own_gateway: Callable[..., Stage], number: signal.Signals) -> None:
    stage = own_gateway(drain={"delay": 0, "timeout": 60})
    with stage.connect() as idle:
        stage.begin(idle, len(BODY))
        idle.send(BODY)
        assert idle.read_reply().status == 200
        stage.gateway.signal(number)
        assert stage.gateway.wait_exit() == 0
        assert idle.at_end()
    stage.gateway.check_remains()


def test_an_upload_in_flight_may_finish(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway(drain={"delay": 0, "timeout": 10})
    body = usual(audio(300_000))
    with stage.connect() as connection:
        stage.begin(connection, len(body))
        connection.send(body[:200_000])
        stage.seen("length", 100_000)
        stage.gateway.signal(signal.SIGTERM)
        unready(stage)
        connection.send(body[200_000:])
        answer = connection.read_reply()
        assert (answer.status, answer.closes) == (200, True)
    assert stage.gateway.wait_exit() == 0
    assert stage.record()["outcome"] == "ok"
    stage.gateway.check_remains()


def test_a_request_that_outlasts_the_timeout_is_cut_with_a_record(
    busy: Callable[..., tuple[Stage, Connection]],
) -> None:
    stage, connection = busy(drain={"delay": 0, "timeout": 0.4})
    stage.gateway.signal(signal.SIGTERM)
    assert_cut(stage, connection)


def test_a_second_signal_cuts_at_once(busy: Callable[..., tuple[Stage, Connection]]) -> None:
    stage, connection = busy(drain={"delay": 30, "timeout": 30})
    stage.gateway.signal(signal.SIGTERM)
    unready(stage)
    stage.gateway.signal(signal.SIGTERM)
    assert_cut(stage, connection)


def assert_cut(stage: Stage, connection: Connection) -> None:
    """The client gets an error or an end, never half an answer; the record says what happened."""
    assert stage.gateway.wait_exit() == 0
    try:
        answer = connection.read_reply()
    except (BrokenReplyError, ConnectionResetError):
        pass
    else:
        assert (answer.status, answer.code) == (503, "draining")
    stage.seen("cut")
    record = stage.record()
    assert (record["outcome"], record["error_code"]) == ("gateway_error", "draining")
    stage.gateway.check_remains()


def test_a_reply_that_is_cut_by_the_timeout_is_not_a_clean_end(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway(drain={"delay": 0, "timeout": 0.3})
    stage.script(READ_ALL, send(chunked_head() + chunk(b"data: 1\n\n")), hold("never"))
    with stage.connect() as connection:
        stage.begin(connection, len(BODY))
        connection.send(BODY)
        answer = connection.read_head()
        stage.gateway.signal(signal.SIGTERM)
        connection.read_body(answer)
        assert not answer.clean
    assert stage.gateway.wait_exit() == 0
    assert stage.record()["outcome"] == "gateway_error"
    stage.gateway.check_remains()
