"""The record: one per request, filled as it goes, closed once, and then a plain document."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

from proxy.errors import KINDS, GatewayError
from proxy.records.trace import new_span_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.records.heard import Heard
    from proxy.records.trace import Trace

Outcome = Literal["ok", "client_error", "upstream_error", "gateway_error", "client_left"]

_UPSTREAM_FAILED: Final = frozenset({502, 504})  # the gateway's answers that say: the upstream failed


def uuid7() -> str:
    """Return a UUID version 7 (RFC 9562, 5.7): sortable by time. The standard library has it from 3.14 on."""
    stamp, chance = f"{time.time_ns() // 1_000_000:012x}", os.urandom(10).hex()
    variant = "89ab"[int(chance[3], 16) & 3]
    return f"{stamp[:8]}-{stamp[8:]}-7{chance[:3]}-{variant}{chance[4:7]}-{chance[8:]}"


@lru_cache(maxsize=4)  # seconds: requests come in their order
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@dataclass(slots=True)
class Attempt:
    """One request sent, or not even sent, to one upstream. Times are monotonic seconds; None: not reached.

    ``connect`` is how many seconds it took to open a connection; None when one was open already.
    """

    target: str
    provider: str
    started: float
    model: str | None = None
    status: int | None = None
    failure: str | None = None
    connect: float | None = None
    sent_bytes: int = 0
    first_sent: float | None = None
    upload_done: float | None = None
    head_at: float | None = None
    ended: float | None = None
    replayed: bool = False
    possibly_billed: bool = False
    hedged: bool = False
    cause: Literal["tls"] | None = None
    span_id: str | None = None  # in the trace of its request, when that is in one

    def opened(self, seconds: float) -> None:
        """Take note that a connection was opened for this attempt."""
        self.connect = seconds

    def unsent(self) -> None:
        """Take note that nothing was sent after all: there was no connection."""
        self.sent_bytes = 0
        self.first_sent = self.upload_done = None

    def document(self, origin: float) -> dict[str, Any]:
        """Return this attempt as the record shows it, in milliseconds since ``origin``."""
        return {
            "target": self.target,
            "provider": self.provider,
            "model": self.model,
            "status": self.status,
            "failure": self.failure,
            "cause": self.cause,
            "started_ms": _ms(origin, self.started),
            "connect_ms": None if self.connect is None else _round(self.connect),
            "sent_bytes": self.sent_bytes,
            "upload_ms": _ms(self.started, self.upload_done),
            "ttfb_ms": _ms(self.started, self.head_at),
            "total_ms": _ms(self.started, self.ended),
            "replayed": self.replayed,
            "possibly_billed": self.possibly_billed,
            "hedged": self.hedged,
        }


@dataclass(slots=True)
class Record:
    """What is known of one request so far. ``started`` is monotonic; every other time is on the same clock."""

    route: str
    method: str
    started: float
    trace_id: str = ""
    id: str = field(default_factory=uuid7)
    time: float = field(default_factory=time.time)
    status: int | None = None
    outcome: Outcome | None = None
    error_code: str | None = None
    key_name: str | None = None
    config: str | None = None
    provider: str | None = None
    model_requested: str | None = None
    model_used: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    container: str | None = None
    filename: str | None = None
    audio_bytes: int | None = None
    audio_seconds: float | None = None
    seconds_source: Literal["reported", "header", "walked", "bytes", "unknown"] = "unknown"
    ended_early: bool = False
    characters: int | None = None
    usage: Mapping[str, Any] | None = None
    cost_usd: str | None = None  # a decimal number in plain notation
    cost_basis: Literal["reported", "tokens", "seconds", "characters", "free", "unknown"] = "unknown"
    bytes_in: int = 0
    bytes_out: int = 0
    body_started: float | None = None
    body_done: float | None = None
    answered: float | None = None
    response_format: str | None = None
    language: str | None = None
    stream: bool = False
    transcripts: Literal["full", "redacted", "off"] = "off"  # how much of what is said may be kept
    heard: Heard | None = None
    client: str | None = None
    user_agent: str | None = None
    replay: Literal["off", "memory", "disk", "exhausted"] = "off"
    trace: Trace | None = None
    noted: bool = False  # whether all that the upload could tell is here
    closed: bool = False

    def attempt(self, target: str, provider: str, model: str | None, now: float) -> Attempt:
        """Begin an attempt and return it."""
        attempt = Attempt(target, provider, now, model)
        if self.trace is not None:
            attempt.span_id = new_span_id()
        self.attempts.append(attempt)
        return attempt

    def failed(self, error: GatewayError) -> None:
        """Take note that the request ended with an answer, or a cut, of the gateway's own."""
        self.error_code = error.code
        self.status = error.status
        self.outcome = outcome_of(error)

    def close(self, now: float) -> dict[str, Any]:
        """Return the finished record as a document; once, whatever became of the request.

        It is JSON but for ``transcript``, the reply as it was heard: see :func:`proxy.records.heard.told`. Only a
        record whose trace is sampled has a ``span``.
        """
        assert not self.closed, "a record is closed once"
        self.closed = True
        last = self.attempts[-1] if self.attempts else None
        if last is not None and last.ended is None:
            last.ended = now
        if self.outcome is None:
            self.outcome = "ok" if self.status is not None and self.status < 400 else "upstream_error"
        document = {
            "id": self.id,
            "trace_id": self.trace_id,
            "time": f"{_second(int(self.time))}.{int(self.time * 1000) % 1000:03}Z",
            "route": self.route,
            "method": self.method,
            "status": self.status,
            "outcome": self.outcome,
            "error_code": self.error_code,
            "key_name": self.key_name,
            "config": self.config,
            "provider": self.provider,
            "model_requested": self.model_requested,
            "model_used": self.model_used,
            "metadata": dict(self.metadata),
            "attempts": [attempt.document(self.started) for attempt in self.attempts],
            "retry_count": max(len(self.attempts) - 1, 0),
            "cache_status": "DISABLED",
            "audio": {
                "container": self.container,
                "filename": self.filename,
                "bytes": self.audio_bytes,
                "seconds": self.audio_seconds,
                "seconds_source": self.seconds_source,
                "ended_early": self.ended_early,
            },
            "usage": None if self.usage is None else dict(self.usage),
            "cost_usd": self.cost_usd,
            "cost_basis": self.cost_basis,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "timing_ms": self._timings(now, last),
            "response_format": self.response_format,
            "language": self.language,
            "stream": self.stream,
            "transcript": self.heard,
            "segments": None,
            "transcript_cut": False,
            "client": self.client,
            "user_agent": self.user_agent,
            "replay": self.replay,
        }
        if self.trace is not None and self.trace.sampled:
            document["span"] = self._span(self.trace)
        return document

    def _span(self, trace: Trace) -> dict[str, Any]:
        """Return the request's place in its trace, and the moments of its phases in milliseconds since its start."""
        origin = self.started
        return {
            "trace_id": trace.trace_id,
            "span_id": trace.span_id,
            "parent_span_id": None if trace.parent is None else trace.parent.span_id,
            "trace_flags": trace.flags,
            "trace_state": "" if trace.parent is None else trace.parent.state,
            "start_ns": round(self.time * 1e6) * 1000,
            "upload_began_ms": _ms(origin, self.body_started),
            "upload_done_ms": _ms(origin, self.body_done),
            "answered_ms": _ms(origin, self.answered),
            "attempts": [
                {"span_id": attempt.span_id, "first_sent_ms": _ms(origin, attempt.first_sent)}
                for attempt in self.attempts
            ],
        }

    def _timings(self, now: float, last: Attempt | None) -> dict[str, float | None]:
        first_sent = last.first_sent if last is not None else None
        overhead = None
        if last is not None and last.head_at is not None and self.answered is not None:
            # What the gateway added: until an upstream had the first byte, and between the reply's head in and out.
            first = self.attempts[0]
            before = (first.first_sent or first.started) - (self.body_started or self.started)
            overhead = _round(max(before, 0.0) + max(self.answered - last.head_at, 0.0))
        overlap = None
        if first_sent is not None and self.body_done is not None:
            overlap = _round(max(self.body_done - first_sent, 0.0))
        return {
            "total": _ms(self.started, now),
            "upload": _ms(self.body_started, self.body_done),
            "overhead": overhead,
            "ttfb_upstream": _ms(last.started, last.head_at) if last is not None else None,
            "overlap_saved": overlap,
        }


def outcome_of(error: GatewayError) -> Outcome:
    """Return who failed when a request ended with ``error``: by its code's status and source (INTERFACE 6)."""
    if error.code == "client_left":
        return "client_left"
    kind = KINDS[error.code]
    if kind.status in _UPSTREAM_FAILED or kind.source == "upstream":
        return "upstream_error"
    return "gateway_error" if kind.status >= 500 else "client_error"


def _ms(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else _round(end - start)


def _round(seconds: float) -> float:
    return round(seconds * 1000, 3)
