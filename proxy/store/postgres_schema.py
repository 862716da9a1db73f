"""PostgreSQL's tables: how they are made, and how an older form becomes the present one.

All is in a schema ``audiogate``. ``requests`` has one partition for each day (UTC) in which a request began, so that a
day that is too old goes at once and leaves no holes; whoever writes makes the partition that is missing. What records
have in common (a series: provider, model, status ...) stands once in ``series``, under a number that every replica
works out for itself; the index from a series to its records, in the order of keys, answers every filter.

Advisory locks keep replicas apart: those that start together migrate one after another, and those that write agree on
roll-ups and on the order of arrivals one after another, each for the few milliseconds up to its commit.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from asyncpg import LockNotAvailableError

from proxy.store.questions import DAY
from proxy.store.row import first_key
from proxy.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncpg import Connection, Record
    from asyncpg.pool import PoolConnectionProxy

    Connected = Connection[Record] | PoolConnectionProxy[Record]

OLDEST_SERVER: Final = 14  # what its makers still mended in 2026
# Advisory locks: "audg", and which.
MIGRATING: Final = 0x6175_6467_0001
WRITING: Final = 0x6175_6467_0002
PRUNING: Final = 0x6175_6467_0003
_LOCKED_OUT: Final = 500  # milliseconds that everybody else may have to wait for one who waits to drop a partition
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_FIRST: Final = (
    "CREATE TABLE audiogate.form (version integer NOT NULL)",
    "INSERT INTO audiogate.form VALUES (0)",
    """CREATE TABLE audiogate.series (
        id bigint PRIMARY KEY, route text NOT NULL, provider text NOT NULL, model text NOT NULL, key text NOT NULL,
        status integer NOT NULL, outcome text NOT NULL, seen bigint NOT NULL)""",
    # The document is text: JSON's types refuse some characters, and would be taken apart for nobody.
    """CREATE TABLE audiogate.requests (
        key bigint NOT NULL, id uuid NOT NULL, series bigint NOT NULL, trace_id text NOT NULL,
        document text NOT NULL, words tsvector NOT NULL, searched text NOT NULL,
        PRIMARY KEY (key, id)) PARTITION BY RANGE (key)""",
    "CREATE INDEX requests_by_id ON audiogate.requests (id)",
    "CREATE INDEX requests_by_trace ON audiogate.requests (trace_id)",
    "CREATE INDEX requests_by_series ON audiogate.requests (series, key, id)",
    # What is not in the index yet is looked through by every search: a megabyte at most.
    "CREATE INDEX requests_by_words ON audiogate.requests USING gin (words) WITH (gin_pending_list_limit = 1024)",
    """CREATE TABLE audiogate.arrivals (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key bigint NOT NULL, id uuid NOT NULL)""",
    # Roll-ups are updated in place: the room that is left in a page is for that.
    """CREATE TABLE audiogate.rollups (
        period integer NOT NULL, start bigint NOT NULL, series bigint NOT NULL, requests bigint NOT NULL,
        errors bigint NOT NULL, unpriced bigint NOT NULL, cost_nano bigint NOT NULL, audio_ms bigint NOT NULL,
        bytes_in bigint NOT NULL, bytes_out bigint NOT NULL, latency numeric NOT NULL,
        PRIMARY KEY (period, start, series)) WITH (fillfactor = 70)""",
)
MIGRATIONS: Final = (_FIRST,)
"""What makes each form out of the one before."""

STAGING: Final = """CREATE TEMPORARY TABLE IF NOT EXISTS staging (
    key bigint, id uuid, series bigint, trace_id text, document text, searched text) ON COMMIT DELETE ROWS"""
"""Where a batch lands before it is known which of it is new; of the connection, and gone with it."""


async def form_of(connection: Connected, place: str) -> int:
    """Return the form that the tables have, 0 when there are none. Raises StoreError when it is newer than ours."""
    if await connection.fetchval("SELECT to_regclass('audiogate.form') IS NULL"):
        return 0
    version = int(await connection.fetchval("SELECT version FROM audiogate.form"))
    if version > len(MIGRATIONS):
        known = len(MIGRATIONS)
        raise StoreError(f"store {place}: a newer Audiogate has written it (form {version}; {known} is known)")
    return version


async def migrate(connection: Connected, place: str) -> None:
    """Bring the tables to the present form; who comes second waits for the first, and finds it done."""
    if connection.get_server_version().major < OLDEST_SERVER:
        raise StoreError(f"store {place}: PostgreSQL {OLDEST_SERVER} or newer is needed")
    if connection.get_settings().server_encoding != "UTF8":
        raise StoreError(f"store {place}: the database must have the encoding UTF8")
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({MIGRATING})")
        version = await form_of(connection, place)
        if version == len(MIGRATIONS):
            return
        if not await connection.fetchval("SELECT true FROM pg_namespace WHERE nspname = 'audiogate'"):
            await connection.execute("CREATE SCHEMA audiogate")  # where it is there already, nobody needs the right to
        for statement in (statement for step in MIGRATIONS[version:] for statement in step):
            await connection.execute(statement)
        await connection.execute(f"UPDATE audiogate.form SET version = {len(MIGRATIONS)}")


def day_of(key: int) -> int:
    """Return the day, since the epoch, of a record with this key."""
    return (key // first_key(1)) // DAY


def last_day(before: float) -> int:
    """Return the last day that was over at ``before``, in seconds since the epoch."""
    return int(before // DAY) - 1


def partition_of(day: int) -> str:
    """Return the name of a day's partition."""
    return f"requests_{_EPOCH + timedelta(days=day):%Y%m%d}"


async def days_there(connection: Connected) -> set[int]:
    """Return the days that have a partition."""
    found = await connection.fetch(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'audiogate.requests'::regclass AND relname ~ '^requests_[0-9]{8}$'"
    )
    moments = (datetime.strptime(name.removeprefix("requests_") + "+0000", "%Y%m%d%z") for (name,) in found)
    return {(moment - _EPOCH).days for moment in moments}


async def make_partitions(connection: Connected, days: Iterable[int]) -> None:
    """Make the partitions of ``days`` that are missing. Nobody who reads or writes meanwhile has to wait."""
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({MIGRATING})")
        for day in sorted(set(days) - await days_there(connection)):
            name, low, high = partition_of(day), first_key(day * DAY), first_key((day + 1) * DAY)
            # Attached, not made in its place: that would keep everybody out of all days.
            await connection.execute(f"CREATE TABLE audiogate.{name} (LIKE audiogate.requests)")
            await connection.execute(
                f"ALTER TABLE audiogate.requests ATTACH PARTITION audiogate.{name} FOR VALUES FROM ({low}) TO ({high})"
            )


async def drop_partitions(connection: Connected, days: Iterable[int]) -> int:
    """Drop the partitions of ``days``; return how many records went with them.

    A question that reads them may keep them: they are left for the next time, rather than that all wait for its end.
    """
    dropped = 0
    for name in map(partition_of, sorted(days)):
        try:
            async with connection.transaction():
                await connection.execute(f"SELECT pg_advisory_xact_lock({MIGRATING})")
                if await connection.fetchval(f"SELECT to_regclass('audiogate.{name}') IS NULL"):
                    continue  # another replica was faster
                count = int(await connection.fetchval(f"SELECT count(*) FROM audiogate.{name}"))
                await connection.execute(f"SET LOCAL lock_timeout = {_LOCKED_OUT}")
                await connection.execute(f"DROP TABLE audiogate.{name}")
        except LockNotAvailableError:
            break
        dropped += count
    return dropped
