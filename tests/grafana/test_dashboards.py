"""The dashboards as documents: Grafana's own model, one style, nothing unexplained, nothing that overlaps."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.grafana.dashboards import FOLDER, NAMES, ROOT, dashboard, panels

if TYPE_CHECKING:
    from collections.abc import Iterator

PANELS = [pytest.param(panel, id=f"{name}: {panel['title']}") for name in NAMES for panel in panels(name)]
UNITS = {
    "Bps", "bytes", "currencyUSD", "none", "ops", "percentunit", "reqps", "s", "short",
}  # fmt: skip
VARIABLES = {"__interval_ms", "__range", "__rate_interval"}  # Grafana's own
COLUMNS = 24

OPEN = {
    "annotations.list.tagKeys": "the SDK's model leaves open what an annotation's data source reads",
    "annotations.list.textFormat": "the same",
    "annotations.list.titleFormat": "the same",
    "id": "null says that it is new to whatever Grafana loads it; the SDK drops null",
}
"""Keys that the SDK's model does not know, and why they are there all the same."""

register_default_plugins()


def lost(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Yield the path of everything that is no longer what it was. Items of lists are taken as one."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            inner = f"{path}.{key}".lstrip(".")
            yield from lost(value, after[key], inner) if key in after else [inner]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for one, other in zip(before, after, strict=True):
            yield from lost(one, other, path)
    elif before != after:
        yield path


@pytest.mark.parametrize("name", NAMES)
def test_grafanas_own_model_knows_every_key(name: str) -> None:
    document = dashboard(name)
    again = json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder))
    assert set(lost(document, again)) - set(OPEN) == set()


def test_no_exception_has_outlived_its_reason() -> None:
    found = set()
    for name in NAMES:
        document = dashboard(name)
        found |= set(lost(document, json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder))))
    assert set(OPEN) - found == set()


def test_a_key_that_grafana_does_not_know_would_be_found() -> None:
    document = json.loads(json.dumps(dashboard("audiogate.json")))
    document["panels"][1]["options"]["colourMode"] = "value"
    again = json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder))
    assert "panels.options.colourMode" in set(lost(document, again))


def test_the_files_are_what_the_code_makes() -> None:
    done = subprocess.run([sys.executable, "-m", "grafana", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_fits_any_grafana(name: str) -> None:
    document = dashboard(name)
    assert document["uid"] == name.removesuffix(".json")
    assert document["id"] is None
    assert 36 <= document["schemaVersion"] <= 41
    assert document["graphTooltip"] == 1
    assert document["title"]
    assert document["description"]
    assert document["tags"] == ["audiogate"]
    assert "__inputs" not in document, "they break provisioning from files"
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text == json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def test_no_two_dashboards_share_a_uid_or_title() -> None:
    for key in ("uid", "title"):
        values = [dashboard(name)[key] for name in NAMES]
        assert len(set(values)) == len(values)


def named(key: str, value: Any) -> Iterator[Any]:
    """Yield what stands under a key, wherever in a document."""
    if isinstance(value, dict):
        yield from [value[key]] if key in value else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    for item in inner:
        yield from named(key, item)


@pytest.mark.parametrize("name", NAMES)
def test_the_prometheus_is_chosen_by_a_variable_everywhere(name: str) -> None:
    document = dashboard(name)
    assert document["templating"]["list"][0]["type"] == "datasource"
    assert {found["uid"] for found in named("datasource", document)} == {"${datasource}"}
    assert all("datasource" in target for panel in panels(name) for target in panel["targets"])


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_is_used_and_every_used_one_exists(name: str) -> None:
    document = dashboard(name)
    exist = {variable["name"] for variable in document["templating"]["list"]}
    bodies = json.dumps([document["panels"], document["annotations"]])
    used = set(re.findall(r"\$\{?(\w+)", bodies))
    assert used - VARIABLES == exist


@pytest.mark.parametrize("name", NAMES)
def test_every_choice_offers_all_and_several(name: str) -> None:
    for variable in dashboard(name)["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["multi"]
            assert variable["includeAll"]
            assert variable["allValue"] == ".*"
            assert variable["refresh"] == 2, "choices follow the time range"


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_unique_and_panels_do_not_overlap(name: str) -> None:
    everything = dashboard(name)["panels"]
    ids = [panel["id"] for panel in everything]
    assert len(set(ids)) == len(ids)
    for panel in everything:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= COLUMNS, panel["title"]
    for one, other in combinations(everything, 2):
        a, b = one["gridPos"], other["gridPos"]
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, f"{one['title']} lies over {other['title']}"


@pytest.mark.parametrize("name", NAMES)
def test_no_line_of_panels_leaves_a_gap(name: str) -> None:
    lines: dict[int, int] = {}
    for panel in dashboard(name)["panels"]:
        lines[panel["gridPos"]["y"]] = lines.get(panel["gridPos"]["y"], 0) + panel["gridPos"]["w"]
    assert set(lines.values()) == {COLUMNS}


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert re.match(r"[A-Z$]", panel["title"])
    assert len(panel["title"]) <= 40
    assert panel["description"].endswith(".")
    assert len(panel["description"]) >= 20
    assert panel["targets"]
    unit = panel["options"]["yAxis"]["unit"] if panel["type"] == "heatmap" else None
    assert (unit or panel["fieldConfig"]["defaults"]["unit"]) in UNITS


@pytest.mark.parametrize("panel", PANELS)
def test_a_graph_has_a_legend_and_names_its_lines(panel: dict[str, Any]) -> None:
    if panel["type"] in {"timeseries", "state-timeline"}:
        assert panel["options"]["legend"]["showLegend"]
        assert all(target["legendFormat"] not in {"", "__auto"} for target in panel["targets"])
    if panel["type"] == "heatmap":
        assert [(target["legendFormat"], target["format"]) for target in panel["targets"]] == [("{{le}}", "heatmap")]


@pytest.mark.parametrize("panel", PANELS)
def test_only_numbers_and_tables_ask_for_one_moment(panel: dict[str, Any]) -> None:
    instant = {target["instant"] for target in panel["targets"]}
    if panel["type"] == "table":
        assert instant == {True}
    elif panel["type"] != "stat":
        assert instant == {False}


@pytest.mark.parametrize("panel", PANELS)
def test_a_table_names_and_formats_every_column(panel: dict[str, Any]) -> None:
    if panel["type"] != "table":
        return
    organized = panel["transformations"][-1]["options"]
    formatted = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
    values = {f"Value #{target['refId']}" for target in panel["targets"]} - set(organized["excludeByName"])
    assert values <= set(organized["renameByName"])
    assert formatted == {organized["renameByName"][value] for value in values}


# Provisioning


def test_provisioning_loads_the_dashboards_and_the_data_source() -> None:
    folder = ROOT / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    scrape = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["global"]
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == scrape["scrape_interval"], "$__rate_interval comes from it"
    assert source["jsonData"]["exemplarTraceIdDestinations"][0]["name"] == "trace_id"
    (provider,) = yaml.safe_load((folder / "dashboards" / "audiogate.yaml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"].startswith("/")
