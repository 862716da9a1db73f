"""The record has the contract's words, and its times and outcomes mean what they say (INTERFACE 6)."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime
from typing import Any

import pytest

from proxy.errors import KINDS, GatewayError
from proxy.records.record import Record, outcome_of, uuid7

FIELDS = (
    "id trace_id time route method status outcome error_code key_name config provider model_requested model_used "
    "metadata attempts retry_count cache_status audio usage cost_usd cost_basis bytes_in bytes_out timing_ms "
    "response_format language stream transcript segments transcript_cut client user_agent replay"
)
ATTEMPT = (
    "target provider model status failure cause started_ms connect_ms sent_bytes upload_ms ttfb_ms total_ms replayed "
    "possibly_billed hedged"
)


def record(**known: Any) -> Record:
    return Record("transcriptions", "POST", 100.0, **known)


def test_a_closed_record_has_the_fields_of_the_contract_in_its_order() -> None:
    begun = record()
    begun.attempt("config", "openai", "whisper-1", 100.0)
    document = begun.close(101.0)
    assert " ".join(document) == FIELDS
    assert " ".join(document["attempts"][0]) == ATTEMPT
    assert list(document["audio"]) == ["container", "filename", "bytes", "seconds", "seconds_source", "ended_early"]
    assert list(document["timing_ms"]) == ["total", "upload", "overhead", "ttfb_upstream", "overlap_saved"]
    assert json.loads(json.dumps(document)) == document


def test_what_is_not_known_is_null_and_never_zero() -> None:
    document = record().close(100.5)
    unknown = {name for name, value in document.items() if value is None}
    assert unknown == {
        "status", "error_code", "key_name", "config", "provider", "model_requested", "model_used", "usage", "cost_usd",
        "response_format", "language", "transcript", "segments", "client", "user_agent",
    }  # fmt: skip
    assert (document["cost_basis"], document["audio"]["seconds_source"]) == ("unknown", "unknown")
    assert document["audio"]["bytes"] is None
    assert document["timing_ms"] == {
        "total": 500.0, "upload": None, "overhead": None, "ttfb_upstream": None, "overlap_saved": None,
    }  # fmt: skip


def test_the_start_is_told_in_utc_to_the_millisecond() -> None:
    document = record(time=1_700_000_000.1234).close(101.0)
    assert document["time"] == "2023-11-14T22:13:20.123Z"
    assert datetime.fromisoformat(document["time"]).tzinfo is not None


@pytest.mark.parametrize(("attempts", "retries"), [(0, 0), (1, 0), (2, 1), (4, 3)])
def test_every_attempt_after_the_first_is_a_retry(attempts: int, retries: int) -> None:
    begun = record()
    for _ in range(attempts):
        begun.attempt("config", "openai", None, 100.0)
    assert begun.close(101.0)["retry_count"] == retries


def test_an_attempt_is_told_in_milliseconds_and_ends_at_the_latest_with_the_request() -> None:
    begun = record()
    first = begun.attempt("config", "groq", "m", 100.25)
    first.failure, first.ended = "connect_failed", 100.5
    second = begun.attempt("config", "groq", "m", 101.0)
    second.first_sent, second.upload_done, second.head_at, second.sent_bytes = 101.001, 102.0, 102.25, 7
    told = begun.close(103.0)["attempts"]
    assert [(a["started_ms"], a["upload_ms"], a["ttfb_ms"], a["total_ms"], a["sent_bytes"]) for a in told] == [
        (250.0, None, None, 250.0, 0),
        (1000.0, 1000.0, 1250.0, 2000.0, 7),
    ]
    assert [a["failure"] for a in told] == ["connect_failed", None]


@pytest.mark.parametrize(
    ("times", "upload", "overhead", "overlap"),
    [
        # body_started, body_done, first_sent, head_at, answered
        ((100.1, 102.1, 100.102, 103.0, 103.003), 2000.0, 5.0, 1998.0),
        ((100.1, 100.2, 100.5, 103.0, 103.0), 100.0, 400.0, 0.0),  # sent on after the upload: nothing was saved
        ((None, None, 100.004, 100.5, 100.501), None, 5.0, None),  # no body: since the request's start
        ((100.1, None, 100.2, 100.3, 100.3), None, 100.0, None),  # answered before the upload's end
        ((100.1, 100.2, 100.15, None, None), 100.0, None, 50.0),  # never answered
        ((100.2, 100.3, 100.1, 100.4, 100.35), 100.0, 0.0, 200.0),  # no overhead is ever negative
    ],
)
def test_overhead_is_what_the_gateway_added_and_overlap_what_streaming_saved(
    times: tuple[float | None, ...], upload: float | None, overhead: float | None, overlap: float | None
) -> None:
    begun = record()
    attempt = begun.attempt("config", "openai", None, 100.0)
    begun.body_started, begun.body_done, attempt.first_sent, attempt.head_at, begun.answered = times
    timing = begun.close(104.0)["timing_ms"]
    assert (timing["upload"], timing["overhead"], timing["overlap_saved"]) == (upload, overhead, overlap)


OUTCOMES = {
    "client_left": "client_left",
    "upstream_unreachable": "upstream_error",
    "upstream_broke": "upstream_error",
    "upstream_timeout": "upstream_error",
    "overloaded": "gateway_error",
    "circuit_open": "gateway_error",
    "draining": "gateway_error",
    "internal_error": "gateway_error",
}


@pytest.mark.parametrize("code", KINDS)
def test_who_failed_follows_from_the_code(code: str) -> None:
    error = GatewayError(code, "m")
    assert outcome_of(error) == OUTCOMES.get(code, "client_error")
    begun = record(status=200)
    begun.failed(error)
    document = begun.close(101.0)
    assert (document["status"], document["error_code"], document["outcome"]) == (error.status, code, outcome_of(error))


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "ok"), (204, "ok"), (302, "ok"), (400, "upstream_error"), (401, "upstream_error"), (429, "upstream_error"),
     (500, "upstream_error"), (None, "upstream_error")],
)  # fmt: skip
def test_an_upstreams_error_status_is_its_own_whatever_its_class(status: int | None, outcome: str) -> None:
    document = record(status=status).close(101.0)
    assert (document["outcome"], document["error_code"]) == (outcome, None)


def test_a_record_is_closed_once() -> None:
    begun = record()
    begun.close(101.0)
    with pytest.raises(AssertionError, match="once"):
        begun.close(102.0)


def test_metadata_is_a_copy() -> None:
    metadata = {"team": "mobile"}
    document = record(metadata=metadata).close(101.0)
    metadata["team"] = "web"
    assert document["metadata"] == {"team": "mobile"}


def test_a_uuid7_is_one() -> None:
    before = time.time_ns() // 1_000_000
    found = uuid7()
    after = time.time_ns() // 1_000_000
    # RFC 9562, 5.7: 48 bits of milliseconds, version 7, variant 10
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", found)
    assert before <= int(found.replace("-", "")[:12], 16) <= after


def test_uuid7s_sort_by_time_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [0, 1, 1 << 20, 1_700_000_000_000, (1 << 48) - 1]
    found = []
    for moment in moments:
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment * 1_000_000)
        found.append(uuid7())
    assert found == sorted(found)
    assert len({uuid7() for _ in range(1_000)}) == 1_000
