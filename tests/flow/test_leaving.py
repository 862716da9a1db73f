"""Clients that leave, in every phase: the upstream is let go, nothing leaks, and one record says who left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flow.client import Connection, pieces
from tests.flow.forms import audio, field, file, form, usual
from tests.flow.scripts import READ_ALL, chunk, chunked_head, event, fill, head, hold, read, reply, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flow.stage import Stage

SHORT = usual()
LONG = usual(audio(24 << 20, seed=5))

FILE_FIRST = form(file(audio(200_000)), field("model", "whisper-1"))

WAYS: dict[str, Callable[[Connection], None]] = {
    "FIN": Connection.close,
    "reset": Connection.reset,
    "half-close": Connection.half_close,
}


def check_left(stage: Stage) -> None:
    """The record blames the client, and no attempt is held against the upstream."""
    record = stage.record()
    assert (record["status"], record["outcome"], record["error_code"]) == (499, "client_left", "client_left")


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def leave(request: pytest.FixtureRequest) -> Callable[[Connection], None]:
    way: Callable[[Connection], None] = request.param
    return way


def test_after_the_head(stage: Stage, leave: Callable[[Connection], None]) -> None:
    with stage.connect() as connection:
        stage.begin(connection, len(SHORT))
        leave(connection)
        check_left(stage)
    stage.uncommitted()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_mid_upload(stage: Stage, leave: Callable[[Connection], None], chunked: bool) -> None:
    with stage.connect() as connection:
        stage.begin(connection, None if chunked else len(LONG))
        (connection.chunk if chunked else connection.send)(LONG[:200_000])
        stage.seen("length", 150_000)
        leave(connection)
        check_left(stage)
        stage.seen("cut")
    stage.uncommitted()


def test_mid_upload_before_the_route_is_known(stage: Stage, leave: Callable[[Connection], None]) -> None:
    """Nothing has gone upstream yet: the deployment hangs on a model that has not come."""
    with stage.connect() as connection:
        stage.begin(connection, len(FILE_FIRST), [("x-portkey-provider", "@azure")])
        connection.send(FILE_FIRST[:100_000])
        leave(connection)
        check_left(stage)
    stage.unseen()


def test_mid_upload_while_the_upstream_does_not_read(stage: Stage, leave: Callable[[Connection], None]) -> None:
    """Nobody reads the client then, and a FIN waits behind bytes that nobody reads; it is noticed all the same."""
    port = stage.upstream.listen(receive_buffer=4096)
    stage.script(hold())
    with stage.connect() as connection:
        stage.begin(connection, len(LONG), [("x-portkey-custom-host", f"http://127.0.0.1:{port}/v1")])
        for piece in pieces(LONG, 1 << 15):
            connection.send(piece)
            if not stage.gateway.reads_all(connection.port):
                break
        else:
            pytest.fail("nothing held the upload back")
        leave(connection)
        check_left(stage)
    stage.release()  # only now can the upstream see the end behind the bytes that it did not read
    stage.uncommitted()


def test_mid_upload_with_every_buffer_full(hasty: Stage, leave: Callable[[Connection], None]) -> None:
    """A FIN cannot even arrive then: the request ends when the upload has stalled for too long."""
    hasty.script(read(1000), hold())
    with hasty.connect(send_buffer=1 << 16) as connection:
        hasty.begin(connection, len(LONG))
        connection.send_until_blocked(LONG, quiet=0.1)
        leave(connection)
        record = hasty.record()
        assert (record["outcome"], record["status"]) in [("client_left", 499), ("upstream_error", 504)]
    hasty.release()
    hasty.uncommitted()


def test_waiting_for_the_first_byte(stage: Stage, leave: Callable[[Connection], None]) -> None:
    stage.script(READ_ALL, hold("never"))
    with stage.connect() as connection:
        stage.begin(connection, len(SHORT))
        connection.send(SHORT)
        stage.seen()
        leave(connection)
        assert stage.seen("cut").complete
        check_left(stage)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_mid_reply(stage: Stage, leave: Callable[[Connection], None], framing: str) -> None:
    if framing == "chunked":
        started = chunked_head() + chunk(event("one"))
    else:
        started = head(200, [("Content-Type", "text/plain"), ("Content-Length", "99000")]) + b"one"
    stage.script(READ_ALL, send(started), hold("never"))
    with stage.connect() as connection:
        stage.begin(connection, len(SHORT))
        connection.send(SHORT)
        assert connection.read_head().status == 200
        leave(connection)
        stage.seen("cut")
        check_left(stage)


def test_mid_reply_while_reading_slowly(stage: Stage) -> None:
    for way in (Connection.close, Connection.reset):
        size = 48 << 20
        sized = [("Content-Type", "audio/mpeg"), ("Content-Length", str(size))]
        stage.script(READ_ALL, send(head(200, sized)), fill(size))
        with stage.connect(receive_buffer=1 << 16) as connection:
            stage.begin(connection, len(SHORT))
            connection.send(SHORT)
            assert connection.read_head().status == 200
            connection.read_some()
            way(connection)
    for index in range(2):
        stage.seen("cut", index=index)
    assert {record["outcome"] for record in stage.records(2)} == {"client_left"}


def test_in_the_middle_of_the_head(stage: Stage, leave: Callable[[Connection], None]) -> None:
    """That is no request yet: nothing to record, nothing to complain about."""
    known = len(stage.gateway.records())
    with stage.connect() as connection:
        connection.send(b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nx-portkey-tr")
        leave(connection)
    assert stage.post().status == 200
    stage.record()
    assert all(record["trace_id"].startswith("t-") for record in stage.gateway.records()[known:])


def test_just_after_a_whole_request_on_a_connection_that_lives_on(stage: Stage) -> None:
    """Leaving between requests is no failure of any."""
    with stage.connect() as connection:
        stage.begin(connection, len(SHORT))
        connection.send(SHORT)
        assert connection.read_reply().status == 200
    assert stage.record()["outcome"] == "ok"


def abort(stage: Stage, phase: int) -> None:
    """Leave in one of five phases."""
    connection = stage.connect()
    stage.begin(connection, len(LONG))
    if phase >= 1:
        connection.send(LONG[: phase * 70_000])
    (connection.reset if phase % 2 else connection.close)()


def test_two_hundred_aborted_uploads_leave_no_descriptor_behind(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway(timeouts={"upstream_keepalive": 0.2})
    stage.script(READ_ALL, send(reply()))
    assert stage.post().status == 200
    before = stage.gateway.fds()
    for number in range(200):
        abort(stage, number % 5)
    records = stage.records(201)
    assert {record["outcome"] for record in records[1:]} == {"client_left"}
    stage.gateway.wait_for(lambda: stage.gateway.fds() <= before, "all descriptors to be closed")
    assert stage.post().status == 200
    stage.records(202)
    stage.gateway.stop()
