"""Closed records → spans of OpenTelemetry's, in the bytes of OTLP: one for the request, one for each attempt.

The messages are those of https://github.com/open-telemetry/opentelemetry-proto (``trace/v1/trace.proto``); names and
meanings are those of the semantic conventions for HTTP (https://opentelemetry.io/docs/specs/semconv/http/http-spans/)
and generative AI (https://github.com/open-telemetry/semantic-conventions-genai). What neither has begins with
``audiogate.``. What was said, the file's name, metadata and paths that clients make up are in no span.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from proxy import __version__
from proxy.records import protobuf
from proxy.records.catalogue import METHODS
from proxy.records.words import attempt_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Document = Mapping[str, Any]
    Value = str | bool | int | float | None

_SERVER, _CLIENT = 2, 3  # Span.SpanKind
_ERROR: Final = protobuf.data(15, protobuf.integer(3, 2))  # Span.status: STATUS_CODE_ERROR
_KNOWS_PARENT: Final = 0x100  # SpanFlags: it is known whether the parent is somebody else's, …
_REMOTE_PARENT: Final = 0x200  # … and it is
_LONGEST: Final = 256  # characters of a text: a client may send a model of a quarter of a megabyte
_USUAL: Final = 2_048  # attributes that are kept ready: models, providers and words of closed sets; half a MiB
_NANO: Final = 1_000_000  # nanoseconds of a millisecond

_OPERATIONS: Final = {"transcriptions": "transcription", "translations": "translation", "speech": "speech"}
_PATHS: Final = {
    "transcriptions": "/v1/audio/transcriptions",
    "translations": "/v1/audio/translations",
    "speech": "/v1/audio/speech",
    "passthrough": "/v1/{path}",
}
_PROVIDERS: Final = {"azure-openai": "azure.ai.openai", "azure-ai": "azure.ai.inference", "mistral-ai": "mistral_ai"}
"""Providers for which the conventions have a name of their own."""

_OWN: Final = frozenset({"client_left", "gateway_refused"})  # how attempts end that no upstream has failed
_SCOPE: Final = protobuf.data(1, protobuf.text(1, "audiogate") + protobuf.text(2, __version__))


def resource_of(attributes: Mapping[str, str]) -> bytes:
    """Return who the spans come from, for :func:`request_of`."""
    pairs = [protobuf.data(1, _attribute(name, value)) for name, value in attributes.items()]
    return protobuf.data(1, b"".join(pairs))


def request_of(resource: bytes, spans: Iterable[bytes]) -> bytes:
    """Return the ExportTraceServiceRequest with these spans."""
    return protobuf.data(1, resource + protobuf.data(2, _SCOPE + b"".join(spans)))


def rejected_in(response: bytes) -> int:
    """Return how many spans an ExportTraceServiceResponse says were not taken."""
    return protobuf.integer_in(response, 1, 1)


def spans_of(record: Document) -> list[bytes]:
    """Return the spans of a record that has a ``span``, each as a field of its scope: the request's, then attempts'."""
    place = record["span"]
    end = _after(place["start_ns"], record["timing_ms"]["total"])
    attempts = zip(record["attempts"], place["attempts"], strict=True)
    return [
        _request(record, place, end),
        *(_attempt(record, each, of, number, end) for number, (each, of) in enumerate(attempts)),
    ]


# The request


def _request(record: Document, place: Document, end: int) -> bytes:
    route, method, status = record["route"], record["method"], record["status"]
    known = method if method in METHODS else "HTTP"
    operation, path = _OPERATIONS.get(route), _PATHS.get(route)
    failed = _failed(record)
    attributes = {
        "http.request.method": known if known == method else "_OTHER",
        "http.route": path,
        "http.response.status_code": status,
        "http.request.body.size": record["bytes_in"],
        "http.response.body.size": record["bytes_out"],
        "client.address": record["client"],
        "user_agent.original": record["user_agent"],
        "error.type": (record["error_code"] or str(status or "_OTHER")) if failed else None,
        "gen_ai.operation.name": operation,
        **_gen_ai(record["provider"], record["model_requested"]),
        "gen_ai.response.model": record["model_used"] if record["outcome"] == "ok" else None,
        **_used(record),
        "audiogate.route": route,
        "audiogate.outcome": record["outcome"],
        "audiogate.error_code": record["error_code"],
        "audiogate.key_name": record["key_name"],
        "audiogate.config": record["config"],
        "audiogate.retry_count": record["retry_count"],
        "audiogate.replay": record["replay"],
        "audiogate.stream": record["stream"],
        "audiogate.response_format": record["response_format"],
        "audiogate.overhead_ms": record["timing_ms"]["overhead"],
        "audiogate.overlap_saved_ms": record["timing_ms"]["overlap_saved"],
    }
    fields = [
        _head(place, place["span_id"], place["parent_span_id"], remote=True),
        _times(place["start_ns"], end),
        protobuf.text(5, _name(operation, record["model_requested"], f"{known} {path}" if path else known)),
        protobuf.integer(6, _SERVER),
        _attributes(attributes),
        # What is another one for each request is not worth keeping ready.
        protobuf.data(9, _attribute("audiogate.record_id", record["id"])),
        protobuf.data(9, _attribute("audiogate.trace_id", record["trace_id"])),
        *_events(place["start_ns"], _request_phases(place)),
    ]
    return protobuf.data(2, b"".join([*fields, _ERROR] if failed else fields))


def _failed(record: Document) -> bool:
    """Whether the request failed by the conventions for servers: not when the client was wrong, or has left."""
    status = record["status"]
    if record["outcome"] in {"ok", "client_left"}:
        return False
    return status is None or status >= 500 or status < 400


def _used(record: Document) -> dict[str, Value]:
    """Return what went in and out, and what it cost. Tokens are counted here alone: backends add up all spans."""
    audio, usage, cost = record["audio"], record["usage"] or {}, record["cost_usd"]
    return {
        "gen_ai.usage.input_tokens": usage.get("input_tokens"),
        "gen_ai.usage.output_tokens": usage.get("output_tokens"),
        "audiogate.usage.audio_tokens": usage.get("audio_tokens"),
        "audiogate.usage.characters": usage.get("characters"),
        "audiogate.audio.container": audio["container"],
        "audiogate.audio.bytes": audio["bytes"],
        "audiogate.audio.seconds": audio["seconds"],
        "audiogate.audio.seconds_source": audio["seconds_source"],
        "audiogate.cost_usd": None if cost is None else float(cost),
        "audiogate.cost_basis": record["cost_basis"],
    }


def _request_phases(place: Document) -> dict[str, float | None]:
    return {
        "audiogate.upload.began": place["upload_began_ms"],
        "audiogate.upload.done": place["upload_done_ms"],
        "audiogate.reply.first_byte": place["answered_ms"],
    }


# Attempts


def _attempt(record: Document, attempt: Document, of: Document, number: int, request_end: int) -> bytes:
    place = record["span"]
    began = attempt["started_ms"]
    start = min(_after(place["start_ns"], began), request_end)
    end = request_end if attempt["total_ms"] is None else min(_after(start, attempt["total_ms"]), request_end)
    model = attempt["model"] or record["model_requested"]
    operation, status, failure = _OPERATIONS.get(record["route"]), attempt["status"], attempt["failure"]
    failed = failure not in _OWN and (failure is not None or (status is not None and status >= 400))
    attributes = {
        "http.request.method": record["method"] if record["method"] in METHODS else "_OTHER",
        "http.response.status_code": status,
        "http.request.resend_count": number or None,
        "error.type": attempt_code(attempt) if failed else None,
        "gen_ai.operation.name": operation,
        **_gen_ai(attempt["provider"], model),
        "audiogate.target": attempt["target"],
        "audiogate.failure": failure,
        "audiogate.sent_bytes": attempt["sent_bytes"],
        "audiogate.replayed": attempt["replayed"],
        "audiogate.hedged": attempt["hedged"],
        "audiogate.possibly_billed": attempt["possibly_billed"],
        "audiogate.connect_ms": attempt["connect_ms"],
    }
    phases = {
        "audiogate.upstream.first_byte_sent": of["first_sent_ms"],
        "audiogate.upstream.upload_done": _sum(began, attempt["upload_ms"]),
        "audiogate.upstream.reply_head": _sum(began, attempt["ttfb_ms"]),
    }
    fields = [
        _head(place, of["span_id"], place["span_id"], remote=False),
        _times(start, end),
        protobuf.text(5, _name(operation, model, attempt["provider"])),
        protobuf.integer(6, _CLIENT),
        _attributes(attributes),
        *_events(place["start_ns"], phases),
    ]
    return protobuf.data(2, b"".join([*fields, _ERROR] if failed else fields))


def _sum(began: float, after: float | None) -> float | None:
    return None if after is None else began + after


# What both have


def _head(place: Document, span_id: str, parent_id: str | None, *, remote: bool) -> bytes:
    fields = [
        protobuf.data(1, bytes.fromhex(place["trace_id"])),
        protobuf.data(2, bytes.fromhex(span_id)),
        protobuf.fixed32(16, place["trace_flags"] | _KNOWS_PARENT | (_REMOTE_PARENT if remote and parent_id else 0)),
    ]
    if place["trace_state"]:
        fields.append(protobuf.text(3, place["trace_state"]))
    if parent_id is not None:
        fields.append(protobuf.data(4, bytes.fromhex(parent_id)))
    return b"".join(fields)


def _times(start: int, end: int) -> bytes:
    return protobuf.fixed64(7, start) + protobuf.fixed64(8, end)


def _name(operation: str | None, model: str | None, otherwise: str) -> str:
    if operation is None:
        return otherwise
    return operation if model is None else f"{operation} {model[:_LONGEST]}"


def _gen_ai(provider: str | None, model: str | None) -> dict[str, Value]:
    return {
        "gen_ai.provider.name": None if provider is None else _PROVIDERS.get(provider, provider),
        "gen_ai.request.model": model,
    }


def _events(origin: int, phases: Mapping[str, float | None]) -> list[bytes]:
    """Return the moments, in their order; what was not reached is absent."""
    reached = sorted((at, name) for name, at in phases.items() if at is not None)
    return [protobuf.data(11, protobuf.fixed64(1, _after(origin, at)) + protobuf.text(2, name)) for at, name in reached]


def _after(origin: int, milliseconds: float) -> int:
    return origin + round(milliseconds * _NANO)


# Attributes


def _attributes(values: Mapping[str, Value]) -> bytes:
    """Return the attributes of a span; what is not known is absent."""
    return b"".join(
        protobuf.data(9, _attribute(name, value)) if isinstance(value, float) else _usual(name, value)
        for name, value in values.items()
        if value is not None
    )


@lru_cache(maxsize=_USUAL, typed=True)  # 1 is not True here
def _usual(name: str, value: str | bool | int) -> bytes:
    return protobuf.data(9, _attribute(name, value))


def _attribute(name: str, value: str | bool | int | float) -> bytes:
    """Return a KeyValue."""
    if isinstance(value, str):
        packed = protobuf.text(1, value[:_LONGEST])
    elif isinstance(value, bool):
        packed = protobuf.boolean(2, value)
    elif isinstance(value, int):
        packed = protobuf.integer(3, value)
    else:
        packed = protobuf.double(4, value)
    return _key(name) + protobuf.data(2, packed)


@lru_cache(maxsize=_USUAL)
def _key(name: str) -> bytes:
    return protobuf.text(1, name)
