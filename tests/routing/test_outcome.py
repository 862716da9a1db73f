"""What the end of an attempt means to a retry, a fallback and a metric."""

from __future__ import annotations

import pytest

from proxy.routing.outcome import Outcome, is_passed_on, is_retried

REFUSED = Outcome(429, "refused")
CONNECT = Outcome(502, "connect_failed", body_sent=False)
BROKE = Outcome(502, "upstream_broke")
TIMEOUT = Outcome(408, "upstream_timed_out")
SILENT = Outcome(504, "upstream_timed_out")
SKIPPED = Outcome(413, skipped=True)


@pytest.mark.parametrize(
    ("outcome", "succeeded"),
    [
        (Outcome(200), True),
        (Outcome(204), True),
        (Outcome(206), True),
        (Outcome(199), False),
        (Outcome(302, "refused"), False),
        (Outcome(200, "upstream_broke"), False),  # a reply that was cut
        (Outcome(200, skipped=True), False),
        (REFUSED, False),
    ],
)
def test_a_success_is_a_whole_answer_with_a_status_from_200_to_299(outcome: Outcome, succeeded: bool) -> None:
    assert outcome.succeeded is succeeded


@pytest.mark.parametrize(
    ("outcome", "codes", "retried"),
    [
        (REFUSED, {429}, True),
        (REFUSED, {500, 503}, False),
        (CONNECT, set(), True),  # the network's failures, whatever is listed
        (BROKE, {429}, True),
        (TIMEOUT, {429, 500, 502, 503, 504}, False),
        (TIMEOUT, {408}, True),
        (SILENT, {504}, True),
        (SILENT, {500}, False),
        (SKIPPED, {413}, False),
    ],
)
def test_a_retry_follows_the_listed_statuses_and_the_networks_failures(
    outcome: Outcome, codes: set[int], retried: bool
) -> None:
    assert is_retried(outcome, frozenset(codes)) is retried


@pytest.mark.parametrize(
    ("outcome", "codes", "passed_on"),
    [
        (REFUSED, None, True),
        (Outcome(400, "refused"), None, True),
        (Outcome(302, "refused"), None, True),
        (Outcome(200), None, False),
        (Outcome(200), {200}, False),  # an answer in hand is never thrown away
        (REFUSED, {429}, True),
        (REFUSED, {500}, False),
        (REFUSED, set(), False),
        (CONNECT, {502}, True),
        (CONNECT, {500}, True),  # what a config that was written for Portkey says
        (CONNECT, {503}, False),
        (BROKE, {500}, True),
        (SILENT, {504}, True),
        (SILENT, {500}, True),
        (TIMEOUT, {408}, True),
        (TIMEOUT, {500}, False),
        (BROKE, set(), False),
    ],
)
def test_a_fallback_goes_on_after_the_listed_statuses_else_after_anything_but_a_success(
    outcome: Outcome, codes: set[int] | None, passed_on: bool
) -> None:
    assert is_passed_on(outcome, None if codes is None else frozenset(codes)) is passed_on


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (REFUSED, "status_429"),
        (Outcome(503, "refused"), "status_5xx"),
        (Outcome(401, "refused"), "status_4xx"),
        (Outcome(307, "refused"), "status_3xx"),
        (Outcome(999, "refused"), "other"),
        (CONNECT, "connect"),
        (BROKE, "broke"),
        (TIMEOUT, "timeout"),
        (SILENT, "timeout"),
        (SKIPPED, "skipped"),
    ],
)
def test_the_reason_is_one_of_few_words(outcome: Outcome, reason: str) -> None:
    assert outcome.reason == reason


@pytest.mark.parametrize(
    ("outcome", "needs_replay"),
    [
        (REFUSED, True),
        (Outcome(429, "refused", body_sent=False), False),
        (CONNECT, False),
        (Outcome(502, "connect_failed"), False),
    ],
)
def test_what_was_never_sent_needs_no_replay(outcome: Outcome, needs_replay: bool) -> None:
    assert outcome.needs_replay is needs_replay
