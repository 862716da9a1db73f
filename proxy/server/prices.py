"""The prices in force as text: a table of all, or everything about one model, for ``audiogate prices``."""

from __future__ import annotations

import json
from dataclasses import fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from proxy.metering.cost import cost_of
from proxy.metering.prices import ANY_MODEL, Mode, Price, shut_down
from proxy.metering.usage import Usage
from proxy.settings.mistakes import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from proxy.relay.house import House

_MODES: Final[tuple[Mode, ...]] = ("transcription", "translation", "speech")
_HEADER: Final = (
    "PROVIDER", "MODEL", "MODE", "PRICE", "MINIMUM", "ROUNDED", "SHUTDOWN", "FROM", "CONFIDENCE", "SOURCE DATE",
)  # fmt: skip
_SPANS: Final = {1: "second", 60: "minute", 3600: "hour", 10_800: "3 hours"}
_SHORT: Final = Decimal("0.000001")  # dollars a minute as the table shows them: a vendor's figure has no more places
_EXAMPLE: Final = Usage(characters=1000)


class NotFoundError(Exception):
    """A provider or model without a price; the message says what to do."""


def report(house: House, *, model: str | None, provider: str | None, today: date, as_json: bool) -> str:
    """Return every price, or those that ``model`` matches. Raises :class:`NotFoundError`."""
    prices = house.prices.in_force()
    known = {price.provider for price in prices} | house.providers.keys()
    if provider is not None and provider not in known:
        raise NotFoundError(f"there is no provider {provider!r}{did_you_mean(provider, known)}")
    if provider is not None:
        prices = tuple(price for price in prices if price.provider == provider)
    if model is not None:
        prices = _matching(house, model, prices, provider)
    if as_json:
        return json.dumps([_document(price, today) for price in prices], indent=2)
    if model is None:
        return _table([_HEADER, *(_row(price, today) for price in prices)])
    return "\n\n".join(_shown(price, today) for price in prices)


def _matching(house: House, model: str, prices: Sequence[Price], provider: str | None) -> tuple[Price, ...]:
    """Return the prices that requests for ``model`` pay; ``*`` is one of them where a provider was asked for."""
    slugs = dict.fromkeys(price.provider for price in prices)
    paid = [house.prices.lookup(slug, model, mode) for slug in slugs for mode in _MODES]
    found = [price for price in paid if price and (price.model != ANY_MODEL or provider or model == ANY_MODEL)]
    found += [price for price in prices if price.realtime_only and price.model.lower() == model.lower()]
    if not found:
        where = f" of {provider}" if provider else ""
        near = did_you_mean(model, {price.model for price in prices})
        raise NotFoundError(f"there is no price for a model {model!r}{where}{near or '; see audiogate prices list'}")
    return tuple({id(price): price for price in found}.values())


def _row(price: Price, today: date) -> tuple[str, ...]:
    return (
        price.provider,
        price.model,
        _mode(price),
        _rate(price),
        f"{price.minimum_seconds:f} s" if price.minimum_seconds else "",
        "up to 1 s" if price.round_up else "",
        _shutdown(price, today),
        price.origin,
        price.confidence or "",
        price.source_date,
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _shown(price: Price, today: date) -> str:
    facts = {
        "price": _vendors_rate(price),
        "minimum": f"{price.minimum_seconds:f} s" if price.minimum_seconds else "",
        "rounded": "up to whole seconds" if price.round_up else "",
        "estimate": f"${price.minute_estimate:f} per minute" if price.minute_estimate is not None else "",
        "example": _example(price),
        "shutdown": _shutdown(price, today),
        "from": price.origin,
        "confidence": price.confidence or "",
        "source": price.source,
        "date": price.source_date,
        "notes": price.notes,
    }
    lines = [f"  {name:<12}{fact}" for name, fact in facts.items() if fact]
    return "\n".join([f"{price.provider}  {price.model}  {_mode(price)}", *lines])


def _mode(price: Price) -> str:
    return (price.mode or "every mode") + (" (real-time)" if price.realtime_only else "")


def _rate(price: Price) -> str:
    """Return the price in the table's own units, for comparing: a minute, or a million of tokens or characters."""
    if not price.is_known:
        return "unknown"
    if price.is_free:
        return "free"
    if price.unit == "token":
        return f"{_tokens(price)} /1M tokens"
    assert price.usd is not None, "a price by second or character has its rate"
    if price.unit == "character":
        return f"${_digits(price.usd * 1_000_000 / price.per)} /1M characters"
    minute = price.usd * 60 / price.per
    return f"${_digits(minute.quantize(_SHORT)) if minute >= _SHORT else _digits(minute)} /minute"


def _vendors_rate(price: Price) -> str:
    """Return the price in the unit it is published in, and in the table's where that is another."""
    if price.usd is None or price.is_free or price.unit != "second":
        return _rate(price)
    span = _SPANS.get(int(price.per), f"{price.per} seconds")
    own = f"${_digits(price.usd)} per {span}"
    return own if span == "minute" else f"{own} ({_rate(price)})"


def _tokens(price: Price) -> str:
    kinds = (("text in", price.text_input), ("audio in", price.audio_input), ("out", price.output))
    return ", ".join(f"${_digits(rate)} {kind}" for kind, rate in kinds if rate is not None)


def _example(price: Price) -> str:
    if price.realtime_only:
        return "none: it is for real-time sessions only, and no request for a file pays it"
    if price.unit == "token":
        both = cost_of(price, Usage(input_tokens=1000, output_tokens=100))
        counted = f"1000 tokens in and 100 out cost ${both.text}"
        guess = cost_of(price, None, 60)
        return counted if guess.text is None else f"{counted}; 60 s that nobody counted, about ${guess.text}"
    cost = cost_of(price, _EXAMPLE, 60)
    if cost.text is None:
        return "none: what it costs is not known; set a price of your own"
    if price.unit == "character":
        return f"1000 characters cost ${cost.text}"
    one = cost_of(price, None, 1)
    return f"60 s cost ${cost.text}, 1 s ${one.text}"


def _shutdown(price: Price, today: date) -> str:
    return (price.shutdown_date or "") + (" (past)" if shut_down(price, today) else "")


def _digits(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _document(price: Price, today: date) -> dict[str, Any]:
    """Return a price as JSON: dollars as plain digits, and what is not known as null."""
    document = {field.name: getattr(price, field.name) for field in fields(Price)}
    plain = {name: _digits(value) if isinstance(value, Decimal) else value for name, value in document.items()}
    return plain | {"shut_down": shut_down(price, today)}
