"""The writing side of a store in a file of SQLite's: any number of processes may have one open at a time."""

from __future__ import annotations

import json
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from proxy.store.latencies import packed
from proxy.store.questions import HOUR, HOURS_KEPT, MINUTE, MINUTES_KEPT
from proxy.store.rollup import Models, Series, added_up
from proxy.store.row import Row, document_of, first_key, row_of, searched_of
from proxy.store.sqlite_file import failures, identity, open_to_write, transaction
from proxy.store.store import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from proxy.store.rollup import Measures, Slice

_ARRIVALS: Final = 10_000  # kept for those who follow: minutes of a busy gateway
_VACUUMED: Final = 1000  # pages given back at a time: 4 MB are moved within milliseconds
_MERGED: Final = 500  # pages of the index of words that are rewritten at a time: some ten milliseconds
_AT_ONCE: Final = (250, 50, 10, 1)  # rows of one statement: each costs the interpreter's lock once

_SERIES: Final = "INSERT INTO series (route, provider, model, key, status, outcome, seen)"
_SERIES_ELSE: Final = """ON CONFLICT DO UPDATE SET seen = max(seen, excluded.seen)
    RETURNING id, route, provider, model, key, status, outcome"""
_ROLLUPS: Final = "INSERT INTO rollups"
_ROLLUPS_ELSE: Final = """ON CONFLICT DO UPDATE SET
    requests = requests + excluded.requests, errors = errors + excluded.errors,
    unpriced = unpriced + excluded.unpriced, cost_nano = cost_nano + excluded.cost_nano,
    audio_ms = audio_ms + excluded.audio_ms, bytes_in = bytes_in + excluded.bytes_in,
    bytes_out = bytes_out + excluded.bytes_out, latency = merged(latency, excluded.latency)"""


class SqliteWriter:
    """Writes to the file at ``path``; see :class:`proxy.store.store.StoreWriter`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._models = Models()
        self._forgets = False  # whether words of deleted records may still be in the index

    def open(self) -> None:
        """Open the file, make it (mode 0600) if there is none, and bring it to the present form."""
        self.close()
        self._open = open_to_write(self._path)
        with failures(self._path):
            self._identity = identity(self._path)

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Keep ``records`` and add them to the roll-ups, all or none. One that is there already (by id) stays."""
        given = {row.id: (row, record) for record in records for row in [row_of(record)]}
        connection = self._connection()
        with failures(self._path), transaction(connection):
            known = _known(connection, given)
            for record_id in known:
                del given[record_id]
            if given:
                rows = _with_free_keys(connection, [row for row, _ in given.values()])
                sums = added_up(((row.series, record) for row, record in given.values()), self._models)
                _keep(connection, rows, sums)

    def prune(self, before: float, limit: int) -> int:
        """Delete at most ``limit`` records that began before ``before``, and as many roll-ups of periods long gone."""
        connection = self._connection()
        with failures(self._path):
            with transaction(connection):
                found = connection.execute(
                    "SELECT key, document FROM documents WHERE key < ? ORDER BY key LIMIT ?",
                    (first_key(before), limit),
                ).fetchall()
                if found:
                    _delete(connection, found)
                    self._forgets = True
                if len(found) < limit:
                    _delete_rollups(connection, time.time(), limit)
                    self._forgets = self._forgets and _forget_words(connection)
            # As a script: execute() would stop at the first page.
            connection.executescript(f"PRAGMA incremental_vacuum({_VACUUMED})")
        return len(found)

    def close(self) -> None:
        """Close the file."""
        if self._open is not None:
            with failures(self._path):
                self._open.close()
            self._open = None

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            raise StoreError(f"store {self._path}: it is not open")
        with failures(self._path):
            if identity(self._path) != self._identity:  # SQLite would go on writing to a file without a name
                raise StoreError(f"store {self._path}: another file has taken its place")
        return self._open


def _known(connection: sqlite3.Connection, ids: Iterable[str]) -> list[str]:
    found = connection.execute("SELECT id FROM requests WHERE id IN (SELECT value FROM json_each(?))", (_list(ids),))
    return [record_id for (record_id,) in found]


