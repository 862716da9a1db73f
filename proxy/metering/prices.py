"""What providers charge: one price per provider, model and mode, from the table in the package or from the settings.

The table is ``prices.csv`` beside this file: what vendors publish, in the vendor's own unit, with source and date.
docs/prices.md explains its columns.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

Mode = Literal["transcription", "translation", "speech"]
Unit = Literal["second", "token", "character"]
Origin = Literal["built-in", "file", "settings"]
Confidence = Literal["high", "medium", "low", "none"]

ANY_MODEL: Final = "*"

_ONE: Final = Decimal(1)
_MILLION: Final = Decimal(1_000_000)
_RATES: Final[Mapping[str, tuple[Unit, Decimal]]] = {
    "usd_per_second": ("second", _ONE),
    "usd_per_minute": ("second", Decimal(60)),
    "usd_per_hour": ("second", Decimal(3600)),
    "usd_per_character": ("character", _ONE),
    "usd_per_million_characters": ("character", _MILLION),
}
_TOKEN_RATES: Final[Mapping[str, tuple[str, Decimal]]] = {
    f"usd_per_{many}{kind}_token{'s' if many else ''}": (field, per)
    for kind, field in (("input", "text_input"), ("audio", "audio_input"), ("output", "output"))
    for many, per in (("", _ONE), ("million_", _MILLION))
}


class Day(Protocol):
    """A ``datetime.date``, as far as this room cares."""

    def isoformat(self) -> str:
        """Return the day as ``YYYY-MM-DD``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a provider charges for a model, in US dollars per ``per`` units; None is what nobody said.

    ``usd`` is the rate by second or by character; ``text_input``, ``audio_input`` and ``output`` are those by token.
    A vendor's $0.111 an hour is ``usd=0.111, per=3600``: nothing is rounded before the end. ``mode`` None is every
    mode. ``minute_estimate`` is the vendor's own guess for a model that it bills by token. ``shutdown_date`` is
    ``YYYY-MM-DD``. A price without a rate is one that was looked for and not found.
    """

    provider: str
    model: str
    mode: Mode | None = None
    unit: Unit | None = None
    per: Decimal = _ONE
    usd: Decimal | None = None
    text_input: Decimal | None = None
    audio_input: Decimal | None = None
    output: Decimal | None = None
    minute_estimate: Decimal | None = None
    minimum_seconds: Decimal | None = None
    round_up: bool = False
    realtime_only: bool = False
    shutdown_date: str | None = None
    origin: Origin = "built-in"
    confidence: Confidence | None = None
    source: str = ""
    source_date: str = ""
    notes: str = ""
    is_known: bool = field(init=False, repr=False, compare=False)
    """Whether there is a rate."""
    is_free: bool = field(init=False, repr=False, compare=False)
    """Whether nothing is charged, which is something else than not known."""

    def __post_init__(self) -> None:
        """Look at the rates once: every request asks."""
        rates = self.rates
        object.__setattr__(self, "is_known", bool(rates))
        object.__setattr__(self, "is_free", bool(rates) and not any(rates))

    @property
    def rates(self) -> tuple[Decimal, ...]:
        """Every rate that is known."""
        found = (self.usd, self.text_input, self.audio_input, self.output)
        return tuple(rate for rate in found if rate is not None)


def shut_down(price: Price | None, today: Day) -> bool:
    """Tell whether the vendor's shutdown date has come. On the day itself, it has."""
    return price is not None and price.shutdown_date is not None and price.shutdown_date <= today.isoformat()


def price_of(provider: str, model: str, row: Mapping[str, Decimal | str], origin: Origin, *, source: str = "") -> Price:
    """Return the price that an operator's row says: its keys are those of docs/prices.md, one kind of rate only."""
    rate = next((key for key in _RATES if key in row), None)
    unit, per = _RATES[rate] if rate is not None else ("token", _MILLION)
    tokens = {field: _decimal(row[key]) * (_MILLION / per) for key, (field, per) in _TOKEN_RATES.items() if key in row}
    return Price(
        provider=provider,
        model=model,
        unit=unit,
        per=per,
        usd=_decimal(row[rate]) if rate is not None else None,
        text_input=tokens.get("text_input"),
        audio_input=tokens.get("audio_input"),
        output=tokens.get("output"),
        minute_estimate=_optional(row.get("usd_per_minute_estimate")),
        minimum_seconds=_optional(row.get("minimum_seconds")),
        round_up=row.get("round_seconds") == "up",
        shutdown_date=cast("str | None", row.get("shutdown_date")),
        origin=origin,
        source=source,
    )


@cache
def built_in() -> tuple[Price, ...]:
    """Return the table in the package."""
    text = files("proxy.metering").joinpath("prices.csv").read_text(encoding="utf-8")
    return tuple(map(_from_table, csv.DictReader(text.splitlines())))


def _from_table(row: Mapping[str, str]) -> Price:
    return Price(
        provider=row["provider"],
        model=row["model"],
        mode=cast("Mode", row["mode"]),
        unit=cast("Unit", row["unit"]) if row["unit"] else None,
        per=_optional(row["per"]) or _ONE,
        usd=_optional(row["usd"]),
        text_input=_optional(row["usd_input"]),
        audio_input=_optional(row["usd_audio_input"]),
        output=_optional(row["usd_output"]),
        minute_estimate=_optional(row["usd_per_minute_estimate"]),
        minimum_seconds=_optional(row["minimum_seconds"]),
        round_up=row["round_seconds"] == "up",
        realtime_only=row["realtime_only"] == "yes",
        shutdown_date=row["shutdown_date"] or None,
        confidence=cast("Confidence", row["confidence"]),
        source=row["source"],
        source_date=row["source_date"],
        notes=row["notes"],
    )


def _decimal(value: Decimal | str) -> Decimal:
    return Decimal(value)


def _optional(text: Decimal | str | None) -> Decimal | None:
    return None if text is None or text == "" else Decimal(text)
