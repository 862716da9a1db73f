"""Spans as a collector gets them: whose trace, which parents, what they tell, and what happens when it is down."""

from __future__ import annotations

import signal
import ssl
from typing import TYPE_CHECKING

import pytest

from tests.certificates import Authority
from tests.flow.collector import Collector, Span
from tests.flow.conftest import VIRTUAL_KEY
from tests.flow.forms import audio, usual
from tests.flow.gateway import free_port
from tests.flow.scripts import READ_ALL, error, reply, send
from tests.flow.trio import key_of, targets
from tests.records.shown import parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.flow.client import Headers
    from tests.flow.stage import Stage
    from tests.flow.trio import Trio

SERVER, CLIENT = 2, 3
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED: Headers = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "vendor=1")]
UNSAMPLED: Headers = [("traceparent", f"00-{TRACE}-{PARENT}-00")]
TOKEN = "sk-flow-collector"
SAID = "the words that were said"
GOOD = (READ_ALL, send(reply(200, f'{{"text":"{SAID}"}}'.encode())))
WRITTEN = 'log_records_total{result="written",sink="otlp"}'
DROPPED = 'log_records_total{result="dropped",sink="otlp"}'


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector, and the variables that lead to it for every gateway of this test."""
    with Collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{TOKEN}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield running


@pytest.fixture
def traced(collector: Collector, own_gateway: Callable[..., Stage]) -> Iterator[Stage]:
    """A stage before a gateway whose spans the collector gets."""
    stage = own_gateway()
    yield stage
    stage.gateway.stop()


def counts(stage: Stage) -> tuple[float, float]:
    """Return how many records' spans were exported, and how many will never be."""
    found = parsed(stage.gateway.ops("/metrics")[1])
    return found[WRITTEN], found[DROPPED]


def wait_counts(stage: Stage, written: int, dropped: int) -> None:
    """Wait until so many records' spans are accounted for, and no others."""
    found: list[tuple[float, float]] = []

    def settled() -> bool:
        found.append(counts(stage))
        return found[-1] == (written, dropped)

    try:
        stage.gateway.wait_for(settled, "the spans to be counted")
    except AssertionError as error:
        raise AssertionError(f"{found[-1]} instead of {(written, dropped)}") from error


def ids(seen_traceparent: str | None) -> tuple[str, str, str]:
    version, trace, span, flags = (seen_traceparent or "").split("-")
    assert version == "00"
    return trace, span, flags


