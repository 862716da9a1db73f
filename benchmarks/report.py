"""The results as people read them: a Markdown table with its budgets, and JSON with every single round."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.proxies import AUDIOGATE, Proxy, nginx_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.metrics import Metric


@dataclass(slots=True)
class Cell:
    """One metric of one proxy: its rounds, or why there are none."""

    rounds: list[float] = field(default_factory=list)
    error: str | None = None
    unsupported: bool = False

    @property
    def median(self) -> float | None:
        """The middle of the rounds, None without any."""
        return statistics.median(self.rounds) if self.rounds and self.error is None else None


@dataclass(slots=True)
class Results:
    """What has been measured so far: (metric, proxy) → cell, and the proxies left out, with the reason."""

    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def cell(self, metric: Metric, proxy: Proxy) -> Cell:
        """Return the cell, made when it is new."""
        return self.cells.setdefault((metric.name, proxy.name), Cell())

    def median(self, metric: Metric, proxy_name: str) -> float | None:
        """Return the median of a cell, None when it was not measured."""
        cell = self.cells.get((metric.name, proxy_name))
        return cell.median if cell else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Audiogate's value held against its budget."""

    ratio: str  # "1.32 x bare" or "+0.040 ms"; nothing when the budget has no peer
    met: bool


def judge(metric: Metric, results: Results) -> Verdict | None:
    """Hold Audiogate against the metric's budget; None without one, or when a value for it is missing."""
    value, budget = results.median(metric, AUDIOGATE.name), metric.budget
    if value is None or budget is None:
        return None
    ratio = ""
    if budget.peer is not None:
        peer = results.median(metric, budget.peer)
        if not peer:
            return None
        value = value - peer if budget.more else value / peer
        ratio = f"{value:+.{metric.digits}f} {metric.unit}" if budget.more else f"{value:.2f} x {budget.peer}"
    return Verdict(ratio, value >= budget.limit if budget.at_least else value <= budget.limit)


def missed(metrics: Iterable[Metric], results: Results) -> list[Metric]:
    """Return the metrics whose budget was not met."""
    return [metric for metric in metrics if (verdict := judge(metric, results)) and not verdict.met]


def shown(value: float, metric: Metric) -> str:
    """Write a value with the metric's unit."""
    return f"{value:.{metric.digits}f} {metric.unit}"


def table(metrics: Sequence[Metric], proxies: Sequence[Proxy], results: Results) -> str:
    """Return the Markdown table: a row per metric, a column per proxy, the budget, and whether it was met."""
    rows = [["", *(proxy.name for proxy in proxies), "budget", ""]]
    rows.append(["---", *("--:" for _ in proxies), "--:", "---"])
    for metric in metrics:
        values = [_value(metric, proxy, results) for proxy in proxies]
        rows.append([metric.title, *values, _budget(metric), _mark(metric, results)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _value(metric: Metric, proxy: Proxy, results: Results) -> str:
    cell = results.cells.get((metric.name, proxy.name))
    if cell is None:
        return ""
    if cell.median is not None:
        return shown(cell.median, metric)
    return cell.error or "" if cell.unsupported else "failed"


def _budget(metric: Metric) -> str:
    if metric.budget is None:
        return ""
    sign = "≥" if metric.budget.at_least else "≤"
    if metric.budget.more:
        return f"{sign} {metric.budget.peer} + {metric.budget.limit:g} {metric.unit}"
    if metric.budget.peer:
        return f"{sign} {metric.budget.limit:g} x {metric.budget.peer}"
    return f"{sign} {metric.budget.limit:g} {metric.unit}"


def _mark(metric: Metric, results: Results) -> str:
    verdict = judge(metric, results)
    if verdict is None:
        return ""
    return f"{'✓' if verdict.met else '✗'} {verdict.ratio}".strip()


def machine() -> str:
    """Return one line on what the numbers were taken with."""
    names = ("aiohttp", "uvloop")
    versions = ", ".join(f"{name} {_version(name)}" for name in names)
    return (
        f"{os.cpu_count()} cores ({_processor()}), Linux {platform.release().split('-')[0]}, "
        f"{platform.python_implementation()} {platform.python_version()}, {versions}, {_nginx_version()}"
    )


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _nginx_version() -> str:
    program = nginx_program()
    if program is None:
        return "no nginx"
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=False).stderr
    return said.strip().rpartition(": ")[2].replace("/", " ")


def document(metrics: Sequence[Metric], results: Results) -> dict[str, Any]:
    """Return everything for JSON: the machine, and of each metric its budget, verdict and every round."""
    rows = {}
    for metric in metrics:
        verdict = judge(metric, results)
        rows[metric.name] = {
            "title": metric.title,
            "unit": metric.unit,
            "budget": _budget(metric),
            "met": None if verdict is None else verdict.met,
            "errors": {
                proxy: cell.error for (name, proxy), cell in results.cells.items() if name == metric.name and cell.error
            },
            "rounds": {proxy: cell.rounds for (name, proxy), cell in results.cells.items() if name == metric.name},
        }
    return {"machine": machine(), "skipped": results.skipped, "metrics": rows}
