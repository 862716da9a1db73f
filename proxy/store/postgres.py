"""The writing side of a store in PostgreSQL: any number of replicas write to one database.

A batch lands in a staging table by COPY, and goes on from there in the same transaction: what is new (by key and id)
into ``requests``, and only that into the roll-ups and among the arrivals. So a batch whose commit was cut off can be
written again, by whomever, and counts once.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import asyncpg

from proxy.store.postgres_connection import CONNECTING, LOST, failures, place_of
from proxy.store.postgres_forms import kept_of, number_of, number_of_latencies, stored
from proxy.store.postgres_reader import PostgresReader
from proxy.store.postgres_schema import (
    PRUNING,
    STAGING,
    WRITING,
    day_of,
    days_there,
    drop_partitions,
    last_day,
    make_partitions,
    migrate,
)
from proxy.store.questions import DAY, HOUR, HOURS_KEPT, MINUTE, MINUTES_KEPT
from proxy.store.rollup import Models, added_up
from proxy.store.row import first_key, row_of
from proxy.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from proxy.store.postgres_forms import Kept
    from proxy.store.rollup import Measures, Series, Slice

    Given = Mapping[tuple[int, Any], tuple[Kept, Series, Mapping[str, Any]]]

__all__ = ["PostgresReader", "PostgresWriter"]

_T = TypeVar("_T")

_PATIENCE: Final = 15.0  # seconds for a batch: others may be writing, and a thread must not hang for ever
_ARRIVALS: Final = (
    10_000  # left for those who follow, each time that old records are looked for: minutes of a busy gateway
)
_TRIES: Final = (
    3  # of one batch: a deadlock's victim, or one whose partition was dropped, is not the fault of the store
)
_AGAIN: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.CheckViolationError)
_STAGED: Final = ("key", "id", "series", "trace_id", "document", "searched")
_SESSION: Final = {
    "application_name": "audiogate",
    "statement_timeout": "15s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",  # a replica that stands still must not stop all others
    "jit": "off",
}

_KEEP: Final = """INSERT INTO audiogate.requests (key, id, series, trace_id, document, words, searched)
    SELECT key, id, series, trace_id, document,
        array_to_tsvector(string_to_array(btrim(searched, ' '), ' ')), searched
    FROM pg_temp.staging ORDER BY key, id
    ON CONFLICT DO NOTHING RETURNING key, id"""
_SERIES: Final = """INSERT INTO audiogate.series AS kept (id, route, provider, model, key, status, outcome, seen)
    SELECT * FROM unnest(
        $1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::text[], $8::bigint[])
    ORDER BY 1
    ON CONFLICT (id) DO UPDATE SET seen = excluded.seen WHERE kept.seen < excluded.seen"""
_ROLLUPS: Final = """INSERT INTO audiogate.rollups AS kept
    SELECT * FROM unnest(
        $1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::bigint[], $9::bigint[], $10::bigint[], $11::text[]::numeric[])
    ORDER BY 1, 2, 3
    ON CONFLICT (period, start, series) DO UPDATE SET
        requests = kept.requests + excluded.requests, errors = kept.errors + excluded.errors,
        unpriced = kept.unpriced + excluded.unpriced, cost_nano = kept.cost_nano + excluded.cost_nano,
        audio_ms = kept.audio_ms + excluded.audio_ms, bytes_in = kept.bytes_in + excluded.bytes_in,
        bytes_out = kept.bytes_out + excluded.bytes_out, latency = kept.latency + excluded.latency"""
_ARRIVE: Final = """INSERT INTO audiogate.arrivals (key, id)
    SELECT key, id FROM unnest($1::bigint[], $2::uuid[]) WITH ORDINALITY AS came (key, id, place) ORDER BY place"""


class PostgresWriter:
    """Writes to the database at ``url``; see :class:`proxy.store.store.StoreWriter`.

    Its event loop runs only within its methods, in the thread that calls them.
    """

    def __init__(self, url: str, *, patience: float = _PATIENCE) -> None:
        self._url = url
        self._place = place_of(url)
        self._patience = patience
        self._runner: asyncio.Runner | None = None
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._days: set[int] = set()
        self._models = Models()

    def open(self) -> None:
        """Connect, make the tables if there are none, and bring them to the present form."""
        self._run(self._open())

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Keep ``records`` and add them to the roll-ups, all or none. One that is there already stays.

        There already means: with the same id and the same time. A record has one time only.
        """
        given: dict[tuple[int, Any], tuple[Kept, Series, Mapping[str, Any]]] = {}
        for record in records:
            row = row_of(record)
            series = stored(row.series)
            kept = kept_of(row, series)
            given[kept.key, kept.id] = (kept, series, record)
        if given:
            self._run(self._write(given))

    def prune(self, before: float, limit: int) -> int:
        """Delete records that began before ``before``, and roll-ups of periods long gone; return how many records.

        Of days that are over at ``before`` all, whatever ``limit`` says: a whole day goes as fast as one record.
        """
        return self._run(self._prune(before, limit))

    def close(self) -> None:
        """Close the connection."""
        if self._runner is not None:
            self._run(self._close())
            self._end_loop()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run ``work`` to its end, within its time; after a failure neither connection nor loop are used again."""
        if self._runner is None:
            self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)  # not the loop of this thread
        with failures(self._place):
            try:
                return self._runner.run(self._bounded(work))
            except BaseException:
                self._end_loop()
                raise

    def _end_loop(self) -> None:
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    async def _bounded(self, work: Coroutine[Any, Any, _T]) -> _T:
        end = time.monotonic() + self._patience
        # Cancelled, work would first try to roll back, and wait for the same server once more.
        timer = asyncio.get_running_loop().call_later(self._patience, self._drop_connection)
        try:
            return await work
        except BaseException as error:
            self._drop_connection()
            if time.monotonic() >= end:
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()

    async def _open(self) -> None:
        self._drop_connection()
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
            self._url, timeout=min(CONNECTING, self._patience), server_settings=_SESSION
        )
        self._connection = connection
        await migrate(connection, self._place)
        await connection.execute(STAGING)
        self._days = await days_there(connection)

    async def _write(self, given: Given) -> None:
        try:
            await self._try_to_write(self._opened(), given)
        except LOST:
            if self._connection is None:  # no time is left
                raise
            # Cut while it was idle, mostly. If it was cut in a commit, what was committed is not written twice.
            await self._open()
            await self._try_to_write(self._opened(), given)

    async def _try_to_write(self, connection: asyncpg.Connection[asyncpg.Record], given: Given) -> None:
        for tries_left in reversed(range(_TRIES)):
            await self._make_days(connection, {day_of(key) for key, _ in given})
            try:
                async with connection.transaction():
                    await self._keep(connection, given)
            except _AGAIN:
                if not tries_left:
                    raise
                self._days.clear()
            else:
                return

    async def _make_days(self, connection: asyncpg.Connection[asyncpg.Record], days: set[int]) -> None:
        # One day ahead: at midnight nobody waits for a partition.
        days |= {max(days) + 1}
        if not days <= self._days:
            await make_partitions(connection, days)
            self._days = await days_there(connection)

    async def _keep(self, connection: asyncpg.Connection[asyncpg.Record], given: Given) -> None:
        rows = [kept for kept, _, _ in given.values()]
        await connection.copy_records_to_table("staging", schema_name="pg_temp", records=rows, columns=_STAGED)
        found = await connection.fetch(_KEEP)
        new = {(key, record_id) for key, record_id in found}
        if not new:
            return
        fresh = [(place, given[place]) for place in given if place in new]
        sums = added_up(((series, record) for _, (_, series, record) in fresh), self._models)
        # From here to the commit one replica at a time: roll-ups cannot deadlock, arrivals are seen in their order.
        await connection.execute(f"SELECT pg_advisory_xact_lock({WRITING})")
        seen = dict.fromkeys((series for _, (_, series, _) in fresh), 0)
        for part in sums:
            if part.period == HOUR:
                seen[part.series] = max(seen.get(part.series, 0), part.start)
        await connection.execute(_SERIES, *_columns([_series(series, start) for series, start in seen.items()]))
        await connection.execute(_ROLLUPS, *_columns([_rollup(part, sums[part]) for part in sums]))
        await connection.execute(_ARRIVE, *_columns([place for place, _ in fresh]))

    async def _prune(self, before: float, limit: int) -> int:
        connection = self._opened()
        last = last_day(before)
        self._days = await days_there(connection)
        deleted = await drop_partitions(connection, {day for day in self._days if day <= last})
        async with connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({PRUNING})")  # two would wait for each other's rows
            if deleted < limit:
                deleted += await _delete(connection, first_key(before), limit - deleted)
            if deleted < limit:
                await _delete_rollups(connection, time.time(), limit)
            await connection.execute(
                f"DELETE FROM audiogate.arrivals WHERE seq <= (SELECT max(seq) FROM audiogate.arrivals) - {_ARRIVALS}"
            )
        return deleted

    async def _close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close(timeout=1)

    def _opened(self) -> asyncpg.Connection[asyncpg.Record]:
        if self._connection is None:
            raise StoreError(f"store {self._place}: it is not open")
        return self._connection

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


async def _delete(connection: asyncpg.Connection[asyncpg.Record], end: int, limit: int) -> int:
    """Delete records below the key ``end``: of its day, and of older ones that a question kept from being dropped."""
    done = await connection.execute(
        "DELETE FROM audiogate.requests WHERE key < $1 AND (key, id) IN"
        " (SELECT key, id FROM audiogate.requests WHERE key < $1 ORDER BY key, id LIMIT $2)",
        end,
        limit,
    )
    return int(done.rpartition(" ")[2])


async def _delete_rollups(connection: asyncpg.Connection[asyncpg.Record], now: float, limit: int) -> None:
    for period, kept in ((MINUTE, MINUTES_KEPT), (HOUR, HOURS_KEPT)):
        await connection.execute(
            "DELETE FROM audiogate.rollups WHERE (period, start, series) IN (SELECT period, start, series"
            " FROM audiogate.rollups WHERE period = $1 AND start < $2 ORDER BY start, series LIMIT $3)",
            period,
            int(now - kept),
            limit,
        )
    # A series that nothing is counted in any more: callers can make up models, and so series.
    await connection.execute(
        "DELETE FROM audiogate.series WHERE seen < $1 AND NOT EXISTS"
        " (SELECT FROM audiogate.requests WHERE requests.series = series.id)",
        int(now - HOURS_KEPT - DAY),
    )


def _series(series: Series, seen: int) -> tuple[int | str, ...]:
    return (number_of(series), *series, seen)


def _rollup(part: Slice, sums: Measures) -> tuple[int | str, ...]:
    latencies = number_of_latencies(sums.latency)
    return (part.period, part.start, number_of(part.series), *sums.sums, latencies)


def _columns(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
