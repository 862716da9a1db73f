"""Panels: functions from a title, a description and queries to Grafana's panel objects (classic model)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grafana.queries import Query

Panel = dict[str, Any]

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS: Final = 24  # of Grafana's grid

Steps = tuple[tuple[str, float | None], ...]

PLAIN: Final[Steps] = (("text", None),)
BLUE: Final[Steps] = (("blue", None),)
CODE_COLOURS: Final = {"/^2/": "green", "/^3/": "blue", "/^4/": "yellow", "/^499/": "#8e8e8e", "/^5/": "red"}
"""Status codes by class; 499 is a client that left: nobody's error. The last match wins."""
STATES: Final = {0: ("closed", "green"), 1: ("half-open", "yellow"), 2: ("open", "red")}


def stat(
    title: str, about: str, query: Query, unit: str, *, steps: Steps = BLUE, decimals: int | None = None, w: int = 3
) -> Panel:
    """Return one number, with its history as a sparkline when its query has one."""
    panel = _panel("stat", title, about, (query,), unit, w, 4, steps=steps, decimals=decimals)
    panel["options"] = {
        "colorMode": "value",
        "graphMode": "none" if query.instant else "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "value",
    }
    return panel


def lines(
    title: str,
    about: str,
    queries: Sequence[Query],
    unit: str,
    *,
    w: int = 8,
    h: int = 8,
    stacked: bool = False,
    bars: bool = False,
    log: bool = False,
    top: float | None = None,
    limit: float | None = None,
    colours: Mapping[str, str] | None = None,
    interval: str | None = None,
) -> Panel:
    """Return a graph over time. ``limit`` draws a line that should not be crossed, ``top`` fixes the axis."""
    steps: Steps = (("green", None), ("red", limit)) if limit is not None else (("green", None),)
    panel = _panel("timeseries", title, about, queries, unit, w, h, steps=steps)
    panel["fieldConfig"]["defaults"]["color"] = {"mode": "palette-classic"}
    if not log:
        panel["fieldConfig"]["defaults"]["min"] = 0
    if top is not None:
        panel["fieldConfig"]["defaults"]["max"] = top
    panel["fieldConfig"]["defaults"]["custom"] = {
        "axisPlacement": "auto",
        "drawStyle": "bars" if bars else "line",
        "fillOpacity": 80 if bars else 25 if stacked else 8,
        "gradientMode": "none",
        "lineInterpolation": "linear",
        "lineWidth": 0 if bars else 1,
        "pointSize": 4,
        "scaleDistribution": {"type": "log", "log": 10} if log else {"type": "linear"},
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
        "thresholdsStyle": {"mode": "off" if limit is None else "dashed"},
    }
    panel["fieldConfig"]["overrides"] = [_coloured(pattern, colour) for pattern, colour in (colours or {}).items()]
    panel["options"] = {
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    if interval is not None:
        panel["interval"] = interval
    return panel


def heat(title: str, about: str, query: Query, unit: str, *, w: int = 8, h: int = 8) -> Panel:
    """Return a heatmap of a histogram's buckets over time."""
    panel = _panel("heatmap", title, about, (query,), unit, w, h, steps=PLAIN)
    panel["targets"][0]["format"] = "heatmap"
    panel["fieldConfig"]["defaults"] = {
        "custom": {
            "hideFrom": {"legend": False, "tooltip": False, "viz": False},
            "scaleDistribution": {"type": "linear"},
        }
    }
    panel["options"] = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": "reqps"},
        "color": {
            "exponent": 0.5,
            "fill": "dark-orange",
            "mode": "scheme",
            "reverse": False,
            "scale": "exponential",
            "scheme": "Oranges",
            "steps": 64,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"show": True, "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    return panel


def states(title: str, about: str, query: Query, *, w: int = 8, h: int = 8) -> Panel:
    """Return the breakers' states over time, one bar for each series."""
    panel = _panel("state-timeline", title, about, (query,), "none", w, h, steps=PLAIN)
    options = {str(value): {"color": colour, "index": value, "text": text} for value, (text, colour) in STATES.items()}
    panel["fieldConfig"]["defaults"] |= {
        "color": {"mode": "thresholds"},
        "custom": {"fillOpacity": 75, "lineWidth": 0},
        "mappings": [{"options": options, "type": "value"}],
    }
    panel["options"] = {
        "alignValue": "left",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return panel


def table(
    title: str,
    about: str,
    columns: Sequence[tuple[str, str, Query]],
    *,
    w: int = 24,
    h: int = 10,
    sort: str | None = None,
    labels: Sequence[str] = (),
    words: Mapping[str, Mapping[int, str]] | None = None,
) -> Panel:
    """Return a table whose rows are label sets and whose columns are ``(name, unit, query)``.

    ``labels`` come first, in this order. A column without a name only brings its labels. ``words`` stand for a
    column's values.
    """
    panel = _panel("table", title, about, [query for *_, query in columns], "short", w, h, steps=PLAIN)
    for target in panel["targets"]:
        target["format"] = "table"
    panel["fieldConfig"]["defaults"]["custom"] = {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True}
    panel["fieldConfig"]["overrides"] = [
        {"matcher": {"id": "byName", "options": name}, "properties": _properties(unit, (words or {}).get(name))}
        for name, unit, _ in columns
        if name
    ]
    values = {f"Value #{target['refId']}": name for target, (name, *_) in zip(panel["targets"], columns, strict=True)}
    panel["transformations"] = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True, **{value: True for value, name in values.items() if not name}},
                "indexByName": {name: index for index, name in enumerate([*labels, *values])},
                "renameByName": {
                    **{label: label.capitalize() for label in labels},
                    **{value: name for value, name in values.items() if name},
                },
            },
        },
    ]
    panel["options"] = {"cellHeight": "sm", "footer": {"show": False}, "showHeader": True}
    if sort is not None:
        panel["options"]["sortBy"] = [{"desc": True, "displayName": sort}]
    return panel


