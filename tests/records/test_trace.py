"""Which trace a request is in, who decides whether it is recorded, and what upstreams learn of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from proxy.headers import TraceParent, parent_in
from proxy.records.record import Record
from proxy.records.trace import Sampler, Trace

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
LOW, HIGH = "f" * 16 + "0" * 15 + "1", "0" * 16 + "f" * 16  # samplers look at the last eight bytes
ON, OFF = TraceParent(TRACE, PARENT, 1), TraceParent(TRACE, PARENT, 0)


@pytest.mark.parametrize(
    ("sampler", "on", "off", "low", "high"),
    [
        (Sampler(), True, False, True, True),
        (Sampler(0.0), True, False, False, False),
        (Sampler(0.5), True, False, True, False),
        (Sampler(1.0, follow=False), True, True, True, True),
        (Sampler(0.0, follow=False), False, False, False, False),
        (Sampler(0.5, follow=False), False, False, True, False),
    ],
    ids=str,
)
def test_the_caller_decides_or_the_ratio(sampler: Sampler, on: bool, off: bool, low: bool, high: bool) -> None:
    """The trace of both parents ends in more than the half of all ids."""
    parents = [sampler.begin(ON, "").sampled, sampler.begin(OFF, "").sampled]
    assert parents == [on, off]
    assert [sampler.begin(None, LOW).sampled, sampler.begin(None, HIGH).sampled] == [low, high]


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 2**128 - 1))
def test_a_larger_ratio_takes_all_that_a_smaller_one_takes(one: float, other: float, number: int) -> None:
    smaller, larger = sorted((one, other))
    taken = Sampler(smaller).begin(None, f"{number:032x}").sampled
    assert Sampler(larger).begin(None, f"{number:032x}").sampled >= taken


@pytest.mark.parametrize(
    ("asked", "trace_id"),
    [
        (TRACE, TRACE),
        (TRACE.upper(), TRACE),
        ("0af76519-16cd-43dd-8448-eb211c80319c", TRACE),
        ("0" * 32, None),
        ("my trace/1", None),
        ("", None),
    ],
)
def test_a_new_trace_has_the_requests_own_trace_id_if_that_can_be_one(asked: str, trace_id: str | None) -> None:
    begun = Sampler().begin(None, asked)
    assert begun.trace_id == trace_id or (trace_id is None and begun.trace_id != asked)
    assert re.fullmatch("[0-9a-f]{32}", begun.trace_id)
    assert begun.parent is None


def test_a_trace_goes_on_with_what_its_parent_knows_of_it_and_no_unknown_flags() -> None:
    begun = Sampler().begin(TraceParent(TRACE, PARENT, 0xFF, "vendor=1"), "ignored")
    assert (begun.trace_id, begun.flags) == (TRACE, 3)
    headers = CIMultiDict({"traceparent": "old", "tracestate": "vendor=1"})
    begun.pass_on(headers, "00f067aa0ba902b7")
    assert headers == {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-03", "tracestate": "vendor=1"}
    assert parent_in(headers) == TraceParent(TRACE, "00f067aa0ba902b7", 3, "vendor=1")


def test_a_new_trace_takes_no_state_of_another_along() -> None:
    headers = CIMultiDict([("traceparent", "broken"), ("traceparent", "twice"), ("tracestate", "a=1"), ("X-A", "b")])
    Trace(TRACE, 1).pass_on(headers, PARENT)
    assert sorted(headers.items()) == [("X-A", "b"), ("traceparent", f"00-{TRACE}-{PARENT}-01")]


def record(trace: Trace | None) -> Record:
    begun = Record("transcriptions", "POST", 100.0, time=1_700_000_000.25, trace=trace)
    attempt = begun.attempt("config", "openai", "whisper-1", 100.5)
    attempt.first_sent, begun.body_started, begun.body_done, begun.answered = 100.75, 100.25, 101.0, 102.0
    return begun


def test_a_sampled_record_tells_its_place_and_its_phases() -> None:
    trace = Trace(TRACE, 1, TraceParent(TRACE, PARENT, 1, "vendor=1"))
    begun = record(trace)
    assert begun.close(103.0)["span"] == {
        "trace_id": TRACE,
        "span_id": trace.span_id,
        "parent_span_id": PARENT,
        "trace_flags": 1,
        "trace_state": "vendor=1",
        "start_ns": 1_700_000_000_250_000_000,
        "upload_began_ms": 250.0,
        "upload_done_ms": 1000.0,
        "answered_ms": 2000.0,
        "attempts": [{"span_id": begun.attempts[0].span_id, "first_sent_ms": 750.0}],
    }


@pytest.mark.parametrize("trace", [None, Trace(TRACE, 0)], ids=["no trace", "not sampled"])
def test_any_other_record_says_nothing_of_traces(trace: Trace | None) -> None:
    begun = record(trace)
    assert "span" not in begun.close(103.0)
    assert (begun.attempts[0].span_id is None) == (trace is None), "upstreams learn of a trace that nobody records"
