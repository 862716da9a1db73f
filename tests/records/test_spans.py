"""From a closed record to spans: names, kinds, attributes and errors as the semantic conventions have them."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import GatewayError
from proxy.headers import TraceParent
from proxy.metering.usage import Usage
from proxy.records.record import Record
from proxy.records.spans import rejected_in, request_of, resource_of, spans_of
from proxy.records.trace import Trace
from tests.flow.collector import Span, read

TRACE, PARENT, OWN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
BEGAN = 1_700_000_000_000_000_000  # nanoseconds
SECOND = 1_000_000_000


def record(route: str = "transcriptions", method: str = "POST", **known: Any) -> Record:
    parent = TraceParent(TRACE, PARENT, 1)
    given = {"trace": Trace(TRACE, 1, parent, OWN), "time": 1_700_000_000.0, "status": 200, "trace_id": "t-1"}
    return Record(route, method, 100.0, **{**given, **known})


def spans(of: Record, end: float = 110.0) -> list[Span]:
    document = of.close(end)
    resource = resource_of({"service.name": "audiogate"})
    return list(read(request_of(resource, spans_of(document))))


def only(of: Record) -> Span:
    (span,) = spans(of)
    return span


def test_a_request_tells_all_that_its_record_knows_but_no_words_of_it() -> None:
    full = record(
        provider="openai", model_requested="whisper-1", model_used="gpt-transcribe", key_name="mobile", config="stt",
        container="wav", filename="SECRET.wav", audio_bytes=900, audio_seconds=2.5, seconds_source="header",
        cost_usd="0.00025", cost_basis="seconds", bytes_in=1000, bytes_out=50, response_format="json", language="de",
        metadata={"_user": "SECRET"}, client="10.0.0.1", user_agent="curl/8", replay="memory", stream=True,
    )  # fmt: skip
    full.usage = Usage(input_tokens=7, output_tokens=3, audio_tokens=5).document()
    document = full.close(101.5)
    body = request_of(resource_of({"service.name": "audiogate"}), spans_of({**document, "transcript": "SECRET"}))
    (span,) = read(body)
    assert b"SECRET" not in body
    assert (span.name, span.kind, span.failed) == ("transcription whisper-1", 2, False)
    assert (span.trace_id, span.span_id, span.parent_id, span.state) == (TRACE, OWN, PARENT, "")
    assert (span.start, span.end) == (BEGAN, BEGAN + 3 * SECOND // 2)
    assert span.flags == 0x301, "sampled, and the parent is known to be somebody else's"
    assert span.resource == {"service.name": "audiogate"}
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/audio/transcriptions",
        "http.response.status_code": 200,
        "http.request.body.size": 1000,
        "http.response.body.size": 50,
        "client.address": "10.0.0.1",
        "user_agent.original": "curl/8",
        "gen_ai.operation.name": "transcription",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "whisper-1",
        "gen_ai.response.model": "gpt-transcribe",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "audiogate.usage.audio_tokens": 5,
        "audiogate.audio.container": "wav",
        "audiogate.audio.bytes": 900,
        "audiogate.audio.seconds": 2.5,
        "audiogate.audio.seconds_source": "header",
        "audiogate.cost_usd": 0.00025,
        "audiogate.cost_basis": "seconds",
        "audiogate.route": "transcriptions",
        "audiogate.outcome": "ok",
        "audiogate.key_name": "mobile",
        "audiogate.config": "stt",
        "audiogate.retry_count": 0,
        "audiogate.replay": "memory",
        "audiogate.stream": True,
        "audiogate.response_format": "json",
        "audiogate.record_id": full.id,
        "audiogate.trace_id": "t-1",
    }


@pytest.mark.parametrize(
    ("route", "method", "model", "name"),
    [
        ("transcriptions", "POST", "whisper-1", "transcription whisper-1"),
        ("translations", "POST", "whisper-1", "translation whisper-1"),
        ("speech", "POST", "tts-1", "speech tts-1"),
        ("transcriptions", "POST", None, "transcription"),
        ("transcriptions", "POST", "m" * 300, f"transcription {'m' * 256}"),
        ("passthrough", "GET", None, "GET /v1/{path}"),
        ("passthrough", "BREW", None, "HTTP /v1/{path}"),
        ("_unmatched", "GET", None, "GET"),
    ],
)
def test_a_span_is_named_by_what_is_done_and_the_model(route: str, method: str, model: str | None, name: str) -> None:
    assert only(record(route, method, model_requested=model)).name == name


@pytest.mark.parametrize(
    ("provider", "name"),
    [("openai", "openai"), ("azure-openai", "azure.ai.openai"), ("mistral-ai", "mistral_ai"), ("own", "own")],
)
def test_a_provider_has_the_name_that_the_conventions_give_it(provider: str, name: str) -> None:
    assert only(record(provider=provider)).attributes["gen_ai.provider.name"] == name


@pytest.mark.parametrize(
    ("status", "code", "failed", "error"),
    [
        (200, None, False, None),
        (401, None, False, None),  # the upstream's word to the client; a server's span fails by 5xx
        (503, None, True, "503"),
        (400, "invalid_multipart", False, None),
        (504, "upstream_timeout", True, "upstream_timeout"),
        (500, "internal_error", True, "internal_error"),
        (499, "client_left", False, None),
        (None, None, True, "_OTHER"),
    ],
)
def test_a_request_fails_when_it_was_not_the_clients_doing(
    status: int | None, code: str | None, failed: bool, error: str | None
) -> None:
    begun = record(status=status)
    if code is not None:
        begun.failed(GatewayError(code, "m"))
    span = only(begun)
    assert (span.failed, span.attributes.get("error.type")) == (failed, error)
    assert span.attributes.get("audiogate.error_code") == code


def test_a_reply_that_was_cut_after_its_head_is_an_error() -> None:
    begun = record()
    begun.failed(GatewayError("upstream_broke", "m"))
    begun.status = 200
    span = only(begun)
    assert (span.attributes["http.response.status_code"], span.failed) == (200, True)
    assert span.attributes["error.type"] == "upstream_broke"


ATTEMPTS: list[tuple[dict[str, Any], bool, str | None]] = [
    ({"status": 200}, False, None),
    ({"status": 429, "failure": "refused"}, True, "429"),
    ({"failure": "connect_failed"}, True, "connect_error"),
    ({"failure": "connect_failed", "cause": "tls"}, True, "tls_error"),
    ({"failure": "upstream_timed_out"}, True, "timeout"),
    ({"status": 200, "failure": "upstream_broke"}, True, "reset"),
    ({"failure": "client_left"}, False, None),
    ({"failure": "gateway_refused"}, False, None),
]


@pytest.mark.parametrize(("facts", "failed", "error"), ATTEMPTS)
def test_an_attempt_fails_when_its_upstream_does(facts: dict[str, Any], failed: bool, error: str | None) -> None:
    begun = record()
    attempt = begun.attempt("config", "groq", "m", 101.0)
    for name, value in facts.items():
        setattr(attempt, name, value)
    _, span = spans(begun)
    assert (span.failed, span.attributes.get("error.type")) == (failed, error)
    assert span.attributes.get("audiogate.failure") == facts.get("failure")


def test_an_attempt_is_a_call_to_its_provider_within_the_request() -> None:
    begun = record(model_requested="whisper-1")
    first = begun.attempt("config.targets[0]", "groq", None, 101.0)
    first.ended, first.status, first.failure = 102.0, 500, "refused"
    second = begun.attempt("config.targets[1]", "azure-openai", "gptt", 103.0)
    second.opened(0.25)
    second.first_sent, second.upload_done, second.head_at, second.ended = 103.5, 104.0, 105.0, 106.0
    second.status, second.sent_bytes, second.replayed, second.hedged, second.possibly_billed = 200, 10, True, True, True
    request, one, two = spans(begun)
    assert [(span.span_id, span.parent_id, span.kind, span.flags) for span in (one, two)] == [
        (first.span_id, OWN, 3, 0x101), (second.span_id, OWN, 3, 0x101),
    ]  # fmt: skip
    assert (one.name, two.name) == ("transcription whisper-1", "transcription gptt")
    assert (one.start, one.end) == (BEGAN + SECOND, BEGAN + 2 * SECOND)
    assert (two.start, two.end, request.end) == (BEGAN + 3 * SECOND, BEGAN + 6 * SECOND, BEGAN + 10 * SECOND)
    assert one.events == {}
    assert two.events == {
        "audiogate.upstream.first_byte_sent": BEGAN + 7 * SECOND // 2,
        "audiogate.upstream.upload_done": BEGAN + 4 * SECOND,
        "audiogate.upstream.reply_head": BEGAN + 5 * SECOND,
    }
    assert two.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.request.resend_count": 1,
        "gen_ai.operation.name": "transcription",
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.request.model": "gptt",
        "audiogate.target": "config.targets[1]",
        "audiogate.sent_bytes": 10,
        "audiogate.replayed": True,
        "audiogate.hedged": True,
        "audiogate.possibly_billed": True,
        "audiogate.connect_ms": 250.0,
    }


def test_the_phases_of_a_request_are_events_as_far_as_they_came() -> None:
    begun = record()
    begun.body_started = 100.5
    assert only(begun).events == {"audiogate.upload.began": BEGAN + SECOND // 2}
    begun = record()
    begun.body_started, begun.body_done, begun.answered = 100.5, 103.0, 102.0
    assert list(only(begun).events.items()) == [
        ("audiogate.upload.began", BEGAN + SECOND // 2),
        ("audiogate.reply.first_byte", BEGAN + 2 * SECOND),  # an early answer
        ("audiogate.upload.done", BEGAN + 3 * SECOND),
    ]


def test_no_attempt_outlasts_its_request() -> None:
    """Each time is rounded by itself, and a hedge's loser may never have ended."""
    begun = record()
    lost = begun.attempt("config.targets[0]", "groq", "m", 100.0000004)
    last = begun.attempt("config.targets[1]", "groq", "m", 100.0000006)
    last.ended = 100.0010005
    lost.ended = None
    request, *attempts = spans(begun, 100.0010006)
    assert all(request.start <= span.start <= span.end <= request.end for span in attempts)


def test_a_root_span_has_no_parent() -> None:
    span = only(record(trace=Trace(TRACE, 1)))
    assert (span.parent_id, span.flags) == ("", 0x101)


def test_what_clients_make_up_is_cut_and_what_is_no_text_is_replaced() -> None:
    span = only(record(user_agent="\udcff" + "u" * 1000, model_requested="m" * 1000))
    assert span.attributes["user_agent.original"] == "?" + "u" * 255
    assert len(span.attributes["gen_ai.request.model"]) == 256


def test_one_is_not_true() -> None:
    """Attributes are kept ready by their value: 1 and True are equal in Python."""
    one, true = only(record(bytes_in=1)), only(record(stream=True))
    assert one.attributes["http.request.body.size"] == 1
    assert one.attributes["audiogate.stream"] is False
    assert true.attributes["audiogate.stream"] is True
    assert type(one.attributes["http.request.body.size"]) is int


def test_an_answer_says_how_many_spans_were_not_taken() -> None:
    assert (rejected_in(b""), rejected_in(b"\x0a\x02\x08\x05")) == (0, 5)