def _panel(
    kind: str,
    title: str,
    about: str,
    queries: Sequence[Query],
    unit: str,
    w: int,
    h: int,
    *,
    steps: Steps,
    decimals: int | None = None,
) -> Panel:
    defaults: dict[str, Any] = {
        "color": {"mode": "thresholds"},
        "mappings": [],
        "thresholds": {"mode": "absolute", "steps": [{"color": colour, "value": value} for colour, value in steps]},
        "unit": unit,
    }
    if decimals is not None:
        defaults["decimals"] = decimals
    return {
        "datasource": DATASOURCE,
        "description": about,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "gridPos": {"h": h, "w": w},
        "targets": [_target(chr(ord("A") + index), query) for index, query in enumerate(queries)],
        "title": title,
        "type": kind,
    }


def _target(ref: str, query: Query) -> dict[str, Any]:
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "exemplar": query.exemplar,
        "expr": query.expr,
        "format": "time_series",
        "instant": query.instant,
        "legendFormat": query.legend or "__auto",
        "range": not query.instant,
        "refId": ref,
    }


def _properties(unit: str, words: Mapping[int, str] | None) -> list[dict[str, Any]]:
    """Return a column's format. What ``increase`` makes of a count has decimals that mean nothing."""
    found: list[dict[str, Any]] = [{"id": "unit", "value": unit}]
    if unit == "short":
        found.append({"id": "decimals", "value": 0})
    if words is not None:
        options = {str(value): {"index": value, "text": word} for value, word in words.items()}
        found.append({"id": "mappings", "value": [{"options": options, "type": "value"}]})
    return found


def _coloured(pattern: str, colour: str) -> dict[str, Any]:
    return {
        "matcher": {"id": "byRegexp", "options": pattern},
        "properties": [{"id": "color", "value": {"fixedColor": colour, "mode": "fixed"}}],
    }
