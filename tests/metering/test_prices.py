"""The table in the package: every row is whole, says where it is from, and keeps the vendor's own figure."""

from __future__ import annotations

import csv
import re
from datetime import date
from decimal import Decimal

import pytest

from proxy.metering.book import PriceBook
from proxy.metering.cost import cost_of
from proxy.metering.prices import Price, built_in, price_of, shut_down
from proxy.metering.usage import Usage
from proxy.providers.table import TABLE
from tests.rules.sources import ROOT

FILE = ROOT / "proxy" / "metering" / "prices.csv"
with FILE.open(encoding="utf-8", newline="") as text:
    ROWS = list(csv.DictReader(text))
DAYS = [date.fromisoformat(row["shutdown_date"]) for row in ROWS if row["shutdown_date"]]
RATES = ("usd", "usd_input", "usd_audio_input", "usd_output")
NUMBERS = (*RATES, "per", "usd_per_minute_estimate", "minimum_seconds")


def test_every_row_becomes_a_price() -> None:
    assert len(built_in()) == len(ROWS) > 100
    assert [(price.provider, price.model, price.mode) for price in built_in()] == [
        (row["provider"], row["model"], row["mode"]) for row in ROWS
    ]


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['provider']}/{row['model']}/{row['mode']}" for row in ROWS])
def test_every_row_is_whole(row: dict[str, str]) -> None:
    assert None not in row, "a comma too many"
    assert re.fullmatch(r"[a-z0-9-]{1,64}", row["provider"])
    assert row["model"] == row["model"].strip() != ""
    assert row["mode"] in {"transcription", "translation", "speech"}
    assert row["confidence"] in {"high", "medium", "low", "none"}
    assert all(re.fullmatch(r"(?:[0-9]+(?:\.[0-9]+)?)?", row[column]) for column in NUMBERS)
    assert row["round_seconds"] in {"", "up"}
    assert row["realtime_only"] in {"", "yes"}
    assert row["source"]
    assert row["shutdown_date"] in {"", *map(str, DAYS)}
    given = {column for column in RATES if row[column]}
    if row["confidence"] == "none":
        assert (given, row["unit"], row["source_date"]) == (set(), "", "")
        return
    assert re.fullmatch(r"20[0-9]{2}(?:-[0-9]{2}-[0-9]{2})?", row["source_date"])
    by_unit = {"second": [{"usd"}], "character": [{"usd"}]}
    tokens = [
        {"usd_input", "usd_output"},
        {"usd_audio_input", "usd_output"},
        {"usd_input", "usd_audio_input", "usd_output"},
    ]
    assert given in by_unit.get(row["unit"], tokens)
    assert row["per"] in {"second": {"60", "3600", "10800"}}.get(row["unit"], {"1000000"})
    assert row["unit"] == "second" or not (row["minimum_seconds"] or row["round_seconds"])
    assert row["unit"] == "token" or not row["usd_per_minute_estimate"]


def test_no_price_stands_there_twice() -> None:
    keys = [(row["provider"], row["model"].lower(), row["mode"]) for row in ROWS]
    assert len(set(keys)) == len(keys)


def test_audio_is_never_cheaper_than_text() -> None:
    """Tokens that a reply does not split are charged as audio: that may be a little too much, never too little."""
    for price in built_in():
        if price.audio_input is not None and price.text_input is not None:
            assert price.audio_input >= price.text_input, price


def test_no_price_is_zero() -> None:
    """Other people's tables have zeros that mean "not known"; ours says so with an empty cell."""
    assert [price for price in built_in() if price.is_free] == []


@pytest.mark.parametrize(
    ("provider", "model", "seconds", "dollars"),
    [
        ("openai", "whisper-1", 60, "0.006"),
        ("openai", "gpt-transcribe", 60, "0.0045"),
        ("groq", "whisper-large-v3", 3600, "0.111"),
        ("groq", "whisper-large-v3-turbo", 3600, "0.04"),
        ("deepgram", "nova-3", 60, "0.0043"),
        ("elevenlabs", "scribe_v2", 3600, "0.22"),
        ("lemonfox-ai", "whisper-large-v3", 3 * 3600, "0.5"),
        ("mistral-ai", "voxtral-mini-2602", 60, "0.003"),
    ],
)
def test_a_vendors_unit_costs_exactly_the_vendors_figure(provider: str, model: str, seconds: int, dollars: str) -> None:
    assert cost_of(PriceBook().lookup(provider, model, "transcription"), None, seconds).text == dollars


