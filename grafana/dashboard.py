"""What is around the panels: the grid, variables, annotations and links of a dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from grafana.panels import COLUMNS, DATASOURCE
from grafana.queries import JOB, PROVIDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana.panels import Panel

SCHEMA: Final = 39  # of the classic model; Grafana migrates older ones when it loads them
TAG: Final = "audiogate"

Row = tuple[str, "Sequence[Panel]"]


def dashboard(
    uid: str,
    title: str,
    about: str,
    rows: Sequence[Row],
    variables: Sequence[dict[str, Any]],
    *,
    since: str,
    refresh: str,
    annotations: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Return a whole dashboard. ``since`` is the start of its time range, as ``now-6h``."""
    return {
        "annotations": {"list": list(annotations)},  # Grafana adds its own
        "description": about,
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,  # one crosshair for all panels
        "id": None,
        "links": [_link()],
        "panels": placed(rows),
        "refresh": refresh,
        "schemaVersion": SCHEMA,
        "tags": [TAG],
        "templating": {"list": list(variables)},
        "time": {"from": since, "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": title,
        "uid": uid,
        "version": 1,
        "weekStart": "",
    }


def placed(rows: Sequence[Row]) -> list[Panel]:
    """Return rows and panels with ids and places: left to right, a new line when one is full."""
    found: list[Panel] = []
    y = 0
    for title, panels in rows:
        found.append(_row(title, len(found) + 1, y))
        x, y, height = 0, y + 1, 0
        for panel in panels:
            size = panel["gridPos"]
            if x + size["w"] > COLUMNS:
                x, y, height = 0, y + height, 0
            found.append({**panel, "id": len(found) + 1, "gridPos": {**size, "x": x, "y": y}})
            x, height = x + size["w"], max(height, size["h"])
        y += height
    return found


def _row(title: str, number: int, y: int) -> Panel:
    return {
        "collapsed": False,
        "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y},
        "id": number,
        "panels": [],
        "title": title,
        "type": "row",
    }


def source_variable() -> dict[str, Any]:
    """Return the variable that chooses the Prometheus: a dashboard that names one works in one place only."""
    return {
        "current": {},
        "hide": 0,
        "includeAll": False,
        "label": "Data source",
        "multi": False,
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
        "type": "datasource",
    }


def _variable(name: str, metric: str, filters: str) -> dict[str, Any]:
    query = f"label_values({metric}{{{filters}}}, {name})" if filters else f"label_values({metric}, {name})"
    return {
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": DATASOURCE,
        "hide": 0,
        "includeAll": True,
        "label": name.capitalize(),
        "multi": True,
        "name": name,
        "options": [],
        "query": {"query": query, "refId": f"variable-{name}"},
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
        "type": "query",
    }


def job_variable() -> dict[str, Any]:
    """Return the choice of scrape jobs."""
    return _variable("job", "audiogate_build_info", "")


def route_variable() -> dict[str, Any]:
    """Return the choice of routes."""
    return _variable("route", "audiogate_requests_total", JOB)


def provider_variable() -> dict[str, Any]:
    """Return the choice of providers."""
    return _variable("provider", "audiogate_upstream_attempts_total", JOB)


def model_variable() -> dict[str, Any]:
    """Return the choice of models, of the chosen providers."""
    return _variable("model", "audiogate_upstream_attempts_total", PROVIDER)


def annotation(name: str, colour: str, expr: str, title: str) -> dict[str, Any]:
    """Return a mark on every graph wherever ``expr`` has a value."""
    return {
        "datasource": DATASOURCE,
        "enable": True,
        "expr": expr,
        "hide": False,
        "iconColor": colour,
        "name": name,
        "tagKeys": "instance",
        "textFormat": "{{instance}}",
        "titleFormat": title,
    }


def _link() -> dict[str, Any]:
    return {
        "asDropdown": False,
        "icon": "external link",
        "includeVars": True,
        "keepTime": False,
        "tags": [TAG],
        "targetBlank": False,
        "title": "Audiogate",
        "tooltip": "",
        "type": "dashboards",
        "url": "",
    }
