"""The words of labels, from what a record says of its attempts and of its end."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.records.catalogue import BY_NAME
from proxy.records.words import attempt_code, phase_of, reason_of
from tests.records.shown import attempt, record

ENDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no connection": ({"status": None, "failure": "connect_failed"}, "connect_error", "connect"),
    "no connection for TLS": ({"status": None, "failure": "connect_failed", "cause": "tls"}, "tls_error", "connect"),
    "no answer": ({"status": None, "failure": "upstream_timed_out"}, "timeout", "timeout"),
    "an answer that fell silent": ({"status": 200, "failure": "upstream_timed_out"}, "timeout", "timeout"),
    "a lost connection": ({"status": None, "failure": "upstream_broke"}, "reset", "reset"),
    "a torn answer": ({"status": 200, "failure": "upstream_broke"}, "reset", "reset"),
    "too many requests": ({"status": 429, "failure": "refused"}, "429", "status_429"),
    "a bad request": ({"status": 400, "failure": "refused"}, "400", "status_4xx"),
    "a bad gateway": ({"status": 502, "failure": "refused"}, "502", "status_5xx"),
    "a made-up status": ({"status": 799, "failure": "refused"}, "_other", "status_5xx"),
    "success": ({"status": 200, "failure": None}, "200", "other"),
    "a client that left before the answer": ({"status": None, "failure": "client_left"}, "499", "other"),
    "a client that left during the answer": ({"status": 200, "failure": "client_left"}, "200", "other"),
    "the gateway's decision": ({"status": None, "failure": "gateway_refused"}, "aborted", "other"),
}


@pytest.mark.parametrize(("end", "code", "reason"), ENDS.values(), ids=ENDS.keys())
def test_an_attempt_ends_in_one_word_and_another_follows_for_one_reason(
    end: dict[str, Any], code: str, reason: str
) -> None:
    ended = attempt(**end)
    assert (attempt_code(ended), reason_of(ended)) == (code, reason)
    assert code in (BY_NAME["audiogate_upstream_attempts_total"].values("code") or ())
    assert reason in (BY_NAME["audiogate_retries_total"].values("reason") or ())


LEAVING: dict[str, tuple[dict[str, Any], str]] = {
    "before any attempt": ({"attempts": [], "timing_ms": {"upload": None}}, "upload"),
    "mid-upload": ({"attempts": [attempt(upload_ms=None, ttfb_ms=None)], "timing_ms": {"upload": None}}, "upload"),
    "after an upload that went nowhere yet": ({"attempts": [], "timing_ms": {"upload": 5.0}}, "wait"),
    "before the answer": ({"attempts": [attempt(ttfb_ms=None)]}, "wait"),
    "before the answer to a request without a body": (
        {"attempts": [attempt(ttfb_ms=None)], "timing_ms": {"upload": None}},
        "wait",
    ),
    "during the answer": ({}, "download"),
}


@pytest.mark.parametrize(("changes", "phase"), LEAVING.values(), ids=LEAVING.keys())
def test_a_client_leaves_while_it_uploads_waits_or_is_answered(changes: dict[str, Any], phase: str) -> None:
    assert phase_of(record(outcome="client_left", **changes)) == phase