@pytest.mark.parametrize(
    "slug", ["openai", "azure-openai", "groq", "together-ai", "fireworks-ai", "deepinfra", "mistral-ai"]
)
def test_the_known_providers_are_called_as_in_their_own_table(slug: str) -> None:
    assert slug in {provider.slug for provider in TABLE}
    assert slug in PriceBook().providers()


@pytest.mark.parametrize("provider", ["scaleway", "ovhcloud", "sambanova", "siliconflow", "nebius"])
def test_a_price_that_was_not_found_is_not_known_rather_than_nothing(provider: str) -> None:
    unknown = [price for price in built_in() if price.provider == provider]
    assert unknown
    assert not any(price.is_known or price.is_free for price in unknown)
    assert {cost_of(price, Usage(seconds=Decimal(9)), 9).text for price in unknown} == {None}


@pytest.mark.parametrize(
    ("row", "usage", "dollars"),
    [
        ({"usd_per_second": Decimal("0.001")}, Usage(seconds=Decimal(90)), "0.09"),
        ({"usd_per_minute": Decimal("0.006")}, Usage(seconds=Decimal(90)), "0.009"),
        ({"usd_per_hour": Decimal("0.36")}, Usage(seconds=Decimal(90)), "0.009"),
        ({"usd_per_character": Decimal("0.00002")}, Usage(characters=50), "0.001"),
        ({"usd_per_million_characters": Decimal(20)}, Usage(characters=50), "0.001"),
        (
            {"usd_per_input_token": Decimal("0.000001"), "usd_per_million_output_tokens": Decimal(10)},
            Usage(input_tokens=30, output_tokens=7),
            "0.0001",
        ),
        (
            {"usd_per_audio_token": Decimal("0.000006"), "usd_per_output_token": Decimal("0.00001")},
            Usage(input_tokens=10, audio_tokens=10, output_tokens=4),
            "0.0001",
        ),
        ({"usd_per_minute": Decimal("0.6"), "round_seconds": "up"}, Usage(seconds=Decimal("1.1")), "0.02"),
        ({"usd_per_minute": Decimal("0.6"), "minimum_seconds": Decimal(10)}, Usage(seconds=Decimal("1.1")), "0.1"),
        ({"usd_per_hour": Decimal(0)}, Usage(seconds=Decimal(90)), "0"),
    ],
)
def test_an_operators_row_means_what_its_keys_say(row: dict[str, Decimal | str], usage: Usage, dollars: str) -> None:
    assert cost_of(price_of("own", "m", row, "settings"), usage).text == dollars


def test_an_operators_estimate_stands_in_for_tokens_that_nobody_counted() -> None:
    row = {
        "usd_per_audio_token": Decimal(1),
        "usd_per_output_token": Decimal(1),
        "usd_per_minute_estimate": Decimal("0.3"),
    }
    cost = cost_of(price_of("own", "m", row, "file", source="prices.yaml"), None, 20)
    assert (cost.text, cost.basis) == ("0.1", "seconds")


@pytest.mark.parametrize(
    ("shutdown", "today", "gone"),
    [
        ("2027-02-26", date(2027, 2, 25), False),
        ("2027-02-26", date(2027, 2, 26), True),
        ("2027-02-26", date(2027, 10, 1), True),
        (None, date(2099, 1, 1), False),
    ],
)
def test_a_model_is_gone_from_its_shutdown_date_on(shutdown: str | None, today: date, *, gone: bool) -> None:
    assert shut_down(Price(provider="a", model="b", shutdown_date=shutdown), today) is gone


def test_what_has_no_price_is_not_known_to_be_gone() -> None:
    assert shut_down(None, date(2099, 1, 1)) is False
