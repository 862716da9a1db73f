"""The asking side of a store in a file of SQLite's: a few threads find the answers, never the event loop."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from proxy.store.latencies import unpacked
from proxy.store.rollup import Measures, Stats
from proxy.store.row import cursor_of, document_of, first_key, key_at
from proxy.store.sqlite_file import failures, identity, open_to_read
from proxy.store.store import Arrivals, Page, StoreError, exported
from proxy.store.words import phrases

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from proxy.store.questions import Filters, Group, StatsQuestion
    from proxy.store.store import Document

_T = TypeVar("_T")

_PATIENCE: Final = 10.0  # seconds that an answer may take: somebody is looking at an empty page
_THREADS: Final = 3  # a page, a chart and the live tail do not wait for each other
_STEPS: Final = 50_000  # of SQLite's machine between two looks at the clock: about a millisecond
_MERGED: Final = 400  # series whose records are looked up one by one: a hundredth of a second at most
_TOP: Final = 1 << 62  # above every key

_GROUPED: Final[dict[Group | None, str]] = {
    None: "''",
    "provider": "series.provider",
    "model": "series.model",
    "key": "series.key",
    "status": "CASE series.status WHEN 0 THEN '' ELSE CAST(series.status AS TEXT) END",
    "route": "series.route",
}

_STATS: Final = """SELECT start - start % ?, {group}, sum(requests), sum(errors), sum(unpriced), sum(cost_nano),
        sum(audio_ms), sum(bytes_in), sum(bytes_out), latencies(latency)
    FROM rollups JOIN series ON series.id = rollups.series
    WHERE period = ? AND start >= ? AND start < ? AND {condition}
    GROUP BY 1, 2 ORDER BY 1, 2"""


class SqliteReader:
    """Asks the file at ``path``; see :class:`proxy.store.store.StoreReader`.

    A file that is not there yet, or that another has replaced, is looked for again with every question.
    """

    def __init__(self, path: Path, *, patience: float = _PATIENCE) -> None:
        self._path = path
        self._patience = patience
        self._threads = ThreadPoolExecutor(_THREADS, "audiogate-store")
        self._idle: list[tuple[tuple[int, int], sqlite3.Connection]] = []

    async def open(self) -> None:
        """Open the file once. Raises StoreError when there is none; a later question may find one."""
        await self._ask(lambda _: None)

    async def page(self, filters: Filters, *, limit: int, before: str | None) -> Page:
        """Return up to ``limit`` records that ``filters`` pass, newest first, from the cursor ``before`` on."""
        top = _TOP if before is None else key_at(before)
        found = await self._ask(lambda connection: _page(connection, filters, limit + 1, top))
        items = [document for _, document in found[:limit]]
        return Page(items, cursor_of(found[limit - 1][0]) if len(found) > limit else None)

    async def get(self, record_id: str) -> Document | None:
        """Return one record, or None when there is none."""
        return await self._ask(lambda connection: _get(connection, record_id))

    def export(self, filters: Filters) -> AsyncIterator[Sequence[Document]]:
        """Yield all records that ``filters`` pass, newest first, in batches, without holding them all."""
        return exported(self, filters)

    async def stats(self, question: StatsQuestion) -> Stats:
        """Return what happened in a span, from the roll-ups alone."""
        return await self._ask(lambda connection: _stats(connection, question))

    async def arrivals(self, after: int | None, *, limit: int) -> Arrivals:
        """Return up to ``limit`` records that came in after ``after``, oldest first; None: only where "now" is."""
        return await self._ask(lambda connection: _arrivals(connection, after, limit))

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        while self._idle:
            self._idle.pop()[1].close()

    async def _ask(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, question)

    def _answer(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        with failures(self._path):
            there, connection = self._connection()
            end = time.monotonic() + self._patience
            connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
            try:
                answer = question(connection)
            except BaseException as error:
                connection.close()
                if time.monotonic() > end:
                    raise StoreError(f"store {self._path}: no answer within {self._patience:g} s") from error
                raise
        self._idle.append((there, connection))
        return answer

    def _connection(self) -> tuple[tuple[int, int], sqlite3.Connection]:
        there = identity(self._path)
        while self._idle:
            opened, connection = self._idle.pop()
            if opened == there:
                return there, connection
            connection.close()
        return there, open_to_read(self._path)


def _page(connection: sqlite3.Connection, filters: Filters, limit: int, top: int) -> list[tuple[int, Document]]:
    keys = _keys(connection, filters, limit, top)
    found = connection.execute(
        "SELECT key, document FROM documents WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key DESC",
        (json.dumps(keys),),
    )
    return [(key, document_of(text)) for key, text in found]


def _keys(connection: sqlite3.Connection, filters: Filters, limit: int, top: int) -> list[int]:
    """Return the keys below ``top`` of the newest ``limit`` records that ``filters`` pass."""
    low = 0 if filters.since is None else first_key(filters.since)
    high = top if filters.until is None else min(top, first_key(filters.until))
    series = _series(connection, filters)
    plain = filters.trace is None and filters.text is None
    if plain and series is not None and len(series) <= _MERGED:
        return _newest_of(connection, series, low, high, limit)
    source, conditions, values = "requests", ["requests.key >= ?", "requests.key < ?"], [low, high]
    given: list[object] = [*values]
    if filters.text is not None:
        if not (wanted := phrases(filters.text)):
            return []
        # CROSS JOIN: the index of words leads, in the order of its rowids, and gives them newest first.
        source = "search CROSS JOIN requests ON requests.key = search.rowid"
        conditions = ["search MATCH ?", "search.rowid >= ?", "search.rowid < ?"]
        given = [_match(wanted), *values]
    if series is not None:
        conditions.append("requests.series IN (SELECT value FROM json_each(?))")
        given.append(json.dumps(series))
    if filters.trace is not None:
        conditions.append("requests.trace_id = ?")
        given.append(filters.trace)
    order = "requests.key" if filters.text is None else "search.rowid"
    asked = f"SELECT {order} FROM {source} WHERE {' AND '.join(conditions)} ORDER BY {order} DESC LIMIT ?"  # noqa: S608
    return [key for (key,) in connection.execute(asked, (*given, limit))]


def _newest_of(connection: sqlite3.Connection, series: Sequence[int], low: int, high: int, limit: int) -> list[int]:
    """Return the newest keys of these series: each has its own in order, and few of them are read."""
    keys = [
        key
        for number in series
        for (key,) in connection.execute(
            "SELECT key FROM requests WHERE series = ? AND key >= ? AND key < ? ORDER BY key DESC LIMIT ?",
            (number, low, high, limit),
        )
    ]
    return sorted(keys, reverse=True)[:limit]


def _match(wanted: Sequence[Sequence[str]]) -> str:
    """Return a query for FTS5: sequences of quoted words, so that no word can be an operator."""
    return " AND ".join(f'"{" ".join(phrase)}"' for phrase in wanted) + "*"


def _series(connection: sqlite3.Connection, filters: Filters) -> list[int] | None:
    """Return the series whose records ``filters`` pass; None: those of all."""
    condition, values = _series_condition(filters)
    if not condition:
        return None
    found = connection.execute(f"SELECT id FROM series WHERE {condition}", values)  # noqa: S608  (values are apart)
    return [number for (number,) in found]


def _series_condition(filters: Filters) -> tuple[str, list[object]]:
    conditions: list[str] = []
    values: list[object] = []
    if filters.statuses:
        conditions.append(f"({' OR '.join(['series.status BETWEEN ? AND ?'] * len(filters.statuses))})")
        values += [bound for span in filters.statuses for bound in span]
    for column in ("outcome", "provider", "model", "key", "route"):
        allowed: tuple[str, ...] = getattr(filters, f"{column}s")
        if allowed:
            conditions.append(f"series.{column} IN ({', '.join('?' * len(allowed))})")
            values += allowed
    return " AND ".join(conditions), values


def _get(connection: sqlite3.Connection, record_id: str) -> Document | None:
    found = connection.execute(
        "SELECT document FROM requests JOIN documents USING (key) WHERE id = ?", (record_id,)
    ).fetchone()
    return None if found is None else document_of(found[0])


def _arrivals(connection: sqlite3.Connection, after: int | None, limit: int) -> Arrivals:
    # First where now is: what comes between the two questions is not to be passed over.
    (now,) = connection.execute("SELECT coalesce(max(seq), 0) FROM arrivals").fetchone()
    if after is None or now <= after:
        return Arrivals([], now)
    found = connection.execute(
        "SELECT seq, document FROM arrivals JOIN documents USING (key) WHERE seq > ? ORDER BY seq LIMIT ?",
        (after, limit),
    ).fetchall()
    return Arrivals([document_of(text) for _, text in found], found[-1][0] if found else now)


def _stats(connection: sqlite3.Connection, question: StatsQuestion) -> Stats:
    condition, values = _series_condition(question.filters)
    asked = _STATS.format(group=_GROUPED[question.group_by], condition=condition or "TRUE")
    found = connection.execute(asked, (question.bucket, question.period, question.since, question.until, *values))
    total, groups, series = Measures(), dict[str, Measures](), []
    for start, group, *sums, latency in found:
        measures = Measures(*sums)
        measures.latency = unpacked(latency)
        total.add(measures)
        if question.group_by is not None:
            groups.setdefault(group, Measures()).add(measures)
        series.append((start, group if question.group_by is not None else None, measures))
    largest = sorted(groups.items(), key=lambda item: (-item[1].requests, item[0]))
    return Stats(question, total, largest, series)
