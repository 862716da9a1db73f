"""The records of a store as text, for ``audiogate logs``: a table, one in full, a file, and what became of the old.

Names, transcripts and headers are other people's words: no control character of theirs reaches a terminal.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from proxy.server.keeping import kept_for
from proxy.store.export import CSV_HEADER, csv_row, json_line
from proxy.store.open import reader_at, writer_at
from proxy.store.questions import BadQuestionError, filters_from
from proxy.store.store import StoreError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO

    from proxy.settings import Records
    from proxy.store.questions import Filters
    from proxy.store.store import Document, StoreReader

_LARGEST_PAGE: Final = 500  # records asked for at once
_MOST: Final = 100_000  # records of one list: whoever wants more wants an export
_PRUNED: Final = 1000  # records deleted at a time: a gateway may be writing
_HEADER: Final = ("TIME", "STATUS", "ROUTE", "PROVIDER", "MODEL", "AUDIO", "LATENCY", "COST", "ID", "TEXT")
_RIGHT: Final = frozenset({"AUDIO", "LATENCY", "COST"})
_LEAST_TEXT: Final = 24  # columns of a transcript's beginning, however narrow the terminal
_NOTHING: Final = "-"


class WrongQuestionError(Exception):
    """An option cannot be read; the message names it."""


class NoRecordsError(Exception):
    """There is nothing to look at, or not what was asked for."""


class NoStoreError(Exception):
    """The store is not there, or does not answer."""


def run_history(given: Namespace, filters: Mapping[str, str], records: Records, out: BinaryIO) -> None:
    """Do what ``given.what`` says with the store of ``records``, and write what comes of it to ``out``.

    Raises WrongQuestionError, NoRecordsError and NoStoreError.
    """
    store, now = records.store, time.time()
    if store.kind == "none":
        raise NoRecordsError("records.store is none: there are no records")
    if store.path is not None and not store.path.exists():
        raise NoStoreError(f"there is no store at {store.path}; -c names the settings, --store the store")
    try:
        asked = filters_from(filters, now)
        if given.what == "prune":
            _prune(store.url, _oldest(given.older_than, records, now), out)
        else:
            asyncio.run(_look(reader_at(store.url), given, asked, out))
    except BadQuestionError as problem:
        raise WrongQuestionError(f"--{problem.param}: {problem}") from None
    except StoreError as error:
        raise NoStoreError(str(error)) from None


async def _look(reader: StoreReader, given: Namespace, filters: Filters, out: BinaryIO) -> None:
    try:
        await reader.open()
        if given.what == "show":
            record = await reader.get(given.id)
            if record is None:
                raise NoRecordsError(f"there is no record {_clean(given.id)!r}")
            out.write((json.dumps(record, indent=2, ensure_ascii=False) if given.json else shown(record)).encode())
            out.write(b"\n")
        elif given.what == "export":
            await _export(reader, filters, given.format, out)
        else:
            await _list(reader, filters, given.limit, out, as_json=given.json)
    finally:
        await reader.close()


async def _list(reader: StoreReader, filters: Filters, limit: int, out: BinaryIO, *, as_json: bool) -> None:
    if not 0 < limit <= _MOST:
        raise WrongQuestionError(f"--limit: must be a number from 1 to {_MOST}")
    found: list[Document] = []
    cursor = None
    while len(found) < limit:
        page = await reader.page(filters, limit=min(limit - len(found), _LARGEST_PAGE), before=cursor)
        found += page.items
        cursor = page.next
        if cursor is None:
            break
    if as_json:
        out.writelines(json_line(record) for record in found)
    else:
        out.write(table(found, shutil.get_terminal_size((160, 24)).columns).encode() + b"\n")


async def _export(reader: StoreReader, filters: Filters, form: str, out: BinaryIO) -> None:
    write = json_line if form == "jsonl" else csv_row
    if form == "csv":
        out.write(CSV_HEADER)
    async with aclosing(reader.export(filters)) as batches:  # type: ignore[type-var]
        async for batch in batches:
            out.writelines(write(record) for record in batch)
    out.flush()


def _oldest(older_than: str | None, records: Records, now: float) -> float:
    """Return the time before which records go."""
    if older_than is not None:
        try:
            before = filters_from({"until": older_than}, now).until
        except BadQuestionError:
            before = None
        if before is None:
            raise WrongQuestionError(
                "--older-than: must be a span like 30d or 12h, or a time like 2026-11-21T08:00:00Z"
            )
        return before
    kept = kept_for(records)
    if kept is None:
        raise WrongQuestionError("--older-than: is needed, since records.retention_days keeps all")
    return now - kept


def _prune(url: str, before: float, out: BinaryIO) -> None:
    writer = writer_at(url)
    writer.open()
    try:
        deleted = 0
        while True:
            gone = writer.prune(before, _PRUNED)
            deleted += gone
            if gone < _PRUNED:
                break
    finally:
        writer.close()
    out.write(f"{deleted} record{'s' if deleted != 1 else ''} deleted\n".encode())


# A table of many


def table(records: Sequence[Document], width: int) -> str:
    """Return records as aligned lines of ``width`` columns, a header first; text is cut, facts never are."""
    rows = [_HEADER, *(_row(record) for record in records)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEADER) - 1)]
    left = max(width - sum(widths) - 2 * len(widths), _LEAST_TEXT)
    return "\n".join(
        "  ".join(
            [*(_aligned(*cell) for cell in zip(_HEADER, row[:-1], widths, strict=False)), _cut(row[-1], left)]
        ).rstrip()
        for row in rows
    )


def _aligned(name: str, cell: str, width: int) -> str:
    return cell.rjust(width) if name in _RIGHT else cell.ljust(width)


def _row(record: Document) -> tuple[str, ...]:
    status = _word(record["status"])
    failed = "" if record["outcome"] == "ok" else f" {_word(record['error_code'] or record['outcome'])}"
    return (
        _word(record["time"]),
        status + failed,
        _word(record["route"]),
        _word(record["provider"]),
        _word(record["model_used"] or record["model_requested"]),
        _seconds(record["audio"]["seconds"]),
        _milliseconds(record["timing_ms"]["total"]),
        _dollars(record["cost_usd"]),
        _word(record["id"]),
        _clean(record["transcript"] or ""),
    )


# One in full


def shown(record: Document) -> str:
    """Return everything about a record, for people."""
    audio, timing, usage = record["audio"], record["timing_ms"], record["usage"] or {}
    facts = {
        "id": _word(record["id"]),
        "trace": _word(record["trace_id"]),
        "time": _word(record["time"]),
        "request": f"{_word(record['method'])} {_word(record['route'])}"
        + (", streamed" if record["stream"] else "")
        + (f", {_word(record['response_format'])}" if record["response_format"] else ""),
        "answer": f"{_word(record['status'])} {_word(record['outcome'])}"
        + (f" ({_word(record['error_code'])})" if record["error_code"] else ""),
        "upstream": f"{_word(record['provider'])}, model {_word(record['model_used'])}"
        + (f" (asked for {_word(record['model_requested'])})" if record["model_requested"] else ""),
        "config": _word(record["config"]),
        "key": _word(record["key_name"]),
        "client": f"{_word(record['client'])}, {_word(record['user_agent'])}",
        "audio": f"{_seconds(audio['seconds'])} ({_word(audio['seconds_source'])}), {_word(audio['container'])}, "
        f"{_word(audio['filename'])}, {_bytes(audio['bytes'])}",
        "cost": f"{_dollars(record['cost_usd'])} ({_word(record['cost_basis'])})",
        "usage": ", ".join(f"{_word(name)} {_word(value)}" for name, value in usage.items() if value is not None),
        "bytes": f"{_bytes(record['bytes_in'])} in, {_bytes(record['bytes_out'])} out",
        "timing": ", ".join(
            f"{name} {_milliseconds(timing[key])}" for name, key in _TIMINGS if timing[key] is not None
        ),
        "metadata": _clean(json.dumps(record["metadata"], ensure_ascii=False)) if record["metadata"] else "",
    }
    lines = [f"{name:<12}{fact}" for name, fact in facts.items() if fact and fact != _NOTHING]
    lines += [f"attempt {number:<4}{_attempt(attempt)}" for number, attempt in enumerate(record["attempts"], 1)]
    return "\n".join([*lines, *_said(record)])


_TIMINGS: Final = (
    ("total", "total"),
    ("upload", "upload"),
    ("gateway", "overhead"),
    ("first byte", "ttfb_upstream"),
    ("overlap saved", "overlap_saved"),
)


def _attempt(attempt: Mapping[str, Any]) -> str:
    ended = attempt["status"] if attempt["failure"] in {None, "refused"} else attempt["failure"]
    words = [f"{_word(attempt['target'])}: {_word(attempt['provider'])}, {_word(ended)}"]
    words += [f"at {_milliseconds(attempt['started_ms'])}", f"took {_milliseconds(attempt['total_ms'])}"]
    words += [name.replace("_", " ") for name in ("replayed", "possibly_billed", "hedged") if attempt.get(name)]
    return ", ".join(words)


def _said(record: Document) -> list[str]:
    if record["transcript"] is None:
        return ["transcript  none is kept"]
    segments = record.get("segments") or ()
    cut = ["", "(more was said than is kept)"] if record.get("transcript_cut") else []
    if not segments:
        return ["transcript", "", _clean(record["transcript"], lines=True), *cut]
    return ["transcript", "", *map(_segment, segments), *cut]


def _segment(segment: Mapping[str, Any]) -> str:
    speaker = f"{_clean(segment['speaker'])}: " if segment.get("speaker") else ""
    times = " - ".join(_NOTHING if segment.get(at) is None else f"{segment[at]:.2f}" for at in ("start", "end"))
    return f"[{times}] {speaker}{_clean(segment['text'])}"


# Words and numbers


def _word(value: Any) -> str:
    return _NOTHING if value is None or value == "" else _clean(str(value))


def _clean(text: str, *, lines: bool = False) -> str:
    """Return text without what a terminal would obey; ``lines`` may stay."""
    if text.isprintable():
        return text.strip()
    kept = "".join(sign if sign.isprintable() or (lines and sign == "\n") else " " for sign in text)
    return kept.strip() if lines else " ".join(kept.split())


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _seconds(seconds: float | None) -> str:
    return _NOTHING if seconds is None else f"{seconds:.1f} s"


def _milliseconds(milliseconds: float | None) -> str:
    return _NOTHING if milliseconds is None else f"{milliseconds:.0f} ms"


def _dollars(text: str | None) -> str:
    return _NOTHING if text is None else f"${text}"


def _bytes(number: int | None) -> str:
    return _NOTHING if number is None else f"{number:,} bytes"
