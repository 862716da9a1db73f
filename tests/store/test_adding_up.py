"""What both stores add up: stats are what a sum over all records says, in any buckets and groups."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from proxy.store.questions import DAY, GROUPS, HOUR, MINUTE, Filters, Group, StatsQuestion
from proxy.store.rollup import OTHER_MODEL, Measures, Series, Stats, measures_of, series_of
from tests.store.made import NOON, id_at, made, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.store.stores import Store

DAY_OF_IT = NOON - NOON % DAY
QUESTION = StatsQuestion(since=DAY_OF_IT, until=DAY_OF_IT + DAY, bucket=HOUR)


def passes(series: Series, filters: Filters) -> bool:
    return (
        (not filters.statuses or any(low <= series.status <= high for low, high in filters.statuses))
        and (not filters.outcomes or series.outcome in filters.outcomes)
        and (not filters.providers or series.provider in filters.providers)
        and (not filters.models or series.model in filters.models)
        and (not filters.keys or series.key in filters.keys)
        and (not filters.routes or series.route in filters.routes)
    )


def word(series: Series, group: Group | None) -> str:
    if group == "status":
        return str(series.status) if series.status else ""
    return "" if group is None else str(getattr(series, group))


def summed(records: Iterable[dict[str, Any]], question: StatsQuestion) -> Stats:
    """Return the answer to ``question`` by looking at every record."""
    total, groups, series = Measures(), dict[str, Measures](), dict[tuple[int, str], Measures]()
    for record in records:
        found, began = series_of(record), int(record["id"][:8] + record["id"][9:13], 16) // 1000
        if question.since <= began < question.until and passes(found, question.filters):
            group = word(found, question.group_by)
            start = began - began % question.bucket
            for measures in (
                total,
                groups.setdefault(group, Measures()),
                series.setdefault((start, group), Measures()),
            ):
                measures.add(measures_of(record))
    grouped = question.group_by is not None
    return Stats(
        question,
        total,
        [(group, groups[group]) for group in sorted(groups)] if grouped else [],
        [(start, group if grouped else None, series[start, group]) for start, group in sorted(series)],
    )


def in_order(stats: Stats) -> Stats:
    """Return the same answer with what has no order of its own sorted."""
    series: Sequence[tuple[int, str | None, Measures]] = sorted(stats.series, key=lambda part: (part[0], part[1] or ""))
    return replace(stats, groups=sorted(stats.groups, key=lambda part: part[0]), series=series)


async def test_an_empty_store_adds_up_to_nothing(store: Store) -> None:
    assert await store.reader.stats(QUESTION) == Stats(QUESTION, Measures(), [], [])


@pytest.mark.parametrize("group", [None, *GROUPS])
async def test_stats_are_what_a_sum_over_all_records_says(store: Store, group: Group | None) -> None:
    records = [*some(300, at=DAY_OF_IT, span=DAY), made(1, status=None, at=NOON, outcome="client_left")]
    for start in range(0, 301, 43):
        store.write(*records[start : start + 43])
    for bucket in (MINUTE, 7 * MINUTE, HOUR, 6 * HOUR, DAY):
        first, last = (DAY_OF_IT + HOUR) // bucket * bucket, -(-(DAY_OF_IT + DAY) // bucket) * bucket
        question = StatsQuestion(since=first, until=last, bucket=bucket, group_by=group)
        stats = await store.reader.stats(question)
        assert in_order(stats) == summed(records, question)
        assert [start for start, _, _ in stats.series] == sorted(start for start, _, _ in stats.series)
        sizes = [measures.requests for _, measures in stats.groups]
        assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    "filters",
    [
        Filters(statuses=((500, 599),)),
        Filters(statuses=((200, 200), (499, 499))),
        Filters(outcomes=("ok",)),
        Filters(providers=("groq", "openai"), routes=("speech",)),
        Filters(models=("whisper-1",)),
        Filters(keys=("batch",)),
        Filters(providers=("nobody",)),
        Filters(providers=("'",)),
    ],
    ids=str,
)
async def test_stats_keep_to_their_filters(store: Store, filters: Filters) -> None:
    records = some(300, at=DAY_OF_IT, span=DAY)
    store.write(*records)
    question = replace(QUESTION, group_by="model", filters=filters)
    assert in_order(await store.reader.stats(question)) == summed(records, question)


async def test_what_is_written_twice_counts_once(store: Store) -> None:
    records = some(50)
    store.write(*records)
    store.write(*records[:25], *records)
    assert (await store.reader.stats(QUESTION)).total.requests == 50


async def test_money_adds_up_without_losing_a_nano_dollar(store: Store) -> None:
    store.write(*(made(number, cost="0.000000001") for number in range(300)))
    store.write(made(301, cost="123456.789"), made(302, cost=None), made(303, cost="0"))
    total = (await store.reader.stats(QUESTION)).total
    assert total.document()["cost_usd"] == "123456.7890003"
    assert total.unpriced == 1


async def test_stats_outlive_their_records(store: Store) -> None:
    store.write(*some(20))
    before = await store.reader.stats(QUESTION)
    assert store.prune(NOON + 10_000) == 20
    assert await store.ids(Filters()) == []
    hours = await store.reader.stats(QUESTION)
    assert hours == before
    assert hours.total.requests == 20


async def test_a_caller_who_makes_up_models_does_not_fill_the_roll_ups(store: Store) -> None:
    made_up = [made(number, requested=f"model-{number}", status=404, outcome="upstream_error") for number in range(400)]
    store.write(*made_up)
    store.write(made(401, requested="whisper-1"), made(402, requested="x" * 5000), made(403, requested="model-399"))
    stats = await store.reader.stats(replace(QUESTION, group_by="model"))
    groups = {group: measures.requests for group, measures in stats.groups}
    assert len(groups) == 203
    assert groups[OTHER_MODEL] == 200 + 1
    assert groups["whisper-1"] == groups["model-399"] == 1
    assert await store.ids(Filters(models=("model-399",))) == [id_at(NOON, 403), id_at(NOON, 399)]
    assert await store.ids(Filters(models=("x" * 5000,))) == [id_at(NOON, 402)]


async def test_percentiles_come_from_all_buckets_together(store: Store) -> None:
    store.write(*(made(number, at=NOON + number * 60, took=10.0 * (number + 1)) for number in range(100)))
    stats = await store.reader.stats(replace(QUESTION, bucket=MINUTE))
    assert len(stats.series) == 100
    shown = stats.total.document()["latency_ms"]
    assert stats.total.latency == sum((measures.latency for _, _, measures in stats.series), Counter())
    assert shown["p50"] == pytest.approx(500, rel=0.13)
    assert shown["p99"] == pytest.approx(990, rel=0.13)
