"""A real Prometheus scrapes a real gateway, and every panel of every dashboard has something to show."""

from __future__ import annotations

import re
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.records.catalogue import BY_NAME, CATALOGUE
from tests.bootstrap import in_ci, missing
from tests.flow.driver import Upstream
from tests.flow.gateway import Gateway
from tests.grafana.dashboards import NAMES, Asked, asked, dashboard, filled
from tests.grafana.expressions import metrics
from tests.grafana.prometheus import Prometheus
from tests.grafana.scene import Scene, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("prometheus")  # one scene for all of these

PATIENCE = 30.0  # seconds from the first request until the last panel must have data: targets are found after 5
QUERIES = [pytest.param(query, id=f"{name}: {query.where}") for name in NAMES for query in asked(name)]

STILL = {
    "audiogate_circuit_breaker_state": "every breaker is closed, which is 0",
    "audiogate_log_queue_records": "records are written as fast as they come",
    "python_gc_collections_total": "a gateway at work makes little garbage that needs collecting",
    "audiogate_draining": "nobody shuts the gateway down",
    "audiogate_replay_bytes": "whether an upload is kept at the moment of a scrape is chance",
    "audiogate_replay_exhausted_total": "no upload of the scene outgrows its replay",
}
"""Metrics that have a value and keep it, and why."""


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """Callers, a gateway, an upstream."""
    if (reason := missing("promtool")) is not None:
        if in_ci():
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="scene-"))
    upstream = Upstream()
    gateway = Gateway(folder, settings(upstream))
    running = Scene(gateway, upstream)
    try:
        running.begin(3)
        yield running
        running.end()
        gateway.stop()
    finally:
        gateway.kill()
        upstream.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def prometheus(scene: Scene) -> Iterator[Prometheus]:
    """It scrapes every second, and has done so once."""
    running = Prometheus(scene.gateway.ops_port)
    try:
        end = time.monotonic() + PATIENCE
        while not running.query("audiogate_build_info"):
            assert time.monotonic() < end, f"nothing was scraped: {running.api('targets')['activeTargets']}"
            time.sleep(0.2)
        yield running
    finally:
        running.stop()


def shown(prometheus: Prometheus, expr: str, begun: float) -> list[tuple[dict[str, str], float]]:
    """Ask until something moves, or for no longer than anybody would wait; not at all for what does not move."""
    patience = 0 if metrics(expr) & set(STILL) else PATIENCE
    found = prometheus.query(expr)
    while not any(value for _, value in found) and time.monotonic() - begun < patience:
        time.sleep(0.2)
        found = prometheus.query(expr)
    return found


@pytest.fixture(scope="module")
def begun(prometheus: Prometheus) -> float:
    """When the waiting began: it is shared, so that the last panel waits no longer than the first."""
    assert prometheus.port
    return time.monotonic()


def test_the_scrape_is_whole(prometheus: Prometheus, begun: float) -> None:
    assert shown(prometheus, 'up{job="audiogate"} == 1', begun)
    kept, told = (prometheus.query(f"scrape_samples_{name}")[0][1] for name in ("post_metric_relabeling", "scraped"))
    assert kept == told
    assert 200 < kept < 3000, "series of one gateway: prometheus.yml allows 5000"


@pytest.mark.parametrize("query", QUERIES)
def test_every_panel_has_something_to_show(query: Asked, scene: Scene, prometheus: Prometheus, begun: float) -> None:
    expr = filled(query.expr, rate_interval="10s", time_range="30s")
    if query.where == "Reloads":
        scene.gateway.signal(signal.SIGHUP)
    found = shown(prometheus, expr, begun)
    assert found, f"no data for {expr}"
    assert any(value for _, value in found) or metrics(expr) & set(STILL), f"nothing but zeros: {found}"
    wanted = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
    assert all(labels.get(name) for labels, _ in found for name in wanted), f"a line without its name: {found}"


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_has_choices(name: str, prometheus: Prometheus) -> None:
    for variable in dashboard(name)["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert found is not None
            assert prometheus.query(f"count by ({found[2]}) ({filled(found[1])}) and on () vector(1)"), variable["name"]


def test_types_and_help_are_those_of_the_catalogue(prometheus: Prometheus) -> None:
    told = prometheus.api("metadata")
    for spec in CATALOGUE:
        name = spec.name.removesuffix("_total") if spec.name not in told else spec.name  # OpenMetrics drops the suffix
        if name not in told:
            continue
        assert [(entry["type"], entry["help"]) for entry in told[name]] == [(spec.type, spec.help)], spec.name


def test_what_the_gateway_shows_is_in_the_catalogue(prometheus: Prometheus) -> None:
    names = {name for name in prometheus.api("label/__name__/values") if name.startswith("audiogate_")}
    families = {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in names if ":" not in name}
    assert families - set(BY_NAME) == set()


def test_an_exemplar_leads_from_a_slow_request_to_its_record(scene: Scene, prometheus: Prometheus) -> None:
    end = time.monotonic() + PATIENCE
    while not (found := prometheus.exemplars("audiogate_request_duration_seconds_bucket")):
        assert time.monotonic() < end, "no exemplar was stored"
        time.sleep(0.2)
    trace = found[-1]["labels"]["trace_id"]
    (record,) = scene.gateway.records(trace)
    assert record["timing_ms"]["total"] / 1000 == pytest.approx(float(found[-1]["value"]), abs=0.001)


def test_every_recording_rule_records(prometheus: Prometheus, begun: float) -> None:
    groups = prometheus.api("rules", type="record")["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        assert shown(prometheus, rule["query"], begun), rule["name"]


def test_prometheus_finds_nothing_to_warn_of(prometheus: Prometheus) -> None:
    groups = prometheus.api("rules")["groups"]
    wrong = {rule["name"]: rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")}
    assert wrong == {}
    assert prometheus.log() == ""
