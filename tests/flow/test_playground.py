"""The playground's way through a real gateway: streamed both ways, checked and recorded as any other request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.flow.client import Connection
from tests.flow.conftest import MOBILE_KEY, OPS_TOKEN
from tests.flow.desk import Desk
from tests.flow.forms import CONTENT_TYPE, audio, field, file, form, usual
from tests.flow.scripts import READ_ALL, event, hold, reply, send, stepwise

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flow.client import Headers
    from tests.flow.stage import Stage

PATH = "/api/playground/transcriptions"
EVENTS = [
    event({"type": "transcript.text.delta", "delta": "go "}),
    event({"type": "transcript.text.delta", "delta": "förward"}),
    event({"type": "transcript.text.done", "text": "go förward"}),
]


def begin(stage: Stage, connection: Connection, length: int, extra: Headers | None = None) -> None:
    """Send the head of an upload to the playground, as the page does."""
    first = [("Content-Type", CONTENT_TYPE), ("Content-Length", str(length)), ("Origin", "http://127.0.0.1")]
    first.append(("x-portkey-api-key", OPS_TOKEN))
    connection.head("POST", PATH, first + stage.headers(extra))


def test_the_upstream_has_the_first_byte_before_the_page_has_sent_the_last(watched: Stage) -> None:
    body = usual(audio(400_000))
    with Connection(watched.gateway.ops_port) as page:
        begin(watched, page, len(body))
        page.send(body[:200_000])
        assert watched.seen("first_body_at").complete is False
        page.send(body[200_000:])
        answer = page.read_reply()
    assert (answer.status, answer.json()) == (200, {"text": "hello"})
    assert answer.header("x-portkey-trace-id") == watched.token
    record = watched.record()
    assert (record["bytes_in"], record["outcome"]) == (len(body), "ok")


def test_every_event_reaches_the_page_before_the_next_one_is_written(watched: Stage) -> None:
    watched.script(READ_ALL, *stepwise(EVENTS))
    body = form(field("model", "m"), field("stream", "true"), file())
    with Connection(watched.gateway.ops_port) as page:
        begin(watched, page, len(body))
        page.send(body)
        assert page.read_head().header("content-type") == "text/event-stream"
        for index, data in enumerate(EVENTS):
            assert not page.readable()
            watched.release(f"event-{index}")
            assert page.read_chunk() == data
        watched.release("end")
        assert page.read_chunk() == b""
    assert watched.record()["stream"] is True


def test_the_gateway_refuses_as_it_refuses_everybody(watched: Stage) -> None:
    with Connection(watched.gateway.ops_port) as page:
        begin(watched, page, 50_000_000_000)
        answer = page.read_reply()
    assert (answer.status, answer.code) == (413, "upload_too_large")
    watched.unseen()


def test_a_page_that_leaves_ends_the_upstreams_work(watched: Stage) -> None:
    watched.script(READ_ALL, hold("never"), send(reply()))
    with Connection(watched.gateway.ops_port) as page:
        begin(watched, page, len(usual()))
        page.send(usual())
        watched.seen()
    assert watched.seen("cut").cut
    assert watched.record()["outcome"] == "client_left"


def test_a_caller_of_the_playground_needs_a_gateway_key_where_there_are_keys(own_gateway: Callable[..., Stage]) -> None:
    auth = {"mode": "keys", "keys": [{"name": "mobile", "key": MOBILE_KEY}]}
    stage = own_gateway(auth=auth, ops={"token": OPS_TOKEN})
    login = Desk(stage.gateway).ask("POST", "/api/session", f'{{"token":"{OPS_TOKEN}"}}'.encode())
    cookie = ("Cookie", (login.header("set-cookie") or "").partition(";")[0])

    def post(*headers: tuple[str, str]) -> int:
        with Connection(stage.gateway.ops_port) as page:
            begin(stage, page, len(usual()), [cookie, *headers])
            page.push(usual())
            return page.read_reply().status

    stage.caller_key = "sk-flow-none"
    assert post() == 401
    stage.caller_key = OPS_TOKEN
    assert post() == 401, "the ops token is no gateway key"
    stage.caller_key = MOBILE_KEY
    assert post(("x-portkey-provider", "@vk")) == 200
    assert stage.records(3)[-1]["key_name"] == "mobile"
    stage.gateway.stop()
