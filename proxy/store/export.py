"""Records as files: a line of JSON each, or a row of CSV (RFC 4180) that a spreadsheet may open.

A spreadsheet takes a cell that begins with one of a few signs for a formula, and some formulas send what they see to
others. What a client wrote (a transcript, a file name, a header) gets an apostrophe before such a sign.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")

_PLAIN: Final = (
    "id",
    "trace_id",
    "time",
    "route",
    "method",
    "status",
    "outcome",
    "error_code",
    "key_name",
    "config",
    "provider",
    "model_requested",
    "model_used",
    "retry_count",
    "cache_status",
    "cost_usd",
    "cost_basis",
    "bytes_in",
    "bytes_out",
    "response_format",
    "language",
    "stream",
    "client",
    "user_agent",
    "replay",
)
_AUDIO: Final = ("container", "filename", "bytes", "seconds", "seconds_source")
_USAGE: Final = ("input_tokens", "output_tokens", "audio_tokens", "seconds", "characters")
_TIMINGS: Final = ("total", "upload", "overhead", "ttfb_upstream", "overlap_saved")


def json_line(record: Mapping[str, Any]) -> bytes:
    """Return a record as a line of JSON, its newline included."""
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # a number beyond 64 bits, deep metadata
        return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def csv_row(record: Mapping[str, Any]) -> bytes:
    """Return a record as a row of CSV: the columns of :data:`CSV_HEADER`, a missing fact as an empty cell."""
    return _row([_cell(read(record)) for read in _COLUMNS.values()])


def _fact(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda record: record.get(name)


def _part(whole: str, name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda record: (record.get(whole) or {}).get(name)


def _compact(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda record: json.dumps(record[name], ensure_ascii=False) if record.get(name) else None


_COLUMNS: Final[dict[str, Callable[[Mapping[str, Any]], Any]]] = {
    **{name: _fact(name) for name in _PLAIN},
    **{f"audio_{name}": _part("audio", name) for name in _AUDIO},
    **{f"usage_{name}": _part("usage", name) for name in _USAGE},
    **{f"timing_{name}_ms": _part("timing_ms", name) for name in _TIMINGS},
    "attempts": lambda record: len(record.get("attempts") or ()),
    "metadata": _compact("metadata"),
    "transcript": _fact("transcript"),
}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)  # a number is none of a client's words: -1 stays a number
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _row(cells: Sequence[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue().encode("utf-8", "replace")


CSV_HEADER: Final = _row(list(_COLUMNS))
"""The names of the columns, always the same ones in the same order; new ones come at the end."""
