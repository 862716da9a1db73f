"""What PostgreSQL alone does: replicas that write at once, days as partitions, roles, and what it cannot hold."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import asyncpg
import pytest

from proxy.store.postgres import PostgresReader, PostgresWriter
from proxy.store.questions import DAY, HOUR, Filters, StatsQuestion
from proxy.store.row import document_of, text_of
from proxy.store.store import StoreError
from tests.bootstrap import in_ci, missing
from tests.store.made import NOON, id_at, made, some
from tests.store.postgres import PASSWORD, Server
from tests.store.stores import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TODAY = NOON // DAY * DAY
QUESTION = StatsQuestion(since=TODAY, until=TODAY + DAY, bucket=HOUR)
ALL = Filters()


@pytest.fixture
def database(request: pytest.FixtureRequest) -> tuple[Server, str]:
    """A server, and an empty database on it."""
    reason = missing("initdb")
    if reason is not None and not in_ci():
        pytest.skip(reason)
    made_server: Server = request.getfixturevalue("postgres_server")
    return made_server, made_server.database()


@pytest.fixture
def url(database: tuple[Server, str]) -> str:
    made_server, name = database
    return made_server.url(name)


@pytest.fixture
def writer(url: str) -> Iterator[PostgresWriter]:
    yield from opened(url)


def opened(url: str) -> Iterator[PostgresWriter]:
    made_writer = PostgresWriter(url)
    made_writer.open()
    yield made_writer
    made_writer.close()


def answered(url: str, ask: Callable[[PostgresReader], Any], *, patience: float = 10.0) -> Any:
    """Return what a reader answers."""

    async def answer() -> Any:
        reader = PostgresReader(url, patience=patience)
        try:
            return await ask(reader)
        finally:
            await reader.close()

    return asyncio.run(answer())


def ids(url: str, filters: Filters = ALL) -> list[str]:
    page = answered(url, lambda reader: reader.page(filters, limit=10_000, before=None))
    return [item["id"] for item in page.items]


def at_once(*calls: Callable[[], None]) -> None:
    """Make all calls, each in a thread of its own, as nearly at once as can be."""
    ready = threading.Barrier(len(calls))

    def make(call: Callable[[], None]) -> None:
        ready.wait(PATIENCE)
        call()

    with ThreadPoolExecutor(len(calls)) as threads:
        for done in [threads.submit(make, call) for call in calls]:
            done.result(PATIENCE)


def partitions(database: tuple[Server, str]) -> list[object]:
    made_server, name = database
    rows = made_server.ask(
        name, "SELECT relid::text FROM pg_partition_tree('audiogate.requests') WHERE isleaf ORDER BY 1"
    )
    return [partition for (partition,) in rows]


# replicas


def test_replicas_that_start_together_make_the_tables_once(database: tuple[Server, str], url: str) -> None:
    writers = [PostgresWriter(url) for _ in range(4)]

    def start(one: PostgresWriter) -> Callable[[], None]:
        def run() -> None:
            one.open()
            one.write([made(1)])
            one.close()

        return run

    at_once(*map(start, writers))
    assert ids(url) == [id_at(NOON, 1)]


def test_a_record_that_several_write_at_once_counts_once(url: str, writer: PostgresWriter) -> None:
    records = some(300)

    def write(order: int) -> Callable[[], None]:
        def run() -> None:
            for one in opened(url):
                for begin in range(0, 300, 50):
                    one.write(records[begin : begin + 50][::order])

        return run

    at_once(write(1), write(-1), write(1))
    assert sorted(ids(url)) == sorted(record["id"] for record in records)
    stats = answered(url, lambda reader: reader.stats(QUESTION))
    assert stats.total.requests == sum(stats.total.latency.values()) == 300


async def test_who_follows_several_writers_sees_each_record_once(url: str, writer: PostgresWriter) -> None:
    reader = PostgresReader(url)
    seen: list[str] = []
    last = (await reader.arrivals(None, limit=1)).last

    def write(first: int) -> None:
        for one in opened(url):
            for number in range(first, first + 300, 3):
                one.write([made(number + more, at=NOON + number) for more in range(3)])

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        for replica in range(3):
            tasks.create_task(asyncio.to_thread(write, 300 * replica))
        while len(seen) < 900:
            found = await reader.arrivals(last, limit=7)
            seen += [item["id"] for item in found.items]
            last = found.last
    assert len(set(seen)) == 900
    assert not (await reader.arrivals(last, limit=7)).items
    await reader.close()


# days


def test_each_day_has_its_partition_and_the_next_one_is_there_before_it_begins(
    database: tuple[Server, str], writer: PostgresWriter
) -> None:
    writer.write([made(1, at=TODAY), made(2, at=TODAY - 0.001), made(3, at=TODAY - 400 * DAY)])
    assert partitions(database) == [
        f"audiogate.requests_{day}" for day in ("20250817", "20260920", "20260921", "20260922")
    ]


def test_days_that_are_over_go_at_once_and_of_the_last_one_no_more_than_asked_for(
    database: tuple[Server, str], url: str, writer: PostgresWriter
) -> None:
    writer.write([made(number, at=TODAY - 3 * DAY + number * HOUR) for number in range(4 * 24)])
    assert writer.prune(TODAY + 6 * HOUR, 2) == 3 * 24
    assert partitions(database) == ["audiogate.requests_20260921", "audiogate.requests_20260922"]
    assert [writer.prune(TODAY + 6 * HOUR, 4) for _ in range(3)] == [4, 2, 0]
    assert ids(url) == [id_at(TODAY + hour * HOUR, 72 + hour) for hour in reversed(range(6, 24))]


def test_a_day_that_somebody_reads_goes_record_by_record_and_nobody_waits(
    database: tuple[Server, str], url: str, writer: PostgresWriter
) -> None:
    made_server, name = database
    writer.write([made(number, at=TODAY + number) for number in range(5)])

    async def prune_meanwhile() -> None:
        connection = await asyncpg.connect(made_server.url(name))
        async with connection.transaction():
            await connection.execute("LOCK TABLE audiogate.requests IN ACCESS SHARE MODE")
            assert await asyncio.to_thread(writer.prune, TODAY + DAY, 3) == 3
            await asyncio.to_thread(writer.write, [made(9, at=TODAY + 9)])
        await connection.close()

    asyncio.run(prune_meanwhile())
    assert len(ids(url)) == 3
    assert writer.prune(TODAY + DAY, 500) == 3
    assert partitions(database) == ["audiogate.requests_20260922"]


def test_a_day_that_another_replica_dropped_is_made_again_for_a_late_record(url: str, writer: PostgresWriter) -> None:
    writer.write([made(1)])
    for other in opened(url):
        assert other.prune(TODAY + DAY, 1) == 1
    writer.write([made(2)])
    assert ids(url) == [id_at(NOON, 2)]


def test_of_what_came_in_only_the_last_is_remembered(
    database: tuple[Server, str], url: str, writer: PostgresWriter
) -> None:
    made_server, name = database
    writer.write([made(1)])
    one_more = "INSERT INTO audiogate.arrivals (key, id) SELECT key, id FROM audiogate.requests, generate_series(1, {})"
    made_server.ask(name, one_more.format(10_050))
    writer.prune(0, 1)
    assert made_server.ask(name, "SELECT count(*), max(seq) FROM audiogate.arrivals") == [(10_000, 10_051)]
    assert answered(url, lambda reader: reader.arrivals(None, limit=1)).last == 10_051


# forms and roles


def test_tables_of_a_newer_form_are_left_alone(database: tuple[Server, str], url: str) -> None:
    for one in opened(url):
        one.write([made(1)])
    made_server, name = database
    made_server.ask(name, "UPDATE audiogate.form SET version = 99")
    for call in (PostgresWriter(url).open, lambda: ids(url)):
        with pytest.raises(StoreError, match="a newer Audiogate has written it"):
            call()


def test_a_reader_that_comes_first_says_so_and_needs_no_restart(url: str) -> None:
    def write(records: list[dict[str, Any]]) -> None:
        for one in opened(url):
            one.write(records)

    async def ask(reader: PostgresReader) -> None:
        with pytest.raises(StoreError, match="no Audiogate has written there yet"):
            await reader.open()
        await asyncio.to_thread(write, [made(1)])
        assert await reader.get(id_at(NOON, 1)) is not None

    answered(url, ask)


def test_a_role_needs_the_schema_to_write_and_may_be_given_only_the_right_to_read(database: tuple[Server, str]) -> None:
    made_server, name = database
    url = made_server.url(name, user="stranger", password=quote(PASSWORD, safe=""))
    with pytest.raises(StoreError, match="permission denied for database"):
        PostgresWriter(url).open()
    made_server.ask(name, "CREATE SCHEMA audiogate AUTHORIZATION stranger")
    for one in opened(url):
        one.write([made(1)])
        assert one.prune(NOON + DAY, 10) == 1
        one.write([made(2)])
    made_server.ask(
        name,
        "DROP ROLE IF EXISTS looker",
        "CREATE ROLE looker LOGIN",
        "GRANT USAGE ON SCHEMA audiogate TO looker",
        "GRANT SELECT ON ALL TABLES IN SCHEMA audiogate TO looker",
    )
    looking = made_server.url(name, user="looker")
    assert ids(looking) == [id_at(NOON, 2)]
    for one in opened(looking):
        with pytest.raises(StoreError, match="permission denied"):
            one.write([made(3)])
    made_server.ask(name, "DROP OWNED BY looker", "DROP ROLE looker")


def test_a_database_that_cannot_hold_every_character_is_refused(database: tuple[Server, str]) -> None:
    made_server, name = database
    made_server.ask(
        "postgres", f"CREATE DATABASE {name}_old TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    with pytest.raises(StoreError, match="must have the encoding UTF8"):
        PostgresWriter(made_server.url(f"{name}_old")).open()


# what it cannot hold


def test_whatever_a_client_sends_can_be_kept_and_asked_for(url: str, writer: PostgresWriter) -> None:
    hostile = "a\0b\ud800\\u0000"
    record = made(
        1,
        trace_id=hostile,
        filename=hostile,
        transcript=f"{hostile} {'x' * 5000}",
        requested="m" * 300_000 + hostile,
        key=hostile,
        metadata={hostile: [hostile, 2**70, float("nan")]},
    )
    long = made(2, transcript=" ".join(f"w{number}" for number in range(400_000)))
    writer.write([record, long])
    assert answered(url, lambda reader: reader.get(record["id"])) is not None
    found = answered(url, lambda reader: reader.get(long["id"]))
    assert found == document_of(text_of(long))
    for filters in (
        Filters(trace=hostile),
        Filters(keys=(hostile,)),
        Filters(models=(record["model_requested"],)),
        Filters(text="x" * 300),
        Filters(text=hostile),
    ):
        assert ids(url, filters) == [record["id"]]


def test_a_question_about_a_number_that_cannot_be_is_an_error_that_quotes_nothing(
    url: str, writer: PostgresWriter
) -> None:
    writer.write([made(1)])
    with pytest.raises(StoreError, match="there is a value that PostgreSQL cannot hold"):
        answered(url, lambda reader: reader.page(ALL, limit=2**80, before=None))


def test_an_answer_has_a_time_limit(database: tuple[Server, str], url: str, writer: PostgresWriter) -> None:
    made_server, name = database
    writer.write([made(1)])

    async def ask(reader: PostgresReader) -> None:
        await reader.open()
        connection = await asyncpg.connect(made_server.url(name))
        async with connection.transaction():
            await connection.execute("LOCK TABLE audiogate.requests IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(StoreError, match="no answer in time"):
                await reader.page(ALL, limit=1, before=None)
        await connection.close()
        assert len((await reader.page(ALL, limit=1, before=None)).items) == 1

    answered(url, ask, patience=0.5)
