"""A fallback asks one target after the other: each gets every byte, and the record tells the story."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.forms import WAV, audio, field, file, form, usual
from tests.flow.scripts import CLOSE, READ_ALL, RESET, chunk, chunked_head, error, event, head, hold, reply, send
from tests.flow.stage import CALLER_KEY
from tests.flow.test_metrics import settled
from tests.flow.trio import PRICES, got_audio, key_of, targets, told, with_config

if TYPE_CHECKING:
    from tests.flow.client import Reply
    from tests.flow.scripts import Step
    from tests.flow.trio import Trio

SAID = b'{"text":"said"}'
SECONDS = Decimal(len(WAV) - 44) / 32_000  # of the usual audio
ORDERS = {
    "file last": usual(),
    "file first": form(file(), field("model", "whisper-1")),
}


@dataclass(frozen=True)
class End:
    """How the first target's attempt ends: its script, and what the record says of it."""

    steps: tuple[Step, ...]
    status: int | None
    failure: str = "refused"
    billed: bool = True
    reason: str = "other"  # of the metric
    timeout: int = 20_000  # milliseconds that the target has for its answer


def answers(status: int) -> End:
    reason = "status_429" if status == 429 else f"status_{status // 100}xx"
    return End((READ_ALL, send(error(status))), status, billed=status >= 500, reason=reason)


ENDS: dict[str, End] = {
    **{str(status): answers(status) for status in (400, 401, 404, 413, 429, 500, 503)},
    "a redirect": End(
        (READ_ALL, send(reply(302, b"", [("Location", "http://elsewhere.example/")]))), 302, billed=False
    ),
    "a reset": End((READ_ALL, RESET), None, "upstream_broke", reason="reset"),
    "an end without an answer": End((READ_ALL, CLOSE), None, "upstream_broke", reason="reset"),
    "no HTTP": End((READ_ALL, send(b"what?\r\n\r\n"), CLOSE), None, "upstream_broke", reason="reset"),
    "half an answer": End(
        (READ_ALL, send(head(200, [("Content-Length", "99")]) + b'{"text":'), CLOSE),
        200,
        "upstream_broke",
        reason="reset",
    ),
    "silence": End((READ_ALL, hold("never")), None, "upstream_timed_out", reason="timeout", timeout=400),
}


def both(timeout: int = 20_000, **strategy: Any) -> dict[str, Any]:
    """Return a fallback from ``a`` to ``b``, each with its own key and model; ``a`` has ``timeout`` to answer."""
    return targets(
        "fallback",
        {"virtual_key": "key-a", "override_params": {"model": "at-a"}, "request_timeout": timeout},
        {"virtual_key": "key-b", "override_params": {"model": "at-b", "language": "de"}},
        **strategy,
    )


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_whatever_is_no_success_leads_to_the_next_target(trio: Trio, end: End) -> None:
    trio.a.script(*end.steps)
    trio.b.script(READ_ALL, send(reply(200, SAID)))
    before = settled(trio.a)
    answer = trio.post(both(end.timeout))
    assert (answer.status, answer.body) == (200, SAID)
    for name, stage in (("a", trio.a), ("b", trio.b)):
        seen = stage.seen()
        got_audio(seen, WAV)
        assert seen.fields("model") == [f"at-{name}"]
        assert seen.fields("language") == ([] if name == "a" else ["de"])
        assert seen.header("authorization") == f"Bearer {key_of(name)}"
    headers = {name: answer.header(f"x-portkey-{name}") for name in ("provider", "trace-id", "retry-attempt-count")}
    assert headers == {"provider": "b", "trace-id": trio.a.token, "retry-attempt-count": "0"}
    assert answer.header("x-portkey-last-used-option-index") == "config.targets[1]"
    record = trio.record()
    assert told(record, "provider", "model", "status", "failure", "replayed", "possibly_billed") == [
        ("config.targets[0]", "a", "at-a", end.status, end.failure, False, end.billed),
        ("config.targets[1]", "b", "at-b", 200, None, True, False),
    ]
    assert (record["provider"], record["model_used"], record["outcome"]) == ("b", "at-b", "ok")
    assert (record["retry_count"], record["replay"]) == (1, "memory")
    assert Decimal(record["cost_usd"]) == SECONDS.quantize(Decimal("0.001")) * Decimal(str(PRICES["b"]))
    after = settled(trio.a)
    fallback = f'fallbacks_total{{from_provider="a",reason="{end.reason}",to_provider="b"}}'
    assert after[fallback] - before.get(fallback, 0) == 1
    assert sum(value for name, value in after.items() if name.startswith("retries_total")) == sum(
        value for name, value in before.items() if name.startswith("retries_total")
    )
    spent = 'cost_usd_total{basis="seconds",model="at-a",provider="a"}'
    assert after.get(spent) == before.get(spent), "nobody knows what a failure costs"


