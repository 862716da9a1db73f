"""The records' API: a page of them, one, all that a filter passes as a file, and what they add up to."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from proxy.ops.answers import OpsError, answer_json
from proxy.settings.mistakes import did_you_mean
from proxy.store.export import CSV_HEADER, csv_row, json_line
from proxy.store.questions import NAMES, BadQuestionError, filters_from, stats_from
from proxy.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from proxy.ops.desk import Desk

_PAGE: Final = 50  # records of a page when nobody says how many
_LARGEST_PAGE: Final = 500  # each may hold a transcript: this many are a few megabytes
_FILTERS: Final = frozenset(NAMES)
_EXPORTS: Final = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}


class Api:
    """The handlers of ``/api/requests`` and ``/api/stats``."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Answer one page of records, the newest first: ``{"items": […], "next": cursor or null}``."""
        given = asked(request, _FILTERS | {"limit", "before"})
        filters = filters_from(given, self._desk.now())
        page = await self._desk.store.page(
            filters, limit=_limit(given.get("limit")), before=given.get("before") or None
        )
        return answer_json(request, {"items": list(page.items), "next": page.next})

    async def one(self, request: web.Request) -> web.StreamResponse:
        """Answer one record."""
        asked(request, ())
        record = await self._desk.store.get(request.match_info["id"])
        if record is None:
            raise OpsError(404, "unknown_record", "There is no record with this id. It may be older than what is kept.")
        return answer_json(request, record)

    async def stats(self, request: web.Request) -> web.StreamResponse:
        """Answer what happened in a span, in buckets and groups."""
        given = asked(request, _FILTERS | {"bucket", "group_by"})
        stats = await self._desk.store.stats(stats_from(given, self._desk.now()))
        return answer_json(request, stats.document())

    async def export(self, request: web.Request) -> web.StreamResponse:
        """Answer all records that the filters pass as a file, as fast as it is read and no faster."""
        given = asked(request, _FILTERS | {"format"})
        form = given.pop("format", "") or "jsonl"
        if form not in _EXPORTS:
            raise BadQuestionError("format", f"there is no format {form!r}: it is one of {', '.join(_EXPORTS)}")
        now = self._desk.now()
        batches = self._desk.store.export(filters_from(given, now))
        name = f"audiogate-requests-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}.{form}"
        answer = web.StreamResponse(
            headers={"Content-Type": _EXPORTS[form], "Content-Disposition": f'attachment; filename="{name}"'}
        )
        async with aclosing(batches) as records:  # type: ignore[type-var]
            first = None if request.method == "HEAD" else await anext(records, None)
            await answer.prepare(request)
            if request.method == "HEAD":
                return answer
            await answer.write(_text(first or (), form, header=True))
            try:
                async for batch in records:
                    await answer.write(_text(batch, form, header=False))
            except StoreError:
                if request.transport is not None:
                    request.transport.abort()  # a file that was cut must not look whole
                return answer
        await answer.write_eof()
        return answer


def asked(request: web.Request, known: Collection[str]) -> dict[str, str]:
    """Return the query's parameters; one that is given twice becomes a list with commas. Raises BadQuestionError."""
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            raise BadQuestionError(name[:100], f"there is no parameter {name[:100]!r}{did_you_mean(name, known)}")
        given[name] = f"{given[name]},{value}" if given.get(name) else value
    return given


def _limit(given: str | None) -> int:
    if not given:
        return _PAGE
    if not given.isascii() or not given.isdecimal() or not 0 < int(given[:9]) <= _LARGEST_PAGE:
        raise BadQuestionError("limit", f"limit must be a whole number from 1 to {_LARGEST_PAGE}")
    return int(given)


def _text(records: Sequence[dict[str, Any]], form: str, *, header: bool) -> bytes:
    if form == "jsonl":
        return b"".join(json_line(record) for record in records)
    return (CSV_HEADER if header else b"") + b"".join(csv_row(record) for record in records)
