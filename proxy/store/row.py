"""From a record to what a store keeps of it beside its text: what it is found by."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from proxy.store.questions import BadQuestionError
from proxy.store.rollup import Series, second_of, series_of
from proxy.store.words import spread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.store.store import Document

_BITS: Final = 15  # of a key that tell the records of a millisecond apart
_CURSOR: Final = re.compile(r"[0-9a-f]{1,15}", re.ASCII)  # less than 2**63


class Row(NamedTuple):
    """A record in a store: ``key`` orders and names it, ``searched`` is the text it is found by."""

    key: int
    id: str
    trace_id: str
    series: Series
    searched: str
    document: str


def row_of(record: Mapping[str, Any]) -> Row:
    """Return what is kept of a record whose transcript has been told. Raises when it is no record."""
    route, provider, model, key, status, outcome = series_of(record)
    return Row(
        key_of(record["time"], record["id"]),
        record["id"],
        clean(record["trace_id"]),
        Series(route, clean(provider), clean(model), clean(key), status, outcome),
        searched_of(record),
        text_of(record),
    )


def key_of(time: str, record_id: str) -> int:
    """Return the key of a record: the millisecond in which it began, then 15 bits of its id.

    Two records may have the same; the later to be written takes the next that is free.
    """
    milliseconds = second_of(time) * 1000 + int(time[20:23])
    return milliseconds << _BITS | int(record_id[-4:], 16) & (1 << _BITS) - 1


def first_key(seconds: float) -> int:
    """Return the lowest key that a record of this time, in seconds since the epoch, or of a later one can have."""
    return math.ceil(seconds * 1000) << _BITS


def cursor_of(key: int) -> str:
    """Return a key as a cursor: a word that means something to the store only."""
    return f"{key:x}"


def key_at(cursor: str) -> int:
    """Return the key that a cursor stands for. Raises BadQuestionError for what no page gave."""
    if _CURSOR.fullmatch(cursor) is None:
        raise BadQuestionError("before", "before is no cursor: take it from the page before, or leave it out")
    return int(cursor, 16)


def searched_of(record: Mapping[str, Any]) -> str:
    """Return the text that a record is found by: its file's name and what was said."""
    parts = (record["audio"]["filename"], record["transcript"])
    return clean("\n".join(spread(part) for part in parts if part))


def text_of(record: Mapping[str, Any]) -> str:
    """Return a record as JSON, whatever a client managed to put into it."""
    try:
        return orjson.dumps(record, default=str).decode()
    except orjson.JSONEncodeError:  # bytes of a header that are no UTF-8, a number beyond 64 bits, deep metadata
        return clean(json.dumps(record, default=str, ensure_ascii=False))


def document_of(text: str) -> Document:
    """Return the record that :func:`text_of` wrote."""
    try:
        found: Document = orjson.loads(text)
    except orjson.JSONDecodeError:  # not a number to orjson: NaN; or deeper than it goes
        found = json.loads(text)
    return found


def clean(text: str) -> str:
    """Return ``text`` with a question mark for every half of a character: no database takes those."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