def test_a_target_that_nobody_serves_got_nothing(trio: Trio) -> None:
    answer = trio.post(targets("fallback", "dead", "b"))
    assert answer.status == 200
    got_audio(trio.b.seen(), WAV)
    record = trio.record()
    assert told(record, "failure", "status", "sent_bytes", "possibly_billed", "replayed") == [
        ("config.targets[0]", "connect_failed", None, 0, False, False),
        ("config.targets[1]", None, 200, len(usual()), False, True),
    ]


@pytest.mark.parametrize(
    ("codes", "end", "moves"),
    [
        ([429], "429", True),
        ([429], "500", False),
        ([429, 503], "503", True),
        ([401], "401", True),
        ([], "500", False),
        ([408], "silence", True),
        ([500], "silence", False),
        ([500], "a reset", True),
        ([502], "a reset", True),
        ([429], "a reset", False),
        ([429], "half an answer", False),
    ],
)
def test_listed_statuses_alone_lead_on(trio: Trio, codes: list[int], end: str, moves: bool) -> None:
    """A lost connection is a 500 in Portkey, and 502 is what the gateway answers; a timeout of the target's is 408."""
    trio.a.script(*ENDS[end].steps)
    answer = trio.post(both(ENDS[end].timeout, on_status_codes=codes))
    assert trio.asked() == {"a": 1, "b": int(moves), "c": 0}
    ended = {"silence": 408, "a reset": 502, "half an answer": 502}.get(end) or int(end)
    assert answer.status == (200 if moves else ended)
    assert answer.header("x-portkey-last-used-option-index") == f"config.targets[{int(moves)}]"
    record = trio.record()
    assert (len(record["attempts"]), record["status"]) == (1 + moves, answer.status)
    assert record["outcome"] == "ok" if moves else record["outcome"] != "ok"
    assert (record["cost_usd"] is None) is not moves


def test_the_client_gets_the_last_answer_when_none_is_good(trio: Trio) -> None:
    for stage, status, code in ((trio.a, 500, "from_a"), (trio.b, 429, "from_b"), (trio.c, 404, "from_c")):
        stage.script(READ_ALL, send(error(status, code)))
    answer = trio.post(targets("fallback", "a", "b", "c"))
    assert (answer.status, answer.code, answer.header("x-portkey-provider")) == (404, "from_c", "c")
    assert answer.header("x-portkey-last-used-option-index") == "config.targets[2]"
    assert answer.header("x-portkey-gateway-exception") is None
    record = trio.record()
    assert told(record, "status", "replayed") == [
        ("config.targets[0]", 500, False),
        ("config.targets[1]", 429, True),
        ("config.targets[2]", 404, True),
    ]
    assert (record["outcome"], record["status"], record["cost_usd"]) == ("upstream_error", 404, None)


def test_the_gateway_speaks_when_the_last_target_says_nothing(trio: Trio) -> None:
    trio.a.script(READ_ALL, send(error(500)))
    trio.b.script(READ_ALL, RESET)
    answer = trio.post(targets("fallback", "a", "b"))
    assert (answer.status, answer.code) == (502, "upstream_broke")
    assert answer.header("x-portkey-gateway-exception") == "true"
    assert answer.header("x-portkey-last-used-option-index") == "config.targets[1]"
    record = trio.record()
    assert [attempt["failure"] for attempt in record["attempts"]] == ["refused", "upstream_broke"]
    assert (record["outcome"], record["error_code"]) == ("upstream_error", "upstream_broke")


def test_a_target_that_succeeds_is_the_only_one(trio: Trio) -> None:
    assert trio.post(both()).status == 200
    assert trio.asked() == {"a": 1, "b": 0, "c": 0}
    record = trio.record()
    assert (record["retry_count"], record["attempts"][0]["target"]) == (0, "config.targets[0]")
    assert record["replay"] == "memory", "it was kept, for it might have been needed"


