"""What one may ask of a store, and how a question is written: in a URL's query, or in a command's options.

Every value is a word or a list with commas. A time is RFC 3339 (``2026-11-21T08:00:00Z``), seconds since the epoch, or
a span that ends now (``15m``, ``24h``, ``30d``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Group = Literal["provider", "model", "key", "status", "route"]
GROUPS: Final[tuple[Group, ...]] = get_args(Group)
OUTCOMES: Final = ("ok", "client_error", "upstream_error", "gateway_error", "client_left")
NAMES: Final = ("since", "until", "status", "outcome", "provider", "model", "key", "route", "trace", "q")

MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds
MINUTES_KEPT: Final = 3 * DAY  # seconds: for what is older, there are hours
HOURS_KEPT: Final = 400 * DAY  # seconds: a year can be compared with the one before
_BUCKETS: Final = (MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, DAY)
_POINTS: Final = 120  # in a series when nobody says how many: what a chart can show
_MOST_POINTS: Final = 2000  # that one answer holds of each group
_SPAN: Final = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS: Final = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY}
_LONGEST: Final = 1000  # characters of a value: a search is a few words
_MOST: Final = 50  # words in a list
_LAST: Final = 250_000_000_000.0  # seconds since the epoch: a calendar ends with the year 9999


class BadQuestionError(ValueError):
    """A question cannot be read: ``param`` says which part, the message what to write instead."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which records are meant: those that pass all that is given, by one of its values.

    ``since`` (inclusive) and ``until`` (exclusive) bound when a request began, in seconds since the epoch; ``statuses``
    are inclusive ranges; a model is the one used, else the one requested; ``trace`` is a whole trace id; ``text`` is
    words that a transcript or file name has, all of them (:func:`proxy.store.words.phrases`).
    """

    since: float | None = None
    until: float | None = None
    statuses: tuple[tuple[int, int], ...] = ()
    outcomes: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    trace: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsQuestion:
    """What happened between ``since`` and ``until`` (whole buckets), in buckets of ``bucket`` seconds, by ``group_by``.

    ``filters`` has neither times nor text. ``period`` is the roll-up that answers: of a minute or an hour.
    """

    since: int
    until: int
    bucket: int
    group_by: Group | None = None
    filters: Filters = Filters()

    @property
    def period(self) -> int:
        """Return the seconds of the roll-ups to read."""
        return HOUR if self.bucket % HOUR == 0 else MINUTE


def filters_from(given: Mapping[str, str], now: float) -> Filters:
    """Return the filters that a query's parameters mean; an empty one counts as absent. Raises BadQuestionError."""
    for name, value in given.items():
        if len(value) > _LONGEST:
            raise BadQuestionError(name, f"{name} is too long: at most {_LONGEST} characters")
    words = {
        name: _words(name, given.get(name, "")) for name in ("status", "outcome", "provider", "model", "key", "route")
    }
    unknown = next((word for word in words["outcome"] if word not in OUTCOMES), None)
    if unknown is not None:
        raise BadQuestionError("outcome", f"there is no outcome {unknown!r}: it is one of {', '.join(OUTCOMES)}")
    return Filters(
        since=_time("since", given.get("since"), now),
        until=_time("until", given.get("until"), now),
        statuses=tuple(_status(word) for word in words["status"]),
        outcomes=words["outcome"],
        providers=words["provider"],
        models=words["model"],
        keys=words["key"],
        routes=words["route"],
        trace=given.get("trace", "").strip() or None,
        text=given.get("q", "").strip() or None,
    )


def stats_from(given: Mapping[str, str], now: float) -> StatsQuestion:
    """Return the question that a query's parameters mean: of the last day, by default. Raises BadQuestionError."""
    filters = filters_from(given, now)
    if filters.text is not None:
        raise BadQuestionError("q", "stats cannot be searched by text: leave q out, or ask for the requests")
    if filters.trace is not None:
        raise BadQuestionError("trace", "stats know of no trace: leave trace out, or ask for the requests")
    since = now - DAY if filters.since is None else filters.since
    until = now if filters.until is None else filters.until
    if since >= until:
        raise BadQuestionError("since", "since must be earlier than until")
    bucket = _bucket(given.get("bucket"), since, until, now)
    group = given.get("group_by") or None
    if group is not None and group not in GROUPS:
        raise BadQuestionError("group_by", f"there is no group {group!r}: it is one of {', '.join(GROUPS)}")
    first, last = int(since // bucket) * bucket, -int(-until // bucket) * bucket
    if (last - first) // bucket > _MOST_POINTS:
        raise BadQuestionError("bucket", f"bucket is too short for that span: at most {_MOST_POINTS} fit in an answer")
    return StatsQuestion(
        since=first,
        until=last,
        bucket=bucket,
        group_by=group,
        filters=replace(filters, since=None, until=None),
    )


def _words(name: str, value: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in value.split(",") if word.strip())
    if len(words) > _MOST:
        raise BadQuestionError(name, f"{name} has too many values: at most {_MOST}")
    return words


def _status(word: str) -> tuple[int, int]:
    """Return the range that ``429`` or ``5xx`` means."""
    if re.fullmatch(r"[1-5]xx", word, re.IGNORECASE):
        first = int(word[0]) * 100
        return first, first + 99
    if re.fullmatch(r"\d{3}", word, re.ASCII):
        return int(word), int(word)
    raise BadQuestionError("status", f"{word!r} is no status: write one like 429, or a class like 5xx")


def _time(name: str, value: str | None, now: float) -> float | None:
    if not value:
        return None
    if (span := _SPAN.fullmatch(value)) is not None:
        seconds = now - int(span[1]) * _UNITS[span[2]]
    elif re.fullmatch(r"\d{1,12}(\.\d{1,6})?", value, re.ASCII):
        seconds = float(value)
    else:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise BadQuestionError(
                name,
                f"{name} is no time: write one like 2026-11-21T08:00:00Z, seconds since the epoch, or a span like 24h",
            ) from None
        seconds = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    return min(max(seconds, 0.0), _LAST)  # nothing is older, nor will be younger


def _bucket(value: str | None, since: float, until: float, now: float) -> int:
    """Return a bucket's seconds: as given, else the shortest that makes a chart; of hours, where minutes are gone."""
    shortest = MINUTE if since >= now - MINUTES_KEPT else HOUR
    if not value:
        return next((b for b in _BUCKETS if b >= shortest and (until - since) / b <= _POINTS), DAY)
    span = _SPAN.fullmatch(value)
    seconds = int(span[1]) * _UNITS[span[2]] if span is not None else int(value) if value.isdecimal() else 0
    if seconds < MINUTE or seconds % MINUTE or (seconds > HOUR and seconds % HOUR) or seconds > 31 * DAY:
        raise BadQuestionError("bucket", "bucket must be minutes or hours, like 5m, 1h or 1d, or their seconds")
    return max(seconds, shortest)
