"""Grafana's units as text: what a number looks like on an axis or in a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS = ((86400.0, " days"), (3600.0, " h"), (60.0, " min"), (1.0, " s"), (1e-3, " ms"), (1e-6, " µs"))
_SHORT = ((1e9, " B"), (1e6, " M"), (1e3, " K"))
_BYTES = ((2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"))
_RATES = ((1e9, " GB/s"), (1e6, " MB/s"), (1e3, " kB/s"))


def _digits(value: float) -> str:
    """Three significant digits, no trailing zeros, no exponent."""
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(places, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scaled(value: float, steps: tuple[tuple[float, str], ...], unit: str = "") -> str:
    for size, name in steps:
        if abs(value) >= size * 0.9995:
            return _digits(value / size) + name
    return _digits(value) + unit


FORMATS: dict[str, Callable[[float], str]] = {
    "Bps": lambda value: _scaled(value, _RATES, " B/s"),
    "bytes": lambda value: _scaled(value, _BYTES, " B"),
    "currencyUSD": lambda value: f"${_digits(value)}",
    "none": _digits,
    "ops": lambda value: f"{_digits(value)} /s",
    "percentunit": lambda value: f"{_digits(value * 100)}%",
    "reqps": lambda value: f"{_digits(value)} req/s",
    "s": lambda value: _scaled(value, _SECONDS),
    "short": lambda value: _scaled(value, _SHORT),
}


def shown(value: float, unit: str) -> str:
    """Return a number as Grafana would show it."""
    return FORMATS[unit](value)
