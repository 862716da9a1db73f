"""The asking side of a store in PostgreSQL: a few connections that can change nothing, each question with its limit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from uuid import UUID

import asyncpg

from proxy.store.postgres_connection import CONNECTING, LOST, failures, place_of
from proxy.store.postgres_forms import cursor_of, latencies_of, place_at, plain, query_of
from proxy.store.postgres_schema import MIGRATIONS, form_of
from proxy.store.rollup import Measures, Stats
from proxy.store.row import document_of, first_key
from proxy.store.store import Arrivals, Page, StoreError, exported
from proxy.store.words import phrases

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from proxy.store.postgres_schema import Connected
    from proxy.store.questions import Filters, Group, StatsQuestion
    from proxy.store.store import Document

_PATIENCE: Final = 10.0  # seconds that an answer may take: somebody is looking at an empty page
_CONNECTIONS: Final = 3  # a page, a chart and the live tail do not wait for each other
_MERGED: Final = 400  # series whose records are looked up one by one: a hundredth of a second at most
_SESSION: Final = {
    "application_name": "audiogate",
    "default_transaction_read_only": "on",
    "jit": "off",  # takes longer than most answers
    "plan_cache_mode": "force_custom_plan",  # which days and words are meant decides how they are best found
}

_NEWEST: Final = "ORDER BY key DESC, id DESC"
_GROUPED: Final[dict[Group | None, str]] = {
    None: "''",
    "provider": "series.provider",
    "model": "series.model",
    "key": "series.key",
    "status": "CASE series.status WHEN 0 THEN '' ELSE series.status::text END",
    "route": "series.route",
}


class PostgresReader:
    """Asks the database at ``url``; see :class:`proxy.store.store.StoreReader`."""

    def __init__(self, url: str, *, patience: float = _PATIENCE) -> None:
        self._url = url
        self._place = place_of(url)
        self._patience = patience
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def open(self) -> None:
        """Connect. Raises StoreError when nobody answers, or no store is there; a later question may find one."""
        await self._fetch("SELECT 1")

    async def page(self, filters: Filters, *, limit: int, before: str | None) -> Page:
        """Return up to ``limit`` records that ``filters`` pass, newest first, from the cursor ``before`` on."""
        found = await self._records(filters, limit + 1, None if before is None else place_at(before))
        items = [document_of(document) for _, _, document in found[:limit]]
        return Page(items, cursor_of(*found[limit - 1][:2]) if len(found) > limit else None)

    async def get(self, record_id: str) -> Document | None:
        """Return one record, or None when there is none."""
        try:
            wanted = UUID(record_id)
        except ValueError:
            return None
        found = await self._fetch("SELECT document FROM audiogate.requests WHERE id = $1", wanted)
        return document_of(found[0][0]) if found else None

    def export(self, filters: Filters) -> AsyncIterator[Sequence[Document]]:
        """Yield all records that ``filters`` pass, newest first, in batches, without holding them all."""
        return exported(self, filters)

    async def stats(self, question: StatsQuestion) -> Stats:
        """Return what happened in a span, from the roll-ups alone."""
        given = _Values(question.bucket, question.period, question.since, question.until)
        found = await self._fetch(
            f"""SELECT start - start % $1, {_GROUPED[question.group_by]}, sum(requests)::bigint, sum(errors)::bigint,
                sum(unpriced)::bigint, sum(cost_nano)::bigint, sum(audio_ms)::bigint, sum(bytes_in)::bigint,
                sum(bytes_out)::bigint, sum(latency)::text
            FROM audiogate.rollups JOIN audiogate.series ON series.id = rollups.series
            WHERE period = $2 AND start >= $3 AND start < $4 {given.series_condition(question.filters)}
            GROUP BY 1, 2 ORDER BY 1, 2""",
            *given.values,
        )
        return await asyncio.to_thread(_stats, question, found)  # thousands of numbers: not for the loop

    async def arrivals(self, after: int | None, *, limit: int) -> Arrivals:
        """Return up to ``limit`` records that came in after ``after``, oldest first; None: only where "now" is."""
        # First where now is: what comes between the two questions is not to be passed over.
        ((now,),) = await self._fetch("SELECT coalesce(max(seq), 0) FROM audiogate.arrivals")
        if after is None or now <= after:
            return Arrivals([], now)
        found = await self._fetch(
            "SELECT seq, document FROM audiogate.arrivals JOIN audiogate.requests USING (key, id)"
            " WHERE seq > $1 ORDER BY seq LIMIT $2",
            after,
            limit,
        )
        return Arrivals([document_of(document) for _, document in found], found[-1][0] if found else now)

    async def close(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                async with asyncio.timeout(1):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    async def _records(self, filters: Filters, limit: int, before: tuple[int, UUID] | None) -> Sequence[asyncpg.Record]:
        """Return key, id and document of the newest ``limit`` records behind ``before`` that ``filters`` pass."""
        given = _Values(limit)
        conditions = given.span(filters, before)
        if filters.trace is not None:
            conditions.append(f"trace_id = {given.add(filters.trace)}")
        if filters.text is not None:
            if not (wanted := phrases(plain(filters.text))):
                return []
            query, patterns = query_of(wanted)
            conditions.append(f"words @@ {given.add(query)}::tsquery")
            conditions += [f"searched LIKE {given.add(pattern)}" for pattern in patterns]
        series = await self._series(filters)
        found = f"SELECT key, id, document FROM audiogate.requests WHERE {{}} {_NEWEST} LIMIT $1"
        if series is None:
            return await self._fetch(found.format(" AND ".join(conditions)), *given.values)
        wanted_series = given.add(series)
        if filters.trace is not None or filters.text is not None or len(series) > _MERGED:
            conditions.append(f"series = ANY ({wanted_series}::bigint[])")
            return await self._fetch(found.format(" AND ".join(conditions)), *given.values)
        # Each series has its own in order: few are read of any.
        conditions.append("requests.series = one.series")
        newest = f"SELECT key, id FROM audiogate.requests WHERE {' AND '.join(conditions)} {_NEWEST} LIMIT $1"
        return await self._fetch(
            f"SELECT key, id, document FROM (SELECT newest.* FROM unnest({wanted_series}::bigint[]) AS one (series),"
            f" LATERAL ({newest}) AS newest {_NEWEST} LIMIT $1) AS wanted"
            f" JOIN audiogate.requests USING (key, id) {_NEWEST}",
            *given.values,
        )

    async def _series(self, filters: Filters) -> list[int] | None:
        """Return the series whose records ``filters`` pass; None: those of all."""
        given = _Values()
        condition = given.series_condition(filters)
        if not condition:
            return None
        found = await self._fetch(f"SELECT id FROM audiogate.series WHERE true {condition}", *given.values)
        return [number for (number,) in found]

    async def _fetch(self, question: str, *values: object) -> Sequence[asyncpg.Record]:
        with failures(self._place):
            try:
                return await self._ask(question, values)
            except LOST:
                return await self._ask(question, values)  # the server was started anew: once more, on a new connection

    async def _ask(self, question: str, values: Sequence[object]) -> Sequence[asyncpg.Record]:
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=_CONNECTIONS,
                timeout=min(CONNECTING, self._patience),
                command_timeout=self._patience,
                init=self._check,
                server_settings={**_SESSION, "statement_timeout": str(int(self._patience * 1000))},
            )
        pool = await self._pool
        async with pool.acquire(timeout=self._patience) as connection:
            return await connection.fetch(question, *values)

    async def _check(self, connection: Connected) -> None:
        """Refuse tables of another form than ours, and what has none."""
        form = await form_of(connection, self._place)
        if form < len(MIGRATIONS):
            what = "no Audiogate has written there yet" if not form else "an older Audiogate has written it last"
            raise StoreError(f"store {self._place}: {what}")


class _Values:
    """The values of a statement, in the order of their places."""

    def __init__(self, *values: object) -> None:
        self.values = list(values)

    def add(self, value: object) -> str:
        """Add a value; return its place."""
        self.values.append(plain(value) if isinstance(value, str) else value)
        return f"${len(self.values)}"

    def span(self, filters: Filters, before: tuple[int, UUID] | None) -> list[str]:
        """Return the conditions that keep to a span of time and stay behind a cursor."""
        conditions = []
        if filters.since is not None:
            conditions.append(f"key >= {self.add(first_key(filters.since))}")
        if filters.until is not None:
            conditions.append(f"key < {self.add(first_key(filters.until))}")
        if before is not None:
            key, record_id = map(self.add, before)
            conditions += [f"key <= {key}", f"(key, id) < ({key}, {record_id})"]
        return conditions or ["true"]

    def series_condition(self, filters: Filters) -> str:
        """Return what ``filters`` ask of a series, each condition after an AND."""
        conditions = []
        if filters.statuses:
            spans = [f"series.status BETWEEN {self.add(low)} AND {self.add(high)}" for low, high in filters.statuses]
            conditions.append(f"({' OR '.join(spans)})")
        for column in ("outcome", "provider", "model", "key", "route"):
            allowed: tuple[str, ...] = getattr(filters, f"{column}s")
            if allowed:
                conditions.append(f"series.{column} = ANY ({self.add([plain(word) for word in allowed])}::text[])")
        return "".join(f" AND {condition}" for condition in conditions)


def _stats(question: StatsQuestion, found: Sequence[asyncpg.Record]) -> Stats:
    total, groups, series = Measures(), dict[str, Measures](), []
    for start, group, *sums, latency in found:
        measures = Measures(*sums)
        measures.latency = latencies_of(latency)
        total.add(measures)
        if question.group_by is not None:
            groups.setdefault(group, Measures()).add(measures)
        series.append((start, group if question.group_by is not None else None, measures))
    largest = sorted(groups.items(), key=lambda item: (-item[1].requests, item[0]))
    return Stats(question, total, largest, series)
