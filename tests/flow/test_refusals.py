"""Every row of the error table: status, code, shape, headers, record, and nothing billed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.flow.cases import BY_BODY, BY_HEADERS, Case
from tests.flow.client import pieces
from tests.flow.conftest import DESK_KEY, MOBILE_KEY
from tests.flow.forms import WAV, audio, field, file, form, usual
from tests.flow.scripts import READ_ALL, error, hold, reply, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.flow.client import Headers, Reply
    from tests.flow.stage import Stage


def check_shape(answer: Reply, case: Case) -> None:
    """The answer is what OpenAI's and Portkey's SDKs can read, and says what to do."""
    assert (answer.status, answer.clean) == (case.status, True)
    assert (answer.header("content-type") or "").startswith("application/json")
    body = answer.json()
    assert set(body) == {"status", "message", "error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert (body["status"], body["error"]["code"]) == ("failure", case.code)
    assert body["message"] == body["error"]["message"]
    assert len(body["message"]) > 15
    assert "sk-flow" not in body["message"]
    if case.param:
        assert body["error"]["param"] == case.param
    assert answer.header("x-portkey-trace-id")
    assert answer.header("x-portkey-gateway-exception") == "true"
    assert answer.header("x-should-retry") == "false"


@pytest.mark.parametrize("case", BY_HEADERS.values(), ids=BY_HEADERS.keys())
def test_what_the_headers_decide_is_refused_before_the_body(stage: Stage, case: Case) -> None:
    with stage.connect() as connection:
        sized = [("Content-Type", case.content_type), ("Content-Length", str(len(case.body)))]
        connection.head(case.method, case.target, sized + stage.headers(case.extra, without=case.without))
        answer = connection.read_reply()
        assert (answer.status, answer.code) == (case.status, case.code)
        check_shape(answer, case)
        assert answer.closes
        connection.upload(pieces(case.body))
    stage.unseen()
    trace_id = answer.header("x-portkey-trace-id") or ""
    record = stage.gateway.wait_records(trace_id)[0]
    assert (record["status"], record["error_code"], record["outcome"]) == (
        case.status,
        case.code,
        "client_error",
    )
    assert record["attempts"] == []


@pytest.mark.parametrize("case", BY_BODY.values(), ids=BY_BODY.keys())
def test_what_the_body_shows_is_refused_before_its_end_goes_out(stage: Stage, case: Case) -> None:
    answer = case.send(stage)
    assert (answer.status, answer.code) == (case.status, case.code)
    check_shape(answer, case)
    record = stage.record()
    assert (record["status"], record["error_code"], record["outcome"]) == (
        case.status,
        case.code,
        "client_error",
    )
    stage.uncommitted()


def test_an_unsupported_format_is_refused_in_openais_words(stage: Stage) -> None:
    message = BY_BODY["a picture"].send(stage).json()["message"]
    assert "Invalid file format. Supported formats: [" in message
    assert "'wav'" in message
    stage.record()


@pytest.mark.parametrize("data", [b"\x01\x02" * 500, b"\x00" * 1000], ids=["noise", "silence"])
def test_bytes_that_show_nothing_known_are_passed_on(stage: Stage, data: bytes) -> None:
    answer = stage.post(form(field("model", "m"), file(data)), [("x-portkey-provider", "strict")])
    assert answer.status == 200
    assert stage.record()["audio"]["container"] == "unknown"


KEYS: dict[str, tuple[Headers, int, str]] = {
    "no key": ([("Authorization", "")], 401, "missing_api_key"),
    "a key nobody has": ([("Authorization", "Bearer sk-flow-nobody")], 401, "invalid_api_key"),
    "a prefix of a key": ([("Authorization", f"Bearer {MOBILE_KEY[:-1]}")], 401, "invalid_api_key"),
    "a key that is not ASCII": ([("Authorization", "Bearer sk-flow-\u00e9")], 401, "invalid_api_key"),
    "a scheme nobody knows": ([("Authorization", "Basic c2stZmxvdy0=")], 401, "missing_api_key"),
    "a bad key in Portkey's header": ([("x-portkey-api-key", "sk-flow-no")], 401, "invalid_api_key"),
    "a bound key that names a provider": (
        [("Authorization", f"Bearer {DESK_KEY}"), ("x-portkey-provider", "free")],
        403,
        "not_allowed",
    ),
    "a bound key that names a virtual key": (
        [("Authorization", f"Bearer {DESK_KEY}"), ("x-portkey-virtual-key", "azure")],
        403,
        "not_allowed",
    ),
}


@pytest.mark.parametrize(("extra", "status", "code"), KEYS.values(), ids=KEYS.keys())
def test_a_caller_must_show_a_key_and_keep_to_what_it_may_use(
    keyed: Stage, extra: Headers, status: int, code: str
) -> None:
    if any(DESK_KEY in value for _, value in extra):
        keyed.provider = None
    answer = keyed.post(extra=extra)
    assert (answer.status, answer.code) == (status, code)
    check_shape(answer, Case(status, code))
    keyed.unseen()
    assert keyed.record()["error_code"] == code


def unreachable(stage: Stage) -> Reply:
    return stage.post(extra=[("x-portkey-provider", "dead")])


def unconnectable(stage: Stage) -> Reply:
    return stage.post(extra=[("x-portkey-provider", "mute")])


def late(stage: Stage) -> Reply:
    stage.script(READ_ALL, hold("never"))
    return stage.post(extra=[("x-portkey-request-timeout", "200")])


def late_by_config(stage: Stage) -> Reply:
    stage.script(READ_ALL, hold("never"))
    return stage.post(extra=[("x-portkey-config", "hurried")])


def broken(stage: Stage) -> Reply:
    stage.script(READ_ALL, ["close"])
    return stage.post()


FAILURES: dict[str, tuple[Callable[[Stage], Reply], int, str, str]] = {
    "nobody listens": (unreachable, 502, "upstream_unreachable", "upstream_error"),
    "nobody accepts": (unconnectable, 504, "upstream_timeout", "upstream_error"),
    "no answer": (broken, 502, "upstream_broke", "upstream_error"),
    "later than the request allows": (late, 408, "request_timeout", "client_error"),
    "later than the config allows": (late_by_config, 408, "request_timeout", "client_error"),
}


@pytest.mark.parametrize(("ask", "status", "code", "outcome"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failed_upstream_is_named_by_how_it_failed(
    stage: Stage, ask: Callable[[Stage], Reply], status: int, code: str, outcome: str
) -> None:
    answer = ask(stage)
    assert (answer.status, answer.code) == (status, code)
    assert answer.header("x-portkey-gateway-exception") == "true"
    assert answer.header("x-portkey-provider") in {"up", "dead", "mute", "free"}
    assert "127.0.0.1" not in answer.json()["message"], "an internal address"
    record = stage.record()
    assert (record["status"], record["error_code"], record["outcome"]) == (status, code, outcome)
    assert len(record["attempts"]) == 1
    assert record["attempts"][0]["failure"]


def test_a_connection_that_cannot_be_opened_is_tried_again_as_often_as_the_route_says(stage: Stage) -> None:
    config = {"provider": "dead", "retry": {"attempts": 1}}
    answer = stage.post(extra=[("x-portkey-config", json.dumps(config))])
    assert (answer.status, answer.code) == (502, "upstream_unreachable")
    record = stage.record()
    assert [attempt["failure"] for attempt in record["attempts"]] == ["connect_failed"] * 2
    assert record["retry_count"] == 1


def test_an_error_of_the_upstream_is_passed_on_as_it_came(stage: Stage) -> None:
    stage.script(READ_ALL, send(reply(400, b"<html>no</html>", content_type="text/html")))
    answer = stage.post()
    assert (answer.status, answer.body, answer.header("content-type")) == (
        400,
        b"<html>no</html>",
        "text/html",
    )
    assert answer.header("x-portkey-gateway-exception") is None
    record = stage.record()
    assert (record["status"], record["outcome"]) == (400, "upstream_error")


def test_a_secret_that_the_caller_did_not_send_is_masked_in_an_upstreams_error(stage: Stage) -> None:
    said = json.dumps({"error": {"message": "Incorrect API key provided: sk-flow-virtual. Try another."}})
    stage.script(READ_ALL, send(reply(401, said.encode())))
    answer = stage.post(extra=[("x-portkey-provider", "@vk")])
    assert (answer.status, answer.clean) == (401, True)
    assert answer.json()["error"]["message"] == "Incorrect API key provided: ***. Try another."
    stage.record()


def test_the_callers_own_key_is_not_masked(stage: Stage) -> None:
    said = json.dumps({"error": {"message": "Incorrect API key provided: sk-flow-caller."}}).encode()
    stage.script(READ_ALL, send(reply(401, said)))
    assert stage.post().body == said
    stage.record()


def test_more_requests_than_allowed_at_once_are_told_to_come_back(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway(limits={"max_in_flight": 1})
    stage.script(READ_ALL, hold(), send(reply()))
    with stage.connect() as connection:
        stage.begin(connection, len(usual()))
        connection.send(usual())
        stage.seen()
        answer = stage.post(usual(audio(200_000)))
        assert (answer.status, answer.code) == (503, "overloaded")
        assert int(answer.header("retry-after") or 0) > 0
        stage.release()
        assert connection.read_reply().status == 200
    assert stage.post().status == 200
    outcomes = sorted(record["outcome"] for record in stage.records(3))
    assert outcomes == ["gateway_error", "ok", "ok"]
    stage.gateway.stop()


def test_an_error_status_of_the_upstream_is_not_the_gateways(stage: Stage) -> None:
    stage.script(READ_ALL, send(error(503, headers=[("Retry-After", "3")])))
    answer = stage.post(form(field("model", "m"), file(WAV)))
    assert (answer.status, answer.code, answer.header("retry-after")) == (503, "upstream_says_no", "3")
    stage.record()
