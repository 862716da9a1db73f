"""The prices in force: which one a request pays, of all that the settings, a file and the table in the package say."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from proxy.metering.prices import ANY_MODEL, Mode, Price, built_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_REMEMBERED: Final = 1024  # (provider, model, mode) looked up: clients choose the models, so there is no end of them
_LONGEST: Final = 200  # characters of a model's name: a longer one is no model, and is not worth remembering

# The date or version at a snapshot's end: -2025-12-15, -20251215, -1106, @2025-12-15, @001.
_SNAPSHOT: Final = re.compile(r"(?:-(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}|[0-9]{4})|@[0-9][0-9a-z.-]*)$")

_FALLBACK: Final[dict[Mode, tuple[Mode | None, ...]]] = {
    "transcription": ("transcription", None),
    "translation": ("translation", "transcription", None),  # vendors bill what they hear, whatever they write
    "speech": ("speech", None),
}


class PriceBook:
    """An immutable book of prices in layers, the strongest first; the table in the package lies below them all.

    A model is found under its own name, in any case of letters, with or without the organisation before it
    (``openai/whisper-large-v3``); then a dated snapshot under its base's name; then under ``*``. A layer that has
    anything for a model hides those below it.
    """

    __slots__ = ("_find", "_layers")

    def __init__(self, layers: Iterable[Iterable[Price]] = (), *, table: Iterable[Price] | None = None) -> None:
        found: list[_Layer] = []
        for rows in (built_in() if table is None else table, *reversed([tuple(rows) for rows in layers])):
            found.insert(0, _Layer(tuple(_with_shutdown(row, found) for row in rows)))
        self._layers = tuple(found)
        self._find = lru_cache(maxsize=_REMEMBERED)(self._search)

    def lookup(self, provider: str, model: str | None, mode: Mode) -> Price | None:
        """Return the price, or None when there is none; one that is not known (``is_known``) may be found, too.

        ``model`` None is a request that names no model. Models for real-time sessions only are not found.
        """
        return self._find(provider, ANY_MODEL if model is None or len(model) > _LONGEST else model, mode)

    def in_force(self) -> tuple[Price, ...]:
        """Return every price that can be found, and those of real-time models, in the order of their layers."""
        return tuple(price for layer in self._layers for price in layer.prices if self._is_in_force(price))

    def providers(self) -> frozenset[str]:
        """Return the slug of every provider that has a row here."""
        return frozenset(price.provider for layer in self._layers for price in layer.prices)

    def _is_in_force(self, price: Price) -> bool:
        if price.realtime_only:
            return True
        modes: tuple[Mode, ...] = (price.mode,) if price.mode is not None else tuple(_FALLBACK)
        return any(self.lookup(price.provider, price.model, mode) is price for mode in modes)

    def _search(self, provider: str, model: str, mode: Mode) -> Price | None:
        names = tuple(_names(model))
        return next((price for layer in self._layers if (price := layer.find(provider, names, mode))), None)


class _Layer:
    """The rows of one origin, indexed by provider, mode and every name that means their model."""

    __slots__ = ("_index", "prices")

    def __init__(self, prices: tuple[Price, ...]) -> None:
        self.prices = prices
        self._index: dict[tuple[str, Mode | None, str], Price] = {}
        usable = [price for price in prices if not price.realtime_only]
        for name_of in (_itself, str.lower):  # a row's very name before what resembles it
            for price in usable:
                self._index.setdefault((price.provider, price.mode, name_of(price.model)), price)
        short = [(price.provider, price.mode, _short(price.model)) for price in usable]
        times = Counter(short)  # what two organisations share is neither's
        self._index = {key: price for key, price in zip(short, usable, strict=True) if times[key] == 1} | self._index

    def find(self, provider: str, names: Iterable[str], mode: Mode) -> Price | None:
        for name in (*names, ANY_MODEL):
            for kind in _FALLBACK[mode]:
                if price := self._index.get((provider, kind, name)):
                    return price
        return None


def _with_shutdown(price: Price, below: Collection[_Layer]) -> Price:
    """Return an operator's price with the shutdown date that the layers below know: a new price is no new life."""
    if not below or price.shutdown_date is not None or price.model == ANY_MODEL:
        return price
    names = tuple(_names(price.model))
    known = (
        found.shutdown_date
        for layer in below
        for mode in ((price.mode,) if price.mode is not None else tuple(_FALLBACK))
        if (found := layer.find(price.provider, names, mode)) and found.shutdown_date is not None
    )
    shutdown = next(known, None)
    return price if shutdown is None else replace(price, shutdown_date=shutdown)


def _names(model: str) -> Iterator[str]:
    """Yield the names under which a model's price may stand, the most exact first."""
    yield model
    lower = model.lower()
    base = _SNAPSHOT.sub("", lower)
    for name in (lower, base) if base != lower else (lower,):
        yield name
        # Without its organisation a name means any row's; with one, it is no other organisation's model.
        yield name.rpartition("/")[2] if "/" in name else f"/{name}"


def _itself(model: str) -> str:
    return model


def _short(model: str) -> str:
    """Return what a model with an organisation is called without it: ``/whisper-large-v3``."""
    lower = model.lower()
    return "/" + lower.rpartition("/")[2] if "/" in lower else lower
