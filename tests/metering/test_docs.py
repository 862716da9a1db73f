"""docs/prices.md says what the table and the settings are."""

from __future__ import annotations

import csv
import re
from typing import get_args

import pytest
import yaml

from proxy.metering.cost import Basis
from proxy.metering.prices import built_in
from proxy.settings import PriceRow
from proxy.settings.pricing import read_prices
from tests.rules.pages import page, rows
from tests.rules.sources import ROOT

PAGE = page("docs/prices.md")


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def names(text: str, title: str) -> list[str]:
    """Return the names in the first column of the table whose head begins with ``title``."""
    table = text.partition(f"| {title}")[2].partition("\n\n")[0]
    return [name for row in rows(table)[1:] for name in re.findall(r"`([a-z_-]+)`", row[0])]


def test_every_column_of_the_table_is_explained() -> None:
    with (ROOT / "proxy" / "metering" / "prices.csv").open(encoding="utf-8", newline="") as file:
        columns = next(csv.reader(file))
    assert names(section("The table in the package"), "column") == columns


def test_every_key_of_a_row_is_explained() -> None:
    assert sorted(names(section("A price of your own"), "key")) == sorted(PriceRow.model_fields)


def test_every_basis_is_explained() -> None:
    assert sorted(names(section("What is trusted"), "`cost_basis`")) == sorted(get_args(Basis))


COUNTED = {row[0].strip("`"): row[1:] for row in rows(section("The table in the package")) if row[0].startswith("`")}


@pytest.mark.parametrize("provider", sorted({price.provider for price in built_in()}))
def test_the_page_counts_a_providers_prices_and_tells_how_sure_they_are(provider: str) -> None:
    prices = [price for price in built_in() if price.provider == provider]
    known = sum(price.is_known for price in prices)
    sure = [word for word in ("high", "medium", "low", "none") if word in {price.confidence for price in prices}]
    assert COUNTED[provider] == [str(known or "none"), ", ".join(sure)]


def test_the_example_of_a_file_is_one() -> None:
    (example,) = re.findall(r"\n\n((?:    .+\n)+)\nIt is read again", PAGE)
    prices, mistakes = read_prices("prices.yaml", example)
    assert mistakes == []
    assert prices is not None
    assert prices.rows.keys() == yaml.safe_load(example).keys()


def test_what_the_page_says_of_ends_is_so() -> None:
    said = re.findall(r"end on (\d{4}-\d{2}-\d{2})", section("When a model ends"))
    ends = {price.shutdown_date for price in built_in() if price.provider == "openai" and price.model == "whisper-1"}
    assert set(said) == ends