def _with_free_keys(connection: sqlite3.Connection, rows: Sequence[Row]) -> list[Row]:
    """Return the rows with keys that no other has."""
    wanted = _list(row.key for row in rows)
    found = connection.execute("SELECT key FROM requests WHERE key IN (SELECT value FROM json_each(?))", (wanted,))
    taken = {key for (key,) in found}
    placed = []
    for row in rows:
        key = row.key
        while key in taken:
            key += 1
            if connection.execute("SELECT 1 FROM requests WHERE key = ?", (key,)).fetchone() is not None:
                taken.add(key)
        taken.add(key)
        placed.append(row if key == row.key else row._replace(key=key))
    return placed


def _keep(connection: sqlite3.Connection, rows: Sequence[Row], sums: Mapping[Slice, Measures]) -> None:
    seen = dict.fromkeys((row.series for row in rows), 0)
    for part in sums:
        seen[part.series] = max(seen.get(part.series, 0), part.start)
    found = _insert(connection, _SERIES, [(*series, start) for series, start in seen.items()], _SERIES_ELSE)
    ids = {Series(*series): number for number, *series in found}
    _insert(
        connection,
        "INSERT INTO requests (key, series, id, trace_id)",
        [(row.key, ids[row.series], row.id, row.trace_id) for row in rows],
    )
    _insert(connection, "INSERT INTO documents (key, document)", [(row.key, row.document) for row in rows])
    _insert(connection, "INSERT INTO search (rowid, text)", [(row.key, row.searched) for row in rows if row.searched])
    _insert(connection, "INSERT INTO arrivals (key)", [(row.key,) for row in rows])
    connection.execute("DELETE FROM arrivals WHERE seq <= (SELECT max(seq) FROM arrivals) - ?", (_ARRIVALS,))
    _insert(connection, _ROLLUPS, [_rollup(part, ids[part.series], sums[part]) for part in sums], _ROLLUPS_ELSE)


def _rollup(part: Slice, series: int, sums: Measures) -> tuple[int | bytes, ...]:
    return (part.period, part.start, series, *sums.sums, packed(sums.latency))


def _delete(connection: sqlite3.Connection, found: Sequence[tuple[int, str]]) -> None:
    texts = [(key, searched_of(document_of(document))) for key, document in found]
    # An index without its text must be told what it is to forget.
    forgotten = [("delete", key, text) for key, text in texts if text]
    _insert(connection, "INSERT INTO search (search, rowid, text)", forgotten)
    last = found[-1][0]
    connection.execute("DELETE FROM documents WHERE key <= ?", (last,))
    connection.execute("DELETE FROM requests WHERE key <= ?", (last,))


def _forget_words(connection: sqlite3.Connection) -> bool:
    """Rewrite a part of the index of words; return whether more is left.

    A deleted word stays beside the note that it is deleted until both are in the same piece of the index.
    """
    before = connection.total_changes
    connection.execute("INSERT INTO search (search, rank) VALUES ('merge', ?)", (-_MERGED,))
    return connection.total_changes - before > 1  # as FTS5 says that it had something to do


def _delete_rollups(connection: sqlite3.Connection, now: float, limit: int) -> None:
    for period, kept in ((MINUTE, MINUTES_KEPT), (HOUR, HOURS_KEPT)):
        connection.execute(
            "DELETE FROM rollups WHERE period = ? AND start < ? AND (start, series) IN"
            " (SELECT start, series FROM rollups WHERE period = ? AND start < ? ORDER BY start LIMIT ?)",
            (period, now - kept, period, now - kept, limit),
        )
    # A series that nothing is counted in any more: callers can make up models, and so series.
    connection.execute(
        "DELETE FROM series WHERE seen < ? AND NOT EXISTS (SELECT 1 FROM requests WHERE requests.series = series.id)",
        (now - HOURS_KEPT - HOUR,),
    )


def _insert(
    connection: sqlite3.Connection, head: str, rows: Sequence[Sequence[object]], tail: str = ""
) -> list[tuple[Any, ...]]:
    """Insert ``rows``, as many at once as may be; return what they give back."""
    given: list[tuple[Any, ...]] = []
    begin = 0
    while begin < len(rows):
        count = next(size for size in _AT_ONCE if size <= len(rows) - begin)
        values = [value for row in rows[begin : begin + count] for value in row]
        given += connection.execute(_statement(head, len(rows[0]), count, tail), values).fetchall()
        begin += count
    return given


@cache  # of a dozen heads and three sizes
def _statement(head: str, width: int, count: int, tail: str) -> str:
    one = f"({', '.join('?' * width)})"
    return f"{head} VALUES {', '.join([one] * count)} {tail}"


def _list(values: Iterable[object]) -> str:
    return json.dumps(list(values))
