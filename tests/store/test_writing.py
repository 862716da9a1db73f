"""What both stores do when they are written to: all or nothing, once, again after a failure, and not for ever."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from proxy.store.open import writer_at
from proxy.store.questions import HOUR, MINUTES_KEPT, Filters, StatsQuestion
from proxy.store.store import StoreError
from tests.store.made import NOON, id_at, made, some
from tests.store.stores import Written, opened

if TYPE_CHECKING:
    from tests.store.stores import Store

LATELY = StatsQuestion(since=int(time.time()) // HOUR * HOUR - HOUR, until=int(time.time()) + 2 * HOUR, bucket=HOUR)


async def test_a_record_that_is_there_already_stays_as_it_is(store: Store) -> None:
    store.write(made(1, transcript="first"))
    store.write(made(1, transcript="second"), made(2))
    store.write(made(3), made(3, transcript="again"), made(3))
    assert [item["transcript"] for item in await store.all(Filters())] == [None, None, "first"]
    assert await store.ids(Filters(text="second")) == []


async def test_writing_nothing_is_nothing(store: Store) -> None:
    store.write()
    assert await store.ids(Filters()) == []


async def test_a_batch_with_something_that_is_no_record_leaves_nothing(store: Store) -> None:
    now = await store.reader.arrivals(None, limit=1)
    with pytest.raises(Exception):  # noqa: B017  (a fault of ours: whatever it is)
        store.write(made(1, at=time.time()), {"id": "x"})
    assert await store.ids(Filters()) == []
    assert await store.reader.arrivals(now.last, limit=10) == now
    assert (await store.reader.stats(LATELY)).total.requests == 0
    store.write(made(1, at=time.time()))
    assert (await store.reader.stats(LATELY)).total.requests == 1


ODD = [
    ("user_agent", "\udcff\udcfe", "??"),  # bytes of a header that are no UTF-8
    ("trace_id", "\ud800", "?"),
    ("model_requested", "\udcff", "?"),
    ("key_name", "\ud800", "?"),
    ("transcript", "half \ud83d", "half ?"),
    ("metadata", {"n": 1 << 70}, {"n": 1 << 70}),
    ("metadata", {"x": "a\x00b"}, None),
    ("transcript", "a\x00b", None),
    ("model_requested", "a\x00b", None),
    ("metadata", {"deep": [[[[[[]]]]]], "": ""}, {"deep": [[[[[[]]]]]], "": ""}),
    ("bytes_in", 1 << 62, 1 << 62),
]


@pytest.mark.parametrize(("name", "value", "kept"), ODD, ids=lambda value: repr(value)[:20])
async def test_what_a_client_managed_to_put_into_a_record_stops_no_other(
    store: Store, name: str, value: Any, kept: Any
) -> None:
    store.write({**made(1), name: value}, made(2))
    found = await store.reader.get(id_at(NOON, 1))
    assert found is not None
    if kept is not None:  # else it may lose what this kind of store cannot hold
        assert found[name] == kept
    assert len(await store.ids(Filters())) == 2


async def test_what_is_too_old_goes_in_small_steps_the_oldest_first(store: Store) -> None:
    store.write(*(made(number, at=NOON + number, transcript=f"word{number} all") for number in range(10)))
    assert store.prune(NOON + 5.0, 3) == 3
    assert await store.ids(Filters(until=NOON + 5.0)) == [id_at(NOON + 4, 4), id_at(NOON + 3, 3)]
    assert store.prune(NOON + 5.0, 3) == 2
    assert store.prune(NOON + 5.0, 3) == 0
    assert await store.ids(Filters()) == [id_at(NOON + number, number) for number in range(9, 4, -1)]
    assert await store.ids(Filters(text="word3")) == []
    assert await store.ids(Filters(text="all")) == await store.ids(Filters())
    assert await store.reader.get(id_at(NOON, 0)) is None


async def test_what_was_deleted_can_be_written_again(store: Store) -> None:
    store.write(made(1, transcript="hello"))
    assert store.prune(NOON + 1) == 1
    store.write(made(1, transcript="hello"))
    assert await store.ids(Filters(text="hello")) == [id_at(NOON, 1)]


async def test_minutes_go_and_hours_stay(store: Store) -> None:
    old = int(time.time()) // HOUR * HOUR - MINUTES_KEPT - 3 * HOUR
    store.write(made(1, at=old), made(2, at=time.time()))
    minutes = StatsQuestion(since=old, until=old + HOUR, bucket=60)
    hours = StatsQuestion(since=old, until=old + HOUR, bucket=HOUR)
    assert (await store.reader.stats(minutes)).total.requests == 1
    assert store.prune(0) == 0
    assert (await store.reader.stats(minutes)).total.requests == 0
    assert (await store.reader.stats(hours)).total.requests == 1
    assert (await store.reader.stats(LATELY)).total.requests == 1
    assert len(await store.ids(Filters())) == 2


async def test_a_store_is_the_same_after_it_was_closed(store: Store) -> None:
    records = some(50, at=time.time() - 7200)
    store.write(*records)
    before = await store.all(Filters())
    store.do(store.writer.close)
    store.do(store.writer.open)
    store.write(made(1, at=time.time() + 60))
    async with opened(store.kind, store.url) as again:
        assert (await again.all(Filters()))[1:] == before
        again.write(*records)
        assert len(await again.all(Filters())) == 51


async def test_a_store_may_be_opened_again_at_any_time(store: Store) -> None:
    for number in range(3):
        store.do(store.writer.open)
        store.write(made(number))
    assert len(await store.ids(Filters())) == 3


async def test_a_store_that_is_closed_says_so(store: Store) -> None:
    store.do(store.writer.close)
    store.do(store.writer.close)
    with pytest.raises(StoreError):
        store.write(made(1))
    with pytest.raises(StoreError):
        store.prune(NOON)


async def test_several_may_write_at_once(store: Store) -> None:
    others = [Written(store.url) for _ in range(3)]
    for other in others:
        other.open()
    records = some(400)
    runs = [
        other._thread.submit(_write_all, other, records[number * 100 : number * 100 + 120])
        for number, other in enumerate(others)
    ]
    for start in range(300, 400, 20):
        store.write(*records[start : start + 20])
    for run in runs:
        run.result(60)
    for other in others:
        other.close()
    question = StatsQuestion(since=NOON // HOUR * HOUR, until=NOON + 4 * HOUR, bucket=HOUR)
    assert len(await store.ids(Filters())) == 400
    assert (await store.reader.stats(question)).total.requests == 400


def _write_all(store: Written, records: list[dict[str, Any]]) -> None:
    for start in range(0, len(records), 10):
        store.writer.write(records[start : start + 10])


@pytest.mark.parametrize("url", ["", "none", "mysql://localhost/x", "sqlite:", "file.db"])
def test_an_address_of_no_kind_of_store_is_told_what_one_looks_like(url: str) -> None:
    with pytest.raises(StoreError, match="sqlite:"):
        writer_at(url)