@pytest.mark.parametrize("body", ORDERS.values(), ids=ORDERS.keys())
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("model", ["whisper-1", "gpt-transcribe"])
def test_from_openai_to_azure_with_other_names_for_the_model(
    trio: Trio, body: bytes, chunked: bool, model: str
) -> None:
    """Portkey's own example. The first target's model is its config's; the second's deployment hangs on a field."""
    trio.a.script(READ_ALL, send(error(429)))
    config = targets(
        "fallback",
        {"virtual_key": "openai", "override_params": {"model": "gpt-4o-transcribe"}},
        {"virtual_key": "azure", "override_params": {"model": model}},
    )
    assert trio.post(config, body, chunked=chunked).status == 200
    first, second = trio.a.seen(), trio.b.seen()
    got_audio(first, WAV)
    got_audio(second, WAV)
    assert (first.target, first.fields("model")) == ("/v1/audio/transcriptions", ["gpt-4o-transcribe"])
    assert first.header("authorization") == f"Bearer {key_of('openai')}"
    deployment = {"whisper-1": "hear", "gpt-transcribe": "gptt"}[model]
    assert second.target == f"/openai/deployments/{deployment}/audio/transcriptions?api-version=2025-04-01-preview"
    assert (second.header("api-key"), second.header("authorization")) == (key_of("azure"), None)
    record = trio.record()
    assert told(record, "provider", "model", "replayed") == [
        ("config.targets[0]", "openai", "gpt-4o-transcribe", False),
        ("config.targets[1]", "azure-openai", model, True),
    ]


def test_a_refusal_in_the_middle_of_the_upload_costs_no_more_of_it(trio: Trio) -> None:
    """``b`` has the first half while the client still holds the second."""
    data = audio(600_000)
    body = usual(data)
    trio.a.script(["read", 1000], send(error(401)), CLOSE)
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(body), with_config(both()))
        connection.send(body[:300_000])
        trio.b.seen("length", 250_000)
        connection.send(body[300_000:])
        assert connection.read_reply().status == 200
    got_audio(trio.b.seen(), data)
    assert told(trio.record(), "status", "possibly_billed") == [
        ("config.targets[0]", 401, False),
        ("config.targets[1]", 200, False),
    ]


# Whose fault it is


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (usual()[:-8], "truncated_upload"),
        (form(file()), "missing_model"),
        (form(field("model", "m"), file(b"")), "missing_file"),
        (form(field("model", "m"), file(), file()), "duplicate_field"),
    ],
)
def test_a_clients_fault_is_not_tried_elsewhere(trio: Trio, body: bytes, code: str) -> None:
    answer = trio.post(targets("fallback", "a", "b"), body)
    assert (answer.status, answer.code) == (400, code)
    assert trio.asked()["b"] == 0
    trio.a.uncommitted()
    assert trio.record()["outcome"] == "client_error"


def test_a_client_that_leaves_is_not_tried_elsewhere(trio: Trio) -> None:
    body = usual(audio(300_000))
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(body), with_config(targets("fallback", "a", "b")))
        connection.send(body[:200_000])
        trio.a.seen("length", 100_000)
    trio.a.uncommitted()
    record = trio.record()
    assert (record["outcome"], len(record["attempts"])) == ("client_left", 1)
    assert trio.asked()["b"] == 0


# Targets that do not take this upload


def test_a_target_too_small_for_the_announced_length_is_not_asked(trio: Trio) -> None:
    data = audio(300_000)
    assert trio.post(targets("fallback", "small", "b"), usual(data)).status == 200
    got_audio(trio.b.seen(), data)
    assert trio.asked()["a"] == 0
    record = trio.record()
    assert told(record, "provider", "replayed") == [("config.targets[1]", "b", False)]
    assert record["retry_count"] == 0


def test_a_target_that_turns_out_too_small_is_left_before_it_can_bill(trio: Trio) -> None:
    data = audio(300_000)
    body = usual(data)
    with trio.a.connect() as connection:
        trio.a.begin(connection, None, with_config(targets("fallback", "small", "b")))
        connection.chunk(body[:50_000])
        trio.a.seen("length", 40_000)
        connection.chunk(body[50_000:])
        connection.end_chunks()
        assert connection.read_reply().status == 200
    got_audio(trio.b.seen(), data)
    trio.a.uncommitted()
    assert told(trio.record(), "failure", "possibly_billed", "replayed") == [
        ("config.targets[0]", "gateway_refused", False, False),
        ("config.targets[1]", None, False, True),
    ]


