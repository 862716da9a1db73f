"""docs/providers.md says what the table says, row by row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from proxy.providers.base import Route
from proxy.providers.provider import OPENAI_FORMATS, Provider
from proxy.providers.registry import Row, registry
from proxy.providers.table import DIALECTS, TABLE

PAGE = Path(__file__).parents[2].joinpath("docs", "providers.md").read_text(encoding="utf-8")
THE_TABLE = PAGE.partition("## The table")[2].partition("\n## ")[0]
ROWS = {
    slug: tuple(cell.strip() for cell in cells.split("|"))
    for slug, cells in re.findall(r"^\| `([a-z-]+)` \|(.+)\|$", THE_TABLE, re.MULTILINE)
}


def test_every_provider_has_its_row_in_the_tables_order() -> None:
    assert list(ROWS) == [provider.slug for provider in TABLE]


@pytest.mark.parametrize("provider", TABLE, ids=lambda provider: provider.slug)
def test_a_row_of_the_page_says_what_the_provider_is(provider: Provider) -> None:
    base_url, endpoints, key, formats = ROWS[provider.slug]
    if provider.base_url is None:
        assert base_url.startswith("[")
    else:
        assert base_url == f"`{provider.base_url}`"
    assert endpoints == ", ".join(str(route) for route in Route if route in provider.paths)
    header = {"Authorization": "bearer", "api-key": "`api-key`", None: "none"}[provider.auth.header]
    assert key.split(", ")[0] == header
    assert key.endswith("optional") == (not provider.needs_key and header != "none")
    assert formats == ("list" if provider.formats == OPENAI_FORMATS else "any")


def test_the_example_makes_a_registry_and_names_every_dialect() -> None:
    example = PAGE.partition("```yaml\n")[2].partition("```")[0]
    rows = [Row(**row) for row in yaml.safe_load(example)["providers"]]
    assert registry(rows)["whisper-local"].base_url == "http://127.0.0.1:9000/v1"
    named = re.search(r"dialect: openai +# (.+)", example)
    assert named is not None
    assert set(re.split(", | or ", named[1])) == DIALECTS.keys()


def test_every_link_inside_the_page_leads_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= headings