def test_a_request_that_falls_back_is_one_span_with_one_for_each_attempt(
    collector: Collector, own_trio: Callable[..., Trio]
) -> None:
    trio = own_trio()
    trio.a.script(READ_ALL, send(error(503)))
    trio.b.script(*GOOD)
    config = targets("fallback", {"virtual_key": "key-a"}, {"virtual_key": "key-b", "override_params": {"model": "b1"}})
    assert trio.post(config, usual(audio(50_000)), SAMPLED).status == 200
    request, first, second = collector.wait_spans(3, TRACE)

    assert (request.kind, first.kind, second.kind) == (SERVER, CLIENT, CLIENT)
    assert (request.parent_id, first.parent_id, second.parent_id) == (PARENT, request.span_id, request.span_id)
    assert len({request.span_id, first.span_id, second.span_id}) == 3
    for stage, attempt in ((trio.a, first), (trio.b, second)):
        assert ids(stage.seen().header("traceparent")) == (TRACE, attempt.span_id, "01")
        assert stage.seen().header("tracestate") == "vendor=1"
    assert {span.state for span in (request, first, second)} == {"vendor=1"}

    assert (request.name, first.name, second.name) == (
        "transcription whisper-1", "transcription whisper-1", "transcription b1",
    )  # fmt: skip
    told = [span.attributes.get("http.response.status_code") for span in (request, first, second)]
    assert told == [200, 503, 200]
    assert [span.failed for span in (request, first, second)] == [False, True, False]
    assert (first.attributes["error.type"], first.attributes["audiogate.failure"]) == ("503", "refused")
    assert (second.attributes["audiogate.replayed"], second.attributes["http.request.resend_count"]) == (True, 1)
    assert second.attributes["gen_ai.provider.name"] == "b"
    assert request.attributes["audiogate.cost_usd"] > 0
    assert request.attributes["audiogate.audio.seconds"] > 0
    in_order(request, first, second)

    (export,) = [export for export in collector.exports() if export.spans]
    assert (export.path, export.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
    assert export.headers["authorization"] == f"Bearer {TOKEN}"
    sent = collector.raw()
    for secret in (SAID, key_of("a"), key_of("b"), "sk-flow-", "speech.wav"):
        assert secret.encode() not in sent
    trio.gateway.stop()


def in_order(request: Span, *attempts: Span) -> None:
    """Check that everything happens within the request, and one thing after the other.

    Only an upload's end and the answer to it may meet: who answers at the last byte is not waited for.
    """
    moments = [*request.events.values(), *(at for attempt in attempts for at in attempt.events.values())]
    moments += [at for attempt in attempts for at in (attempt.start, attempt.end)]
    assert all(request.start <= at <= request.end for at in moments)
    assert list(request.events) == ["audiogate.upload.began", "audiogate.upload.done", "audiogate.reply.first_byte"]
    ends = [request.start]
    for attempt in attempts:
        first, *others = attempt.events
        assert first == "audiogate.upstream.first_byte_sent"
        assert sorted(others) == ["audiogate.upstream.reply_head", "audiogate.upstream.upload_done"]
        path = [ends[-1], attempt.start, *attempt.events.values(), attempt.end]
        assert path == sorted(path)
        ends.append(attempt.end)


def test_the_records_line_names_the_span(traced: Stage, collector: Collector) -> None:
    """So that a log line leads to its trace, also when the client has a trace id of its own."""
    assert traced.post(extra=SAMPLED).status == 200
    request, attempt = collector.wait_spans(2)
    record = traced.record()
    assert (record["trace_id"], record["span"]["trace_id"]) == (traced.token, TRACE)
    assert record["span"]["span_id"] == request.span_id
    assert [each["span_id"] for each in record["span"]["attempts"]] == [attempt.span_id]
    assert request.attributes["audiogate.record_id"] == record["id"]
    assert request.attributes["audiogate.trace_id"] == traced.token


def test_without_a_parent_the_request_begins_a_trace(traced: Stage, collector: Collector) -> None:
    """It has the id that the client gets to see; a tracestate that belongs to nothing ends here."""
    answer = traced.post(extra=[("tracestate", "vendor=1")], without=("x-portkey-trace-id",))
    request, attempt = collector.wait_spans(2)
    assert (request.trace_id, request.parent_id) == (answer.header("x-portkey-trace-id"), "")
    seen = traced.seen()
    assert ids(seen.header("traceparent")) == (request.trace_id, attempt.span_id, "01")
    assert seen.header("tracestate") is None
    assert traced.gateway.wait_records(request.trace_id)


def test_of_an_unsampled_parent_there_are_no_spans_and_upstreams_learn_that(
    traced: Stage, collector: Collector
) -> None:
    assert traced.post(extra=UNSAMPLED).status == 200
    trace, span, flags = ids(traced.seen().header("traceparent"))
    assert (trace, flags) == (TRACE, "00")
    assert span != PARENT
    assert traced.post(extra=SAMPLED).status == 200
    assert ["span" in record for record in traced.records(2)] == [False, True]
    assert len(collector.wait_spans(2)) == 2, "only those of the second request"
    wait_counts(traced, 1, 0)


def test_the_sampler_of_the_environment_decides(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, own_gateway: Callable[..., Stage]
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    stage = own_gateway()
    low, high = "a" * 16 + "0" * 15 + "1", "0" * 16 + "f" * 16
    for trace, flags in ((high, "00"), (low, "01")):
        assert stage.post(extra=[("x-portkey-trace-id", trace), ("x-script", trace)]).status == 200
        assert ids(stage.upstream.wait(trace, "complete").header("traceparent"))[2] == flags
    assert {span.trace_id for span in collector.wait_spans(2)} == {low}
    stage.gateway.stop()


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
)
def test_without_an_endpoint_or_switched_off_the_callers_context_passes_as_it_is(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, own_gateway: Callable[..., Stage], name: str, value: str
) -> None:
    """Spans that nobody exports would be holes in the caller's trace."""
    monkeypatch.setenv(name, value)
    stage = own_gateway()
    assert stage.post(extra=SAMPLED).status == 200
    seen = stage.seen()
    assert [(each, seen.header(each)) for each, _ in SAMPLED] == SAMPLED
    assert "span" not in stage.record()
    assert "otlp" not in stage.gateway.ops("/metrics")[1]
    stage.gateway.stop()
    assert collector.exports() == []


def test_a_refused_request_is_a_span_without_attempts(traced: Stage, collector: Collector) -> None:
    assert traced.post(extra=[("x-portkey-provider", "nobody")]).status == 400
    (request,) = collector.wait_spans(1)
    assert (request.attributes["http.response.status_code"], request.failed) == (400, False)
    assert request.attributes["audiogate.error_code"] == "invalid_provider"


def test_a_provider_that_cannot_be_reached_is_an_error_of_both(traced: Stage, collector: Collector) -> None:
    assert traced.post(extra=[("x-portkey-provider", "dead")]).status == 502
    request, attempt = collector.wait_spans(2)
    assert (request.failed, request.attributes["error.type"]) == (True, "upstream_unreachable")
    assert (attempt.failed, attempt.attributes["error.type"]) == (True, "connect_error")
    assert attempt.attributes["audiogate.sent_bytes"] == 0


# The collector's own troubles


def test_a_collector_that_asks_for_patience_gets_the_same_spans_again(traced: Stage, collector: Collector) -> None:
    collector.answer(503, {"Retry-After": "0.05"})
    assert traced.post().status == 200
    first, again = collector.wait_exports(2)
    assert first.spans == again.spans
    traced.gateway.wait_stderr("again; those of 0 requests are lost")
    wait_counts(traced, 1, 0)
    assert traced.gateway.stderr().count("no spans reach") == 1
    assert TOKEN not in traced.gateway.stderr()


def test_spans_that_are_refused_are_not_sent_again(traced: Stage, collector: Collector) -> None:
    collector.answer(400)
    assert traced.post().status == 200
    wait_counts(traced, 0, 1)
    assert traced.post().status == 200
    wait_counts(traced, 1, 1)
    assert len(collector.exports()) == 2
    assert "it answers 400" in traced.gateway.stderr()


def test_spans_that_a_collector_does_not_want_are_told_of(traced: Stage, collector: Collector) -> None:
    collector.answer(200, body=b"\x0a\x02\x08\x02")  # partial_success { rejected_spans: 2 }
    assert traced.post().status == 200
    traced.gateway.wait_stderr("did not want 2 spans")


def test_without_a_collector_requests_are_served_and_the_oldest_spans_are_dropped(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, own_gateway: Callable[..., Stage]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    stage = own_gateway(records={"queue": 5})
    for _ in range(20):
        assert stage.post().status == 200
    stage.gateway.wait_stderr("no spans reach")
    stage.gateway.wait_for(lambda: sum(counts(stage)) >= 14, "the oldest to be dropped")
    stage.gateway.stop()
    assert stage.gateway.stderr().count("no spans reach") == 1
    assert "requests never reached" in stage.gateway.stderr()


def test_a_collector_that_hangs_keeps_nobody_waiting(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, own_gateway: Callable[..., Stage]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100")
    collector.hang()
    stage = own_gateway()
    for _ in range(5):
        assert stage.post().status == 200
    stage.gateway.wait_stderr("no answer within 0.1 s")
    assert stage.post().status == 200
    stage.gateway.stop()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_gateway_that_stops_has_exported_every_span(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, own_gateway: Callable[..., Stage], workers: int
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    stage = own_gateway(workers=workers)
    for _ in range(20):
        assert stage.post().status == 200
    stage.records(20)
    assert collector.exports() == [], "they wait for others"
    stage.gateway.signal(signal.SIGTERM)
    assert stage.gateway.wait_exit() == 0
    spans = collector.spans()
    assert len(spans) == 40
    assert len({span.resource["service.instance.id"] for span in spans}) == len(collector.exports()) <= workers
    stage.gateway.check_remains()


def test_exports_are_compressed_on_request_and_say_who_they_are_from(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, own_gateway: Callable[..., Stage]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "stt-edge")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=never")
    stage = own_gateway()
    assert stage.post(extra=[("x-portkey-virtual-key", "vk")], without=("x-portkey-provider",)).status == 200
    request, _ = collector.wait_spans(2)
    assert collector.exports()[0].headers["content-encoding"] == "gzip"
    assert request.resource.items() >= {"service.name": "stt-edge", "deployment.environment.name": "test"}.items()
    assert VIRTUAL_KEY.encode() not in collector.raw()
    stage.gateway.stop()


def test_a_collector_of_a_private_authority_sees_who_comes(
    monkeypatch: pytest.MonkeyPatch, own_gateway: Callable[..., Stage], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.file)
    context.load_cert_chain(*authority.issue("collector"))
    context.verify_mode = ssl.CERT_REQUIRED
    ours = authority.issue("gateway", "audiogate.example.com")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(authority.file))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(ours.cert))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", str(ours.key))
    with Collector(context) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        stage = own_gateway()
        assert stage.post().status == 200
        assert len(collector.wait_spans(2)) == 2
        stage.gateway.stop()
    assert stage.gateway.stderr().count("no spans reach") == 0
