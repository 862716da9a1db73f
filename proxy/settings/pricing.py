"""Prices in the settings: the rules of one row, and the file that ``prices`` names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter, ValidationError

from proxy.settings.document import DocumentError, parse
from proxy.settings.mistakes import Ledger, Where, did_you_mean
from proxy.settings.model import PriceFile, PriceRow
from proxy.settings.values import ModelName, Slug
from proxy.settings.wording import message

if TYPE_CHECKING:
    from collections.abc import Iterator

_BY_TIME: Final = ("usd_per_second", "usd_per_minute", "usd_per_hour")
_BY_CHARACTER: Final = ("usd_per_character", "usd_per_million_characters")
_INPUT: Final = ("usd_per_input_token", "usd_per_million_input_tokens")
_AUDIO: Final = ("usd_per_audio_token", "usd_per_million_audio_tokens")
_OUTPUT: Final = ("usd_per_output_token", "usd_per_million_output_tokens")
_BY_TOKEN: Final = (*_INPUT, *_AUDIO, *_OUTPUT)

_ROWS: Final = TypeAdapter(Mapping[Slug, Mapping[ModelName, PriceRow]])


def read_prices(name: str, text: str) -> tuple[PriceFile | None, list[str]]:
    """Return the prices in the text of the file called ``name``, and what is wrong with them, a line each.

    The file maps providers to models to rows: ``{groq: {whisper-large-v3: {usd_per_hour: 0.111}}}``.
    """
    ledger = Ledger()
    try:
        tree = parse(text, ledger)
    except DocumentError as error:
        return None, [f"{name} {error}"]
    rows: Mapping[str, Mapping[str, PriceRow]] = {}
    for where, row in _rows(tree):
        for key in row:
            if key not in PriceRow.model_fields:
                ledger.add((*where, key), f"unknown key{did_you_mean(key, PriceRow.model_fields)}")
        for steps, problem in broken_price(row):
            ledger.add((*where, *steps), problem)
    try:
        rows = _ROWS.validate_python({} if tree is None else tree)
    except ValidationError as refused:
        for detail in refused.errors(include_url=False):
            if detail["type"] != "extra_forbidden":
                ledger.add(tuple(step for step in detail["loc"] if step != "[key]"), message(detail, None))
    return PriceFile(name, rows), [f"{name}: {mistake}" for mistake in ledger.mistakes]


def broken_price(row: dict[str, Any]) -> Iterator[tuple[Where, str]]:
    """Yield what is wrong between the keys of a row: the steps to the key at fault, none for the row, and why."""
    given = [key for key in (*_BY_TIME, *_BY_CHARACTER, *_BY_TOKEN) if row.get(key) is not None]
    if not given:
        yield (), "needs a price, like usd_per_minute, usd_per_million_characters or usd_per_million_audio_tokens"
        return
    first = given[0]
    for key in given[1:]:
        twin = next((other for pair in (_INPUT, _AUDIO, _OUTPUT) for other in pair if key in pair and other != key), "")
        other = twin if first in _BY_TOKEN else first
        if other in given and given.index(other) < given.index(key):
            yield (key,), f"{other} is given too; keep one of the two"
    if first in _BY_TOKEN:
        if not {*_INPUT, *_AUDIO} & {*given}:
            yield (), "needs a price for what is sent, like usd_per_million_audio_tokens, beside the reply's"
        if not {*_OUTPUT} & {*given}:
            yield (), "needs usd_per_million_output_tokens beside the others; 0 if the reply is free"
    for key, goes_with, kind in (
        ("minimum_seconds", _BY_TIME, "a price by time"),
        ("round_seconds", _BY_TIME, "a price by time"),
        ("usd_per_minute_estimate", _BY_TOKEN, "prices by token"),
    ):
        if row.get(key) is not None and first not in goes_with:
            yield (key,), f"goes with {kind} only; remove it"


def _rows(tree: Any) -> Iterator[tuple[Where, dict[str, Any]]]:
    """Yield the rows of a price file that are mappings, with their places."""
    for provider, models in tree.items() if isinstance(tree, dict) else ():
        for model, row in models.items() if isinstance(models, dict) else ():
            if isinstance(row, dict):
                yield (provider, model), row
