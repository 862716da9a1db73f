"""What both stores answer: pages, filters, one record, all of them, and those that come in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from proxy.store.questions import BadQuestionError, Filters, filters_from
from tests.store.made import FAILURES, NOON, id_at, made, some

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.store.stores import Store


def newest_first(records: list[dict[str, Any]]) -> list[str]:
    return [record["id"] for record in sorted(records, key=lambda record: record["time"], reverse=True)]


async def test_an_empty_store_has_empty_answers(store: Store) -> None:
    page = await store.reader.page(Filters(), limit=10, before=None)
    assert (list(page.items), page.next) == ([], None)
    assert await store.reader.get(id_at(NOON, 1)) is None
    assert await store.all(Filters()) == []
    assert await store.ids(Filters(text="hello", providers=("openai",))) == []


async def test_a_record_comes_back_as_it_was(store: Store) -> None:
    record = {
        **made(filename="Grüße.mp3", transcript="Guten Tag\n\u2028 <b>\"'", metadata={"team": "a", "n": [1, None]}),
        "segments": [{"start": 0.0, "end": 1.5, "text": "Guten Tag", "speaker": None}],
    }
    store.write(record)
    assert await store.reader.get(record["id"]) == record
    assert (await store.reader.page(Filters(), limit=1, before=None)).items == [record]
    assert await store.all(Filters()) == [record]


async def test_pages_hold_every_record_once_and_newest_first(store: Store) -> None:
    records = some(100)
    store.write(*records)
    found, cursor, pages = [], None, 0
    while True:
        page = await store.reader.page(Filters(), limit=7, before=cursor)
        found += [item["id"] for item in page.items]
        pages, cursor = pages + 1, page.next
        if cursor is None:
            break
        assert len(page.items) == 7
    assert (found, pages) == (newest_first(records), 15)


async def test_a_last_page_that_is_full_has_no_next(store: Store) -> None:
    store.write(*some(10))
    first = await store.reader.page(Filters(), limit=5, before=None)
    second = await store.reader.page(Filters(), limit=5, before=first.next)
    assert first.next is not None
    assert (len(second.items), second.next) == (5, None)


async def test_records_that_come_while_one_turns_pages_leave_no_gap_and_no_double(store: Store) -> None:
    records = some(60, span=3600)
    later = some(60, seed=2, at=NOON + 3600)
    for number, record in enumerate(later):
        record["id"] = id_at(NOON + 3601 + number, 1_000_000 + number)
    store.write(*records)
    found, cursor = [], None
    for turn in range(6):
        page = await store.reader.page(Filters(), limit=10, before=cursor)
        found += [item["id"] for item in page.items]
        cursor = page.next
        store.write(*later[turn * 10 : turn * 10 + 10])
    assert found == newest_first(records)


async def test_records_of_one_millisecond_are_kept_apart(store: Store) -> None:
    # Their times are equal, and so are the bits of their ids that a short key could hold.
    records = [made(number * 32768) for number in range(40)]
    store.write(*records[:20])
    store.write(*records[20:])
    found, cursor = [], None
    for _ in range(5):
        page = await store.reader.page(Filters(), limit=9, before=cursor)
        found += [item["id"] for item in page.items]
        cursor = page.next
    assert cursor is None
    assert sorted(found) == sorted(record["id"] for record in records)
    for record in records:
        assert await store.reader.get(record["id"]) == record


@pytest.mark.parametrize("cursor", ["", "x", "-1", "' OR 1", "9" * 40, "\u0661"])
async def test_a_cursor_that_no_page_gave_is_a_bad_question(store: Store, cursor: str) -> None:
    with pytest.raises(BadQuestionError) as caught:
        await store.reader.page(Filters(), limit=1, before=cursor)
    assert caught.value.param == "before"


FILTERS: dict[str, tuple[dict[str, str], Callable[[dict[str, Any]], bool]]] = {
    "status": ({"status": "503"}, lambda r: r["status"] == 503),
    "status class": ({"status": "5xx"}, lambda r: 500 <= r["status"] <= 599),
    "statuses": ({"status": "400,5xx"}, lambda r: r["status"] == 400 or 500 <= r["status"] <= 599),
    "outcome": ({"outcome": "ok"}, lambda r: r["outcome"] == "ok"),
    "outcomes": ({"outcome": "client_left,gateway_error"}, lambda r: r["outcome"] in {"client_left", "gateway_error"}),
    "provider": ({"provider": "groq"}, lambda r: r["provider"] == "groq"),
    "providers": ({"provider": "groq,openai"}, lambda r: r["provider"] in {"groq", "openai"}),
    "model used": ({"model": "whisper-1-2026"}, lambda r: r["model_used"] == "whisper-1-2026"),
    "model requested": (
        {"model": "whisper-1"},
        lambda r: r["model_used"] is None and r["model_requested"] == "whisper-1",
    ),
    "key": ({"key": "batch"}, lambda r: r["key_name"] == "batch"),
    "route": ({"route": "speech,passthrough"}, lambda r: r["route"] in {"speech", "passthrough"}),
    "trace": ({"trace": "trace-17"}, lambda r: r["trace_id"] == "trace-17"),
    "trace and more": ({"trace": "trace-17", "provider": "nobody"}, lambda _: False),
    "since": ({"since": "2026-09-21T14:44:00.5Z"}, lambda r: r["time"] >= "2026-09-21T14:44:00.500Z"),
    "until": ({"until": "2026-09-21T14:44:00.5Z"}, lambda r: r["time"] < "2026-09-21T14:44:00.500Z"),
    "a span": (
        {"since": "2026-09-21T14:30:00Z", "until": "2026-09-21T15:00:00Z"},
        lambda r: "2026-09-21T14:30:00.000Z" <= r["time"] < "2026-09-21T15:00:00.000Z",
    ),
    "several": (
        {"outcome": "ok", "provider": "openai", "route": "transcriptions", "until": "2026-09-21T15:00:00Z"},
        lambda r: (
            (r["outcome"], r["provider"], r["route"]) == ("ok", "openai", "transcriptions")
            and r["time"] < "2026-09-21T15:00:00.000Z"
        ),
    ),
    "nothing": ({"provider": "nobody"}, lambda _: False),
    "an empty word": ({"provider": "", "key": ","}, lambda _: True),
    "quotes": ({"provider": "'; DROP TABLE requests; --"}, lambda _: False),
}


async def test_each_filter_passes_just_what_it_says(store: Store) -> None:
    records = some(300)
    assert {record["status"] for record in records} == {200, *FAILURES.values()}
    store.write(*records)
    for name, (given, passes) in FILTERS.items():
        filters = filters_from(given, NOON)
        wanted = newest_first([record for record in records if passes(record)])
        assert await store.ids(filters) == wanted, name
        assert [item["id"] for item in await store.all(filters)] == wanted, name
        half = len(wanted) // 2
        if half:
            page = await store.reader.page(filters, limit=half, before=None)
            rest = await store.reader.page(filters, limit=1000, before=page.next)
            assert [item["id"] for item in (*page.items, *rest.items)] == wanted, name


async def test_since_is_within_and_until_is_not(store: Store) -> None:
    store.write(made(1, at=NOON), made(2, at=NOON + 0.5), made(3, at=NOON + 1))
    assert await store.ids(Filters(since=NOON)) == [id_at(NOON + 1, 3), id_at(NOON + 0.5, 2), id_at(NOON, 1)]
    assert await store.ids(Filters(since=NOON + 0.0001, until=NOON + 1)) == [id_at(NOON + 0.5, 2)]
    assert await store.ids(Filters(since=NOON, until=NOON)) == []


async def test_an_export_of_many_is_complete_and_in_order(store: Store) -> None:
    records = some(1500)
    for start in range(0, 1500, 500):
        store.write(*records[start : start + 500])
    assert [item["id"] for item in await store.all(Filters())] == newest_first(records)


async def test_an_export_holds_what_was_there_when_it_began(store: Store) -> None:
    records = some(1000, span=3600)
    store.write(*records)
    found: list[str] = []
    async for batch in store.reader.export(Filters()):
        if not found:
            store.write(made(1, at=NOON + 7200))
        found += [item["id"] for item in batch]
        assert len(batch) < 1000
    assert found == newest_first(records)


async def test_an_export_may_be_left(store: Store) -> None:
    store.write(*some(1000))
    async for _ in store.reader.export(Filters()):
        break
    assert len(await store.ids(Filters(), limit=5)) == 5


async def test_what_comes_in_is_told_in_the_order_in_which_it_came(store: Store) -> None:
    store.write(made(1))
    now = await store.reader.arrivals(None, limit=10)
    assert list(now.items) == []
    assert (await store.reader.arrivals(now.last, limit=10)) == now
    store.write(made(2, at=NOON + 10))
    store.write(made(3, at=NOON - 10), made(4))
    first = await store.reader.arrivals(now.last, limit=2)
    assert [item["id"] for item in first.items] == [id_at(NOON + 10, 2), id_at(NOON - 10, 3)]
    second = await store.reader.arrivals(first.last, limit=2)
    assert [item["id"] for item in second.items] == [id_at(NOON, 4)]
    third = await store.reader.arrivals(second.last, limit=2)
    assert (list(third.items), third.last) == ([], second.last)


async def test_who_follows_an_empty_store_misses_nothing(store: Store) -> None:
    now = await store.reader.arrivals(None, limit=10)
    store.write(made(1))
    assert [item["id"] for item in (await store.reader.arrivals(now.last, limit=10)).items] == [id_at(NOON, 1)]


async def test_who_comes_from_the_future_is_told_where_now_is(store: Store) -> None:
    store.write(made(1))
    now = await store.reader.arrivals(None, limit=10)
    assert await store.reader.arrivals(now.last + 1_000_000, limit=10) == now


async def test_what_is_written_twice_comes_in_once(store: Store) -> None:
    now = await store.reader.arrivals(None, limit=10)
    store.write(made(1))
    store.write(made(1), made(2))
    found = await store.reader.arrivals(now.last, limit=10)
    assert [item["id"] for item in found.items] == [id_at(NOON, 1), id_at(NOON, 2)]


async def test_many_may_ask_at_once(store: Store) -> None:
    records = some(200)
    store.write(*records)
    pages = await asyncio.gather(*(store.reader.page(Filters(), limit=100, before=None) for _ in range(30)))
    assert {tuple(item["id"] for item in page.items) for page in pages} == {tuple(newest_first(records)[:100])}
