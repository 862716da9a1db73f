"""What records add up to: in any order, in any parts, and near enough to what each of them says."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.store.questions import HOUR, MINUTE, StatsQuestion
from proxy.store.rollup import (
    LAST_SLOT,
    OTHER_MODEL,
    Measures,
    Models,
    Series,
    Stats,
    added_up,
    dollars,
    measures_of,
    nano,
    percentile,
    series_of,
    slot_of,
)
from tests.store.made import NOON, made, some

TOOK = st.floats(0, 10_000_000)  # milliseconds: from nothing to three hours


def summed(records: list[dict[str, Any]]) -> Measures:
    total = Measures()
    for record in records:
        total.add(measures_of(record))
    return total


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, (1, 0, 0, 600_000, 6000)),
        ({"cost": None}, (1, 0, 1, 0, 6000)),
        ({"cost": None, "outcome": "upstream_error", "status": 500}, (1, 1, 0, 0, 6000)),
        ({"cost": "0.01", "outcome": "client_left", "status": 499}, (1, 1, 0, 10_000_000, 6000)),
        ({"cost": None, "route": "passthrough"}, (1, 0, 0, 0, 6000)),  # it has no price: not one that is unknown
        ({"cost": None, "route": "speech"}, (1, 0, 1, 0, 6000)),
        ({"cost": "0", "seconds": None}, (1, 0, 0, 0, 0)),
        ({"seconds": 0.0004}, (1, 0, 0, 600_000, 0)),
        ({"seconds": 0.0016}, (1, 0, 0, 600_000, 2)),
    ],
    ids=str,
)
def test_what_one_record_adds(facts: dict[str, Any], told: tuple[int, ...]) -> None:
    found = measures_of(made(3, **facts))
    assert (found.requests, found.errors, found.unpriced, found.cost_nano, found.audio_ms) == told
    assert (found.bytes_in, found.bytes_out, found.latency) == (1003, 10, Counter({slot_of(250): 1}))


def test_a_series_has_a_word_for_everything() -> None:
    assert series_of(made(key="k", used="m")) == Series("transcriptions", "openai", "m", "k", 200, "ok")
    assert series_of(made(provider=None, requested=None, status=None, outcome="client_error")) == Series(
        "transcriptions", "", "", "", 0, "client_error"
    )


@given(st.lists(st.integers(0, 199), unique=True), st.randoms())
def test_roll_ups_of_parts_add_up_to_the_roll_up_of_all(chosen: list[int], chance: Any) -> None:
    records = [RECORDS[number] for number in chosen]
    parts: list[list[dict[str, Any]]] = [[], [], []]
    for record in records:
        chance.choice(parts).append(record)
    total = Measures()
    for part in chance.sample(parts, 3):
        total.add(summed(part))
    assert total == summed(records)


RECORDS = some(200)


def test_a_batch_adds_to_its_minutes_and_hours() -> None:
    sums = added_up([(series_of(record), record) for record in RECORDS], Models())
    for period in (MINUTE, HOUR):
        parts = {part: measures for part, measures in sums.items() if part.period == period}
        assert all(part.start % period == 0 for part in parts)
        total = Measures()
        for measures in parts.values():
            total.add(measures)
        assert total == summed(RECORDS)
    assert {part.series for part in sums} == {series_of(record) for record in RECORDS}


def test_models_that_callers_make_up_become_one() -> None:
    models = Models()
    good, bad = series_of(made()), series_of(made(outcome="upstream_error", status=404))
    for number in range(300):
        admitted = models.admit(bad._replace(model=f"made-up-{number}"))
        assert admitted.model == (f"made-up-{number}" if number < 200 else OTHER_MODEL)
    for number in range(900):  # an upstream that takes any name
        admitted = models.admit(good._replace(model=f"taken-{number}"))
        assert admitted.model == (f"taken-{number}" if number < 800 else OTHER_MODEL)
    assert models.admit(bad._replace(model="taken-799")).model == "taken-799"
    assert models.admit(good._replace(model="made-up-1")).model == "made-up-1"
    assert Models().admit(good._replace(model="m" * 201)).model == OTHER_MODEL


@given(st.decimals(0, 1_000_000, places=9))
def test_money_comes_back_as_it_was(value: Decimal) -> None:
    assert Decimal(dollars(nano(f"{value:f}"))) == value
    assert "E" not in dollars(nano(f"{value:f}"))


@pytest.mark.parametrize(
    ("nano_dollars", "shown"),
    [(0, "0"), (1, "0.000000001"), (10**9, "1"), (100 * 10**9, "100"), (1_500_000_000, "1.5")],
)
def test_money_is_shown_without_idle_zeros(nano_dollars: int, shown: str) -> None:
    assert dollars(nano_dollars) == shown


def test_half_a_nano_dollar_goes_to_the_even_side() -> None:
    assert [nano(text) for text in ("0.0000000005", "0.0000000015", "0.00000000251")] == [0, 2, 3]


@given(TOOK, TOOK)
def test_a_longer_latency_is_in_no_earlier_slot(first: float, second: float) -> None:
    shorter, longer = sorted((first, second))
    assert 0 <= slot_of(shorter) <= slot_of(longer) <= LAST_SLOT


@given(st.lists(st.floats(1.001, 7_000_000), min_size=1, max_size=300), st.sampled_from((0.5, 0.95, 0.99, 1.0)))
def test_a_percentile_is_within_a_slot_of_the_exact_one(took: list[float], share: float) -> None:
    found = percentile(Counter(map(slot_of, took)), share)
    # The exact one, as the smallest value that the share stays within.
    exact = sorted(took)[max(-(-len(took) * round(share * 100) // 100) - 1, 0)]
    assert found == pytest.approx(exact, rel=0.13)


def test_percentiles_of_nothing_are_unknown_and_of_next_to_nothing_small() -> None:
    assert percentile({}, 0.5) is None
    assert 0 <= (percentile({0: 10}, 0.5) or 0) <= 1
    assert (percentile({LAST_SLOT: 1}, 0.99) or 0) > 7_000_000


def test_an_answer_is_shown_with_units_and_words() -> None:
    question = StatsQuestion(since=NOON, until=NOON + HOUR, bucket=MINUTE, group_by="provider")
    one = measures_of(made(took=100.0))
    shown = Stats(question, one, [("openai", one)], [(NOON, "openai", one)]).document()
    assert {name: shown[name] for name in ("since", "until", "bucket", "group_by")} == {
        "since": "2026-09-21T14:14:00Z",
        "until": "2026-09-21T15:14:00Z",
        "bucket": 60,
        "group_by": "provider",
    }
    total = shown["total"]
    assert {name: total[name] for name in total if name != "latency_ms"} == {
        "requests": 1,
        "errors": 0,
        "unpriced": 0,
        "cost_usd": "0.0006",
        "audio_seconds": 6.0,
        "bytes_in": 1000,
        "bytes_out": 10,
    }
    assert total["latency_ms"]["p95"] == pytest.approx(100, rel=0.13)
    assert shown["groups"] == [{"group": "openai", **total}]
    assert shown["series"] == [{"time": "2026-09-21T14:14:00Z", "group": "openai", **total}]
