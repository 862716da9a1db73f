"""Upstreams that answer, close or reset while the upload is still going on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flow.client import pieces
from tests.flow.forms import audio, usual
from tests.flow.scripts import CLOSE, LINGER, READ_ALL, RESET, error, hold, read, reply, send

if TYPE_CHECKING:
    from tests.flow.scripts import Step
    from tests.flow.stage import Stage

BODY = usual(audio(24 << 20, seed=2))  # more than all socket buffers on the way can hold
ENDINGS: dict[str, list[Step]] = {
    "close": [CLOSE],
    "reset": [RESET],
    "FIN, then reading on": [LINGER],
    "reading on": [READ_ALL],
    "silence": [hold("never")],
}


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
@pytest.mark.parametrize("status", [401, 413, 429])
def test_an_early_refusal_is_passed_on_at_once(stage: Stage, status: int, ending: list[Step], chunked: bool) -> None:
    """The client learns of it from the answer, not from a broken pipe, and stops sending."""
    for attempt in range(2):
        stage.script(read(200_000), send(error(status, headers=[("Retry-After", "7")])), *ending)
        with stage.connect() as connection:
            stage.begin(connection, None if chunked else len(BODY))
            sent = connection.upload(pieces(BODY), chunked=chunked)
            answer = connection.read_reply()
            assert (answer.status, answer.clean, answer.code) == (status, True, "upstream_says_no")
            assert answer.header("retry-after") == "7"
            assert sent < len(BODY), "the whole upload went into a refusal"
        record = stage.records(attempt + 1)[attempt]
        assert (record["status"], record["outcome"]) == (status, "upstream_error")
        assert record["attempts"][0]["status"] == status


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_an_early_success_is_passed_on_too(stage: Stage, ending: list[Step]) -> None:
    """Odd, but an answer; the connection ends with it, for nobody knows what becomes of the rest of the body."""
    stage.script(read(200_000), send(reply()), *ending)
    with stage.connect() as connection:
        stage.begin(connection, len(BODY))
        connection.upload(pieces(BODY))
        answer = connection.read_reply()
        assert (answer.status, answer.json(), answer.closes) == (200, {"text": "hello"}, True)
    assert stage.record()["status"] == 200


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_an_early_refusal_of_a_paused_upload_needs_no_more_bytes(stage: Stage, ending: list[Step]) -> None:
    stage.script(read(50_000), send(error(401)), *ending)
    with stage.connect() as connection:
        stage.begin(connection, len(BODY))
        connection.send(BODY[:100_000])
        answer = connection.read_reply()
        assert (answer.status, answer.code) == (401, "upstream_says_no")
    assert stage.record()["outcome"] == "upstream_error"


def test_a_stubborn_client_that_reads_only_after_writing_still_reads_the_refusal(stage: Stage) -> None:
    """What comes after the answer is drained for a while, so that no reset overtakes the answer."""
    stage.script(read(200_000), send(error(401)), CLOSE)
    body = usual(audio(6 << 20))
    with stage.connect() as connection:
        stage.begin(connection, len(body))
        connection.send(body)
        assert connection.read_reply().status == 401
    stage.record()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("ending", [CLOSE, RESET], ids=["close", "reset"])
@pytest.mark.parametrize("after", [0, 100, 200_000], ids=["at the head", "at once", "later"])
def test_an_upstream_that_leaves_mid_upload_is_a_502(stage: Stage, ending: Step, after: int, chunked: bool) -> None:
    stage.script(read(after), ending)
    with stage.connect() as connection:
        stage.begin(connection, None if chunked else len(BODY))
        sent = connection.upload(pieces(BODY), chunked=chunked)
        answer = connection.read_reply()
        assert (answer.status, answer.code) == (502, "upstream_broke")
        assert sent < len(BODY)
    record = stage.record()
    assert (record["status"], record["outcome"], record["error_code"]) == (
        502,
        "upstream_error",
        "upstream_broke",
    )
    assert record["attempts"][0]["failure"]


def test_what_the_upstream_did_not_read_is_not_read_from_the_client_either(stage: Stage) -> None:
    """Back-pressure reaches the client: nothing in between fills up."""
    stage.script(read(1000), hold(), READ_ALL)
    before = stage.gateway.rss()
    with stage.connect(send_buffer=1 << 16) as connection:
        stage.begin(connection, len(BODY))
        sent = connection.send_until_blocked(BODY)
        assert sent < len(BODY)
        assert stage.gateway.rss() - before < 8 << 20
        stage.release()
        connection.send(BODY[sent:])
        stage.seen()
    stage.record()
