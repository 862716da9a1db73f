"""Roll-ups: what the records of a minute or an hour add up to, so that a month is a few thousand rows and not millions.

All measures add: of two roll-ups the sum is the roll-up of both, also of two replicas. Percentiles come from counts per
slot of latency. Money is counted in whole nano-dollars.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from proxy.store.questions import HOUR, MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from proxy.store.questions import StatsQuestion

_NANO: Final = Decimal(10) ** 9
_PER_OCTAVE: Final = 6  # slots in which a latency doubles: each is 12 % wide, and a percentile half that off at worst
LAST_SLOT: Final = 1 + 23 * _PER_OCTAVE  # of all that takes longer than two hours
PERCENTILES: Final = (50, 95, 99)
_PRICED: Final = frozenset({"transcriptions", "translations", "speech"})  # routes
OTHER_MODEL: Final = "_other"
_MODELS: Final = 200  # that one writer tells apart by requests that failed: any caller can make up names
_ANSWERED_MODELS: Final = 1000  # that it tells apart at all: some upstreams take any name
_LONGEST_MODEL: Final = 200  # characters: the known names have a third of that


class Series(NamedTuple):
    """What roll-ups tell apart. Absent facts are empty words, since a database's NULLs are never equal."""

    route: str
    provider: str
    model: str
    key: str
    status: int
    outcome: str


@dataclass(slots=True)
class Measures:
    """Sums over records. ``unpriced`` counts those that did work whose price is unknown; ``latency`` is by slot."""

    requests: int = 0
    errors: int = 0
    unpriced: int = 0
    cost_nano: int = 0
    audio_ms: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    latency: Counter[int] = field(default_factory=Counter)

    def count(self, record: Mapping[str, Any]) -> None:
        """Add one record."""
        cost, seconds = record["cost_usd"], record["audio"]["seconds"]
        worked = record["outcome"] == "ok"
        self.requests += 1
        self.errors += not worked
        # Work is what an upstream answered with a 2xx on a route that has prices; all else costs nothing that is known.
        self.unpriced += worked and cost is None and record["route"] in _PRICED
        self.cost_nano += nano(cost) if cost is not None else 0
        self.audio_ms += round(seconds * 1000) if seconds is not None else 0
        self.bytes_in += record["bytes_in"]
        self.bytes_out += record["bytes_out"]
        self.latency[slot_of(record["timing_ms"]["total"])] += 1

    def add(self, other: Measures) -> None:
        """Add another roll-up to this one."""
        self.requests += other.requests
        self.errors += other.errors
        self.unpriced += other.unpriced
        self.cost_nano += other.cost_nano
        self.audio_ms += other.audio_ms
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        for slot, count in other.latency.items():  # half the time of Counter.update
            self.latency[slot] += count

    @property
    def sums(self) -> tuple[int, ...]:
        """Everything but the latencies, in the order of the stores' columns."""
        return (
            self.requests,
            self.errors,
            self.unpriced,
            self.cost_nano,
            self.audio_ms,
            self.bytes_in,
            self.bytes_out,
        )

    def document(self) -> dict[str, Any]:
        """Return the measures as the API shows them: dollars as a decimal string, times in their units."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "unpriced": self.unpriced,
            "cost_usd": dollars(self.cost_nano),
            "audio_seconds": self.audio_ms / 1000,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "latency_ms": {f"p{share}": percentile(self.latency, share / 100) for share in PERCENTILES},
        }


@dataclass(frozen=True, slots=True)
class Stats:
    """The answer to a question: sums of all, of each group (the largest first), and of each bucket that had requests.

    ``series`` is in the order of time; its group is None when the question has none. A group's word is empty where
    records lack the fact.
    """

    question: StatsQuestion
    total: Measures
    groups: Sequence[tuple[str, Measures]]
    series: Sequence[tuple[int, str | None, Measures]]

    def document(self) -> dict[str, Any]:
        """Return the answer as the API shows it."""
        question = self.question
        return {
            "since": _moment(question.since),
            "until": _moment(question.until),
            "bucket": question.bucket,
            "group_by": question.group_by,
            "total": self.total.document(),
            "groups": [{"group": group, **measures.document()} for group, measures in self.groups],
            "series": [
                {"time": _moment(start), "group": group, **measures.document()}
                for start, group, measures in self.series
            ],
        }


def series_of(record: Mapping[str, Any]) -> Series:
    """Return the series that a record counts in."""
    return Series(
        record["route"],
        record["provider"] or "",
        record["model_used"] or record["model_requested"] or "",
        record["key_name"] or "",
        record["status"] or 0,
        record["outcome"],
    )


def measures_of(record: Mapping[str, Any]) -> Measures:
    """Return what one record adds."""
    measures = Measures()
    measures.count(record)
    return measures


class Models:
    """The models that roll-ups tell apart; what comes when there are too many is counted as ``_other``."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def admit(self, series: Series) -> Series:
        """Return ``series`` as it is to be counted."""
        model = series.model
        if model not in self._seen:
            most = _ANSWERED_MODELS if series.outcome == "ok" else _MODELS
            if len(self._seen) >= most or len(model) > _LONGEST_MODEL:
                return series._replace(model=OTHER_MODEL)
            self._seen.add(model)
        return series


