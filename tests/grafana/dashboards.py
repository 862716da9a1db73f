"""The committed dashboards as the tests read them: panels, queries, and what variables stand for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "grafana" / "dashboards"
NAMES = tuple(sorted(path.name for path in FOLDER.glob("*.json")))
NOTHING_TO_SHOW = {"row"}  # panel types without a query


@cache
def dashboard(name: str) -> dict[str, Any]:
    """Return a dashboard's document."""
    document: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return document


def panels(name: str) -> list[dict[str, Any]]:
    """Return every panel that shows something, those of collapsed rows included."""
    top = dashboard(name)["panels"]
    inner = [panel for row in top for panel in row.get("panels", [])]
    return [panel for panel in [*top, *inner] if panel["type"] not in NOTHING_TO_SHOW]


@dataclass(frozen=True)
class Asked:
    """One query and where it stands. ``kind`` is the panel's type, or ``annotation`` or ``variable``."""

    where: str
    expr: str
    legend: str
    kind: str
    instant: bool = False
    exemplar: bool = False


def asked(name: str) -> Iterator[Asked]:
    """Yield the queries of all panels and annotations, as they are written."""
    for panel in panels(name):
        for target in panel["targets"]:
            yield Asked(
                f"{panel['title']} {target['refId']}",
                target["expr"],
                target["legendFormat"],
                panel["type"],
                target["instant"],
                target["exemplar"],
            )
    for annotation in dashboard(name)["annotations"]["list"]:
        yield Asked(annotation["name"], annotation["expr"], annotation["textFormat"], "annotation")


def filled(expr: str, *, rate_interval: str = "1m", time_range: str = "1h", **variables: str) -> str:
    """Return a query as Grafana sends it: every variable replaced, ``All`` where none is given."""
    known = {
        "__rate_interval": rate_interval,
        "__range": time_range,
        "__interval_ms": "60000",
        **dict.fromkeys(("job", "route", "provider", "model"), ".*"),
        **variables,
    }
    return re.sub(r"\$(\w+)", lambda found: known[found[1]], expr)
