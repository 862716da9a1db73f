"""Prices in the settings: exact as written, one kind a row, and every mistake with its place."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from proxy.settings import PriceFile, PriceRow, fingerprint, json_schema, redacted
from proxy.settings.pricing import read_prices

if TYPE_CHECKING:
    from pathlib import Path

    from tests.settings.conftest import Read, Refuse

RATES = [key for key in PriceRow.model_fields if key.startswith("usd_per_") and not key.endswith("_estimate")]
BY_TOKEN = [key for key in RATES if "_token" in key]
KEEP = "is given too; keep one of the two"
NEEDS = "needs a price, like usd_per_minute, usd_per_million_characters or usd_per_million_audio_tokens"
NEEDS_REPLY = "needs usd_per_million_output_tokens beside the others; 0 if the reply is free"
NEEDS_INPUT = "needs a price for what is sent, like usd_per_million_audio_tokens, beside the reply's"


def row(read: Read, text: str) -> PriceRow:
    (provider,) = read(f"providers: [{{slug: own, prices: {{m: {text}}}}}]").settings.providers
    assert provider.prices is not None
    return provider.prices["m"]


@pytest.mark.parametrize(
    "written",
    ["0.006", "0", "0.1", "1e-7", "0.000030833333333", "1000", "'0.006'", "'0.123456789012345678'", "0.300"],
)
def test_a_price_is_exactly_what_was_written(read: Read, written: str) -> None:
    assert row(read, f"{{usd_per_minute: {written}}}").usd_per_minute == Decimal(written.strip("'"))


def test_a_price_may_stand_in_a_variable(read: Read) -> None:
    text = "providers: [{slug: own, prices: {m: {usd_per_hour: '${HOURLY}'}}}]"
    (provider,) = read(text, {"HOURLY": "0.111"}).settings.providers
    assert provider.prices is not None
    assert provider.prices["m"].usd_per_hour == Decimal("0.111")


MISTAKES: list[tuple[str, list[tuple[str, str]]]] = [
    ("{usd_per_secnd: 1}", [(".usd_per_secnd", "unknown key; did you mean 'usd_per_second'?"), ("", NEEDS)]),
    ("{}", [("", NEEDS)]),
    ("{shutdown_date: 2027-02-26}", [("", NEEDS)]),
    ("{usd_per_minute: null}", [("", NEEDS)]),
    ("{usd_per_minute: -1}", [(".usd_per_minute", "must be a number of US dollars from 0 to 1000, not -1")]),
    ("{usd_per_minute: 1001}", [(".usd_per_minute", "must be a number of US dollars from 0 to 1000, not 1001")]),
    ("{usd_per_minute: much}", [(".usd_per_minute", "must be a number of US dollars from 0 to 1000, not 'much'")]),
    ("{usd_per_minute: true}", [(".usd_per_minute", "must be a number of US dollars from 0 to 1000, not true")]),
    ("{usd_per_minute: 'NaN'}", [(".usd_per_minute", "must be a number of US dollars from 0 to 1000, not 'NaN'")]),
    ("{usd_per_minute: 1, usd_per_hour: 60}", [(".usd_per_hour", f"usd_per_minute {KEEP}")]),
    ("{usd_per_minute: 1, usd_per_character: 1}", [(".usd_per_character", f"usd_per_minute {KEEP}")]),
    (
        "{usd_per_minute: 1, usd_per_output_token: 1, usd_per_second: 1}",
        [(".usd_per_minute", f"usd_per_second {KEEP}"), (".usd_per_output_token", f"usd_per_second {KEEP}")],
    ),
    ("{usd_per_audio_token: 1}", [("", NEEDS_REPLY)]),
    ("{usd_per_output_token: 1}", [("", NEEDS_INPUT)]),
    (
        "{usd_per_audio_token: 1, usd_per_million_audio_tokens: 1, usd_per_output_token: 0}",
        [(".usd_per_million_audio_tokens", f"usd_per_audio_token {KEEP}")],
    ),
    ("{usd_per_minute: 1, round_seconds: down}", [(".round_seconds", "must be up, not 'down'")]),
    (
        "{usd_per_minute: 1, minimum_seconds: -3}",
        [(".minimum_seconds", "must be a number of seconds from 0 to 86400, not -3")],
    ),
    ("{usd_per_minute: 1, shutdown_date: soon}", [(".shutdown_date", "must be a date like 2027-02-26, not 'soon'")]),
    (
        "{usd_per_minute: 1, shutdown_date: 2027-02-30}",
        [(".shutdown_date", "must be a date like 2027-02-26, not '2027-02-30'")],
    ),
    (
        "{usd_per_character: 1, minimum_seconds: 10}",
        [(".minimum_seconds", "goes with a price by time only; remove it")],
    ),
    ("{usd_per_character: 1, round_seconds: up}", [(".round_seconds", "goes with a price by time only; remove it")]),
    (
        "{usd_per_hour: 1, usd_per_minute_estimate: 1}",
        [(".usd_per_minute_estimate", "goes with prices by token only; remove it")],
    ),
    ("3", [("", "must be a mapping of keys")]),
]


@pytest.mark.parametrize(("text", "mistakes"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_a_wrong_row_is_named_with_its_place_in_the_settings_and_in_the_file(
    refuse: Refuse, tmp_path: Path, text: str, mistakes: list[tuple[str, str]]
) -> None:
    here = refuse(f"providers: [{{slug: own, prices: {{m: {text}}}}}]")
    assert sorted(here) == sorted(f"providers[0].prices.m{key}: {what}" for key, what in mistakes)
    (tmp_path / "prices.yaml").write_text(f"own: {{m: {text}}}")
    there = refuse("prices: prices.yaml")
    assert sorted(there) == sorted(f"prices: prices.yaml: own.m{key}: {what}" for key, what in mistakes)


@pytest.mark.parametrize("key", [rate for rate in RATES if rate not in BY_TOKEN])
def test_one_price_by_time_or_character_is_enough(read: Read, key: str) -> None:
    assert getattr(row(read, f"{{{key}: 1}}"), key) == 1


@pytest.mark.parametrize("audio", [key for key in BY_TOKEN if "output" not in key])
@pytest.mark.parametrize("output", [key for key in BY_TOKEN if "output" in key])
def test_prices_by_token_come_as_pairs(read: Read, audio: str, output: str) -> None:
    assert getattr(row(read, f"{{{audio}: 1, {output}: 0}}"), output) == 0


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("- a", "prices: prices.yaml: must be a mapping"),
        ("openai: 3", "prices: prices.yaml: openai: must be a mapping"),
        ("a: {m: {usd_per_hour: 1}", "prices: prices.yaml is not valid YAML at line 2, column "),
        ("a b: {m: {usd_per_hour: 1}}", "prices: prices.yaml: ['a b']: must be 1 to 64 letters"),
        ("a: {'': {usd_per_hour: 1}}", "prices: prices.yaml: a['']: must be a model's name"),
        ("a: {m: {usd_per_hour: 1}, m: {usd_per_hour: 2}}", "prices: prices.yaml: a.m: given twice, at lines 1 and 1"),
    ],
)
def test_a_wrong_file_is_named(refuse: Refuse, tmp_path: Path, text: str, mistake: str) -> None:
    (tmp_path / "prices.yaml").write_text(text)
    (said,) = refuse("prices: prices.yaml")
    assert said.startswith(mistake)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("prices: absent.yaml", "prices: the file cannot be read: no such file or directory"),
        ("prices: ''", "prices: must be the path of a file"),
        ("prices: {openai: {}}", "prices: must be the path of a file"),
    ],
)
def test_a_file_that_is_none_is_a_mistake(refuse: Refuse, text: str, mistake: str) -> None:
    assert refuse(text) == [mistake]


def test_every_mistake_of_file_and_settings_is_told_at_once(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text("a: {m: {}, n: {usd_per_hour: x}}\nb: {c: {usd_per_hr: 1}}")
    assert len(refuse("{prices: prices.yaml, workers: 0}")) == 5


def test_the_file_is_found_beside_the_settings_and_watched(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps({"openai": {"whisper-1": {"usd_per_minute": 0.005}}}))
    loaded = read("prices: prices.json")
    assert isinstance(loaded.settings.prices, PriceFile)
    assert loaded.settings.prices.rows == {"openai": {"whisper-1": PriceRow(usd_per_minute=Decimal("0.005"))}}
    assert file in loaded.files
    assert fingerprint(loaded.files) == loaded.fingerprint
    file.write_text("{}")
    assert fingerprint(loaded.files) != loaded.fingerprint
    assert read("prices: prices.json").settings.prices == PriceFile("prices.json", {})


def test_a_variable_names_the_file_from_where_the_command_runs(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "p.yaml").write_text("groq: {'*': {usd_per_hour: 1}}")
    monkeypatch.chdir(there)
    prices = read("prices: null", {"AUDIOGATE_PRICES": "p.yaml"}).settings.prices
    assert prices is not None
    assert prices.rows.keys() == {"groq"}


def test_people_see_the_files_path_and_prices_as_plain_digits(read: Read, tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text("")
    text = "{prices: prices.yaml, providers: [{slug: own, prices: {m: {usd_per_character: 1e-7}}}]}"
    view: dict[str, Any] = json.loads(json.dumps(redacted(read(text).settings)))
    assert view["prices"] == "prices.yaml"
    assert view["providers"][0]["prices"]["m"]["usd_per_character"] == "0.0000001"


def test_the_schema_knows_the_rows() -> None:
    schema = json_schema()
    assert schema["properties"]["prices"]["anyOf"][0] == {"type": "string", "minLength": 1}
    rows = schema["$defs"]["PriceRow"]
    assert rows["additionalProperties"] is False
    assert set(rows["properties"]) == set(PriceRow.model_fields)


def test_an_empty_file_holds_no_prices() -> None:
    assert read_prices("p", "# nothing yet\n") == (PriceFile("p", {}), [])
