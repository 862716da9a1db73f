"""How long a retry waits, what a provider asks for, and how many retries an upstream can bear."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from proxy.routing.backoff import FLOOR, LONGEST_BACKOFF, REFILL, SHARE, RetryBudget, backoff, retry_after

NOON = 1_795_262_400.0  # Saturday, 21 November 2026, 12:00:00 GMT


def test_the_longest_wait_doubles_from_one_second_and_stops_at_thirty() -> None:
    assert [backoff(retries, 1.0) for retries in range(7)] == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(("jitter", "wait"), [(0.0, 2.0), (0.5, 3.0), (1.0, 4.0)])
def test_half_of_the_wait_is_random(jitter: float, wait: float) -> None:
    assert backoff(2, jitter) == wait


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_every_wait_is_longer_than_nothing_and_bounded(retries: int, jitter: float) -> None:
    assert 0.5 <= backoff(retries, jitter) <= LONGEST_BACKOFF


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "3"}, 3.0),
        ({"Retry-After": " 3 "}, 3.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After-Ms": "250"}, 0.25),
        ({"Retry-After-Ms": "250.5"}, 0.2505),
        ({"X-Ms-Retry-After-Ms": "1500"}, 1.5),
        ({"Retry-After": "7", "Retry-After-Ms": "250", "X-Ms-Retry-After-Ms": "9"}, 0.25),  # Portkey's order
        ({"Retry-After": "7", "X-Ms-Retry-After-Ms": "900"}, 0.9),
        ({"Retry-After": "7", "Retry-After-Ms": "soon"}, 7.0),
        # RFC 9110, 5.6.7: the three forms of a date
        ({"Retry-After": "Sat, 21 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Saturday, 21-Nov-26 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Sat Nov 21 12:00:30 2026"}, 30.0),
        ({"Retry-After": "Sat, 21 Nov 2026 12:00:30 -0000"}, 30.0),
        ({"Retry-After": "Sun, 22 Nov 2026 12:00:00 GMT"}, 86_400.0),
        # what says nothing
        ({"Retry-After": "Sat, 21 Nov 2026 11:59:59 GMT"}, None),
        ({"Retry-After": "Sat, 21 Nov 2026 12:00:00 GMT"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "+1"}, None),
        ({"Retry-After": "1e3"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "1,5"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Sat, 99 Foo 2026 12:00:30 GMT"}, None),
        ({"Retry-After": "1795262430"}, None),  # a Unix time
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After-Ms": "99999999999999"}, None),
    ],
)
def test_a_provider_may_ask_to_be_left_alone(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(CIMultiDict(headers), NOON) == (None if seconds is None else pytest.approx(seconds))


DATES = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Sat", "", "Samstag"]),
    st.integers(-5, 40),
    st.sampled_from(["Nov", "Feb", "nov", "13", ""]),
    st.integers(-5, 99_999),
    st.integers(-5, 99),
    st.integers(-5, 99),
    st.integers(-5, 99),
    st.sampled_from(["GMT", "", "+0100", "-9999", "EST", "+99999999999999"]),
)


@given(st.text() | DATES, st.sampled_from(["retry-after", "retry-after-ms", "x-ms-retry-after-ms"]))
def test_any_text_is_a_sensible_wait_or_none(text: str, name: str) -> None:
    wait = retry_after(CIMultiDict({name: text}), NOON)
    assert wait is None or 0 <= wait <= 366 * 86_400


def taken(budget: RetryBudget, now: float, most: int = 10_000) -> int:
    """Take retries until there are none left; return how many there were."""
    return next(count for count in range(most) if not budget.try_take(now))


def test_a_quiet_upstream_may_be_asked_again_ten_times_at_once_and_three_times_a_second() -> None:
    budget = RetryBudget()
    assert taken(budget, 5.0) == FLOOR == 10
    assert budget.is_spent(5.0)
    assert taken(budget, 6.0) == REFILL == 3
    assert taken(budget, 6.0) == 0
    assert taken(budget, 1000.0) == 10


def test_many_requests_earn_a_fifth_of_themselves() -> None:
    budget = RetryBudget()
    taken(budget, 0.0)
    for _ in range(1000):
        budget.request(0.0)
    assert taken(budget, 0.0) == pytest.approx(1000 * SHARE, abs=1)


def test_what_requests_earn_fades_within_seconds() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.request(0.0)
    assert taken(budget, 10.0) == pytest.approx(200 / 2.718 + FLOOR, abs=1)
    for _ in range(1000):
        budget.request(10.0)
    assert taken(budget, 100.0) == FLOOR


def test_asking_whether_it_is_spent_takes_nothing() -> None:
    budget = RetryBudget()
    for _ in range(100):
        assert not budget.is_spent(0.0)
    assert taken(budget, 0.0) == 10


@given(st.lists(st.tuples(st.sampled_from(["request", "retry"]), st.floats(0, 5)), max_size=300))
def test_retries_are_never_more_than_a_fifth_of_the_requests_and_the_floor(events: list[tuple[str, float]]) -> None:
    budget, now, requests, retries = RetryBudget(), 0.0, 0, 0
    for kind, later in events:
        now += later
        if kind == "request":
            budget.request(now)
            requests += 1
        else:
            retries += budget.try_take(now)
        assert retries <= SHARE * requests + FLOOR + REFILL * now + 1e-6


def test_a_clock_that_stands_still_or_goes_back_gives_nothing_away() -> None:
    budget = RetryBudget()
    assert taken(budget, 100.0) == 10
    assert taken(budget, 50.0) == 0
    assert taken(budget, 100.0) == 0