def test_an_upload_too_large_for_every_target_is_refused_before_it_is_read(trio: Trio) -> None:
    answer = trio.post(targets("fallback", "small", "small"), usual(audio(300_000)))
    assert (answer.status, answer.code) == (413, "upload_too_large")
    assert trio.asked() == {"a": 0, "b": 0, "c": 0}
    assert trio.record()["attempts"] == []


@pytest.mark.parametrize("body", ORDERS.values(), ids=ORDERS.keys())
def test_a_target_that_does_not_take_the_format_is_passed_over(trio: Trio, body: bytes) -> None:
    assert trio.post(targets("fallback", "mp3", "b"), body).status == 200
    got_audio(trio.b.seen(), WAV)
    trio.a.uncommitted()
    assert trio.record()["outcome"] == "ok"


def test_a_format_that_no_target_takes_is_refused(trio: Trio) -> None:
    answer = trio.post(targets("fallback", "mp3", "mp3"))
    assert (answer.status, answer.code) == (400, "unsupported_format")
    trio.a.uncommitted()
    assert trio.record()["outcome"] == "client_error"


def test_the_last_failure_stands_when_no_other_target_takes_the_upload(trio: Trio) -> None:
    trio.b.script(READ_ALL, send(error(503, "from_b")))
    answer = trio.post(targets("fallback", "b", "mp3"))
    assert (answer.status, answer.code, answer.header("x-portkey-provider")) == (503, "from_b", "b")
    assert told(trio.record(), "status") == [("config.targets[0]", 503)]


# Other bodies


def speech(trio: Trio, config: dict[str, Any]) -> Reply:
    document = json.dumps({"model": "tts-1", "input": "hello", "voice": "alloy"}).encode()
    extra = [*with_config(config), ("Content-Type", "application/json")]
    return trio.a.request("POST", "/v1/audio/speech", document, extra)


def test_speech_falls_back_with_each_targets_own_model(trio: Trio) -> None:
    sound = bytes(range(256)) * 40
    trio.a.script(READ_ALL, send(error(500)))
    trio.b.script(READ_ALL, send(reply(200, sound, content_type="audio/mpeg")))
    answer = speech(trio, both())
    assert (answer.status, answer.body) == (200, sound)
    for name, stage in (("a", trio.a), ("b", trio.b)):
        seen = stage.seen()
        assert json.loads(seen.body)["model"] == f"at-{name}"
        assert seen.header("authorization") == f"Bearer {key_of(name)}"
    record = trio.record()
    assert told(record, "model", "status", "failure", "replayed") == [
        ("config.targets[0]", "at-a", 500, "refused", False),
        ("config.targets[1]", "at-b", 200, None, True),
    ]
    assert (record["route"], record["replay"]) == ("speech", "memory")


@pytest.mark.parametrize(
    ("method", "body", "kind"),
    [
        ("GET", None, None),
        ("DELETE", None, None),
        ("POST", b'{"model":"m","input":["x"]}', "application/json"),
        ("PUT", bytes(range(256)) * 2000, "application/octet-stream"),
    ],
)
def test_what_passes_through_falls_back_too(trio: Trio, method: str, body: bytes | None, kind: str | None) -> None:
    trio.a.script(READ_ALL, send(error(503)))
    trio.b.script(READ_ALL, send(reply(201, b"done")))
    extra = [*with_config(targets("fallback", "a", "b")), *([("Content-Type", kind)] if kind else [])]
    answer = trio.a.request(method, "/v1/things/7?q=1", body, extra)
    assert (answer.status, answer.body, answer.header("x-portkey-provider")) == (201, b"done", "b")
    for stage in (trio.a, trio.b):
        seen = stage.seen("done" if body is None else "complete")
        assert (seen.method, seen.target, seen.body) == (method, "/v1/things/7?q=1", body or b"")
        assert seen.header("authorization") == f"Bearer {CALLER_KEY}"
    assert told(trio.record(), "status", "replayed") == [
        ("config.targets[0]", 503, False),
        ("config.targets[1]", 201, body is not None),
    ]


def test_an_answer_that_has_begun_is_never_taken_back(trio: Trio) -> None:
    """Its head went out with the first event: what follows can only be cut."""
    trio.a.script(READ_ALL, send(chunked_head() + chunk(event({"delta": "he"}))), hold(), RESET)
    body = usual()
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(body), with_config(targets("fallback", "a", "b")))
        connection.send(body)
        answer = connection.read_head()
        assert answer.status == 200
        trio.a.release()
        connection.read_body(answer)
    assert not answer.clean
    assert trio.asked()["b"] == 0
    assert trio.record()["outcome"] == "upstream_error"