class Slice(NamedTuple):
    """A part of a roll-up: one series in the ``period`` seconds that began at ``start``, seconds since the epoch."""

    period: int
    start: int
    series: Series


def added_up(records: Iterable[tuple[Series, Mapping[str, Any]]], models: Models) -> dict[Slice, Measures]:
    """Return what these records add to the roll-ups."""
    sums: dict[Slice, Measures] = {}
    for series, record in records:
        began = second_of(record["time"])
        part = Slice(MINUTE, began - began % MINUTE, models.admit(series))
        measures = sums.get(part)
        if measures is None:
            measures = sums[part] = Measures()
        measures.count(record)
    for (_, start, series), measures in list(sums.items()):
        sums.setdefault(Slice(HOUR, start - start % HOUR, series), Measures()).add(measures)
    return sums


@lru_cache(maxsize=8)  # seconds: records come in their order
def _epoch(second: str) -> int:
    return int(datetime.fromisoformat(f"{second}Z").timestamp())


def second_of(time: str) -> int:
    """Return the whole seconds since the epoch of a record's time, ``2026-11-21T08:00:00.123Z``."""
    return _epoch(time[:19])


@lru_cache(maxsize=256)  # prices: many requests cost the same
def nano(dollars_text: str) -> int:
    """Return a decimal string of dollars in nano-dollars, rounded to the nearest."""
    return int((Decimal(dollars_text) * _NANO).to_integral_value(ROUND_HALF_EVEN))


def dollars(nano_dollars: int) -> str:
    """Return nano-dollars as a plain decimal string of dollars."""
    text = f"{Decimal(nano_dollars) / _NANO:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def slot_of(milliseconds: float) -> int:
    """Return the slot of a latency: 0 up to a millisecond, then six for each doubling."""
    return min(1 + int(math.log2(milliseconds) * _PER_OCTAVE), LAST_SLOT) if milliseconds > 1 else 0


def percentile(latency: Mapping[int, int], share: float) -> float | None:
    """Return the latency in milliseconds that ``share`` of the requests stay within; None when there are none.

    Within a slot, requests are taken to be spread evenly.
    """
    total = sum(latency.values())
    if not total:
        return None
    rank, below = share * total, 0
    for slot in sorted(latency):
        count = latency[slot]
        if below + count >= rank:
            low, high = _start(slot), _start(slot + 1)
            return round(low + (high - low) * max(rank - below, 0.0) / count, 3)
        below += count
    return None


def _start(slot: int) -> float:
    return 2 ** ((slot - 1) / _PER_OCTAVE) if slot else 0.0


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
