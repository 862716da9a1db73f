"""Draws docs/images/dashboard.png: ``python -m tests.grafana.picture``, by hand, takes two minutes.

A real Prometheus scrapes a real gateway at work; then every panel's own queries are asked, and drawn as Grafana would.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.flow.driver import Upstream
from tests.flow.gateway import Gateway
from tests.grafana.dashboards import ROOT, dashboard, filled
from tests.grafana.drawing import Drawn, Line, Points, Sheet
from tests.grafana.prometheus import Prometheus
from tests.grafana.scene import Scene, settings
from tests.grafana.units import shown

OUTPUT = ROOT / "docs" / "images" / "dashboard.png"
NAME = "audiogate.json"
SECONDS = 120  # of load that the picture shows
WINDOW = 12  # seconds: what $__rate_interval stands for
CALLERS = 8
CAPTION = (
    "Two minutes of scripted load, drawn by a script of ours from what Prometheus answers to the panels' own queries."
)


def main() -> int:
    """Run the scene and draw it."""
    folder = Path(tempfile.mkdtemp(prefix="picture-"))
    upstream = Upstream()
    gateway = Gateway(folder, settings(upstream))
    scene, prometheus = Scene(gateway, upstream), Prometheus(gateway.ops_port)
    try:
        scene.novelty, scene.calm = 0.1, 16
        scene.begin(CALLERS)
        _live(scene)
        draw(prometheus, time.time())
        scene.end()
        gateway.stop()
    finally:
        prometheus.stop()
        gateway.kill()
        upstream.stop()
        shutil.rmtree(folder)
    print(f"{OUTPUT.relative_to(ROOT)}: {OUTPUT.stat().st_size // 1024} KiB")
    return 0


def _live(scene: Scene) -> None:
    """Let the load rise and fall, and the upstream have a bad quarter of a minute."""
    begun = time.monotonic()
    while (gone := time.monotonic() - begun) < SECONDS + WINDOW:
        scene.lively = 0.35 + 0.25 * math.sin(gone / 17)
        scene.trouble = 0.25 if 0.6 < gone / SECONDS < 0.72 else 0.0
        time.sleep(0.25)


def draw(prometheus: Prometheus, end: float) -> None:
    """Ask every panel's queries for the last seconds and draw the answers."""
    panels = dashboard(NAME)["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    sheet = Sheet(rows, dashboard(NAME)["title"], CAPTION)
    for panel in panels:
        sheet.draw(Drawn(panel) if panel["type"] == "row" else answered(panel, prometheus, end))
    OUTPUT.parent.mkdir(exist_ok=True)
    sheet.save(OUTPUT)


def answered(panel: dict[str, Any], prometheus: Prometheus, end: float) -> Drawn:
    """Return a panel with what Prometheus says to its queries."""
    end = round(end)  # Prometheus answers in milliseconds
    drawn = Drawn(panel, start=end - SECONDS, end=end)
    if panel["type"] == "table":
        drawn.rows = _rows(panel, prometheus)
        return drawn
    for target in panel["targets"]:
        expr = filled(target["expr"], rate_interval=f"{WINDOW}s", time_range=f"{SECONDS}s")
        if target["instant"]:
            drawn.value = next((value for _, value in prometheus.query(expr)), None)
            continue
        for labels, points in prometheus.query_range(expr, drawn.start, end, 1):
            drawn.lines.append(Line(_named(target["legendFormat"], labels), _finite(points)))
        if target["exemplar"] and panel["type"] == "timeseries":
            drawn.exemplars = _exemplars(prometheus, drawn)
    drawn.lines.sort(key=lambda line: line.name if panel["targets"][0]["legendFormat"].startswith("{{") else "")
    drawn.lines = [line for line in drawn.lines if line.points]
    if panel["type"] == "stat" and drawn.lines:
        drawn.value = drawn.lines[0].points[-1][1]
    return drawn


def _named(legend: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    return legend


def _finite(points: Points) -> Points:
    return [(when, value) for when, value in points if math.isfinite(value)]


def _exemplars(prometheus: Prometheus, drawn: Drawn) -> Points:
    """Return the exemplars that lie within the panel's lines."""
    top = max((value for line in drawn.lines for _, value in line.points), default=0.0)
    found = [
        (float(exemplar["timestamp"]), float(exemplar["value"]))
        for exemplar in prometheus.exemplars("audiogate_request_duration_seconds_bucket", SECONDS)
    ]
    slowest: dict[int, tuple[float, float]] = {}  # of every two seconds: all of them would hide the lines
    for when, value in sorted(found, key=lambda point: point[1]):
        if value <= top and when >= drawn.start:
            slowest[int(when) // 2] = (when, value)
    return list(slowest.values())


def _rows(panel: dict[str, Any], prometheus: Prometheus) -> list[list[str]]:
    """Return a table's header and rows: what Grafana's merge and organize make of instant queries."""
    organized = panel["transformations"][-1]["options"]
    renamed: dict[str, str] = organized["renameByName"]
    formats = {
        override["matcher"]["options"]: {found["id"]: found["value"] for found in override["properties"]}
        for override in panel["fieldConfig"]["overrides"]
    }
    merged: dict[tuple[str, ...], dict[str, str]] = {}
    for target in panel["targets"]:
        column = renamed.get(f"Value #{target['refId']}")
        for labels, value in prometheus.query(filled(target["expr"], time_range=f"{SECONDS}s")):
            key = tuple(labels.get(name, "") for name in ("instance", "provider", "model"))
            row = merged.setdefault(key, {})
            row |= {renamed[name]: text for name, text in labels.items()}
            if column is not None:
                row[column] = _cell(value, formats[column])
    head = [renamed[name] for name in sorted(renamed, key=organized["indexByName"].__getitem__)]
    rows = sorted(merged.values(), key=lambda row: -float(row.get("Cost", "$0").lstrip("$")))
    return [head, *([row.get(name, "") for name in head] for row in rows)]


def _cell(value: float, formats: dict[str, Any]) -> str:
    """Return a value as its column shows it: in words, whole, or with a unit."""
    if "mappings" in formats:
        return str(formats["mappings"][0]["options"][str(int(value))]["text"])
    return f"{value:.0f}" if formats.get("decimals") == 0 else shown(value, formats["unit"])


if __name__ == "__main__":
    sys.exit(main())
