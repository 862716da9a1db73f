"""Panels as pictures: Grafana's kinds of panels drawn with matplotlib, in Grafana's grid and colours.

Lengths are pixels with the origin at the top left, as in a browser; only :class:`Sheet` knows matplotlib's own.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, PowerNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullFormatter
from PIL import Image

from tests.grafana.units import shown

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

Points = list[tuple[float, float]]

PAGE, PANEL, EDGE, GRID = "#111217", "#181b1f", "#2b2e35", "#2a2d34"
TEXT, FAINT = "#d4d5de", "#8e909b"
PALETTE = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#c8f2c2", "#ffcb7d", "#ca95e5")
NAMED = {
    "green": "#73bf69",
    "yellow": "#f2cc0c",
    "red": "#f2495c",
    "blue": "#5794f2",
    "dark-red": "#c4162a",
    "text": TEXT,
}
EMBERS = LinearSegmentedColormap.from_list("embers", [PANEL, "#5c2c0c", "#c4541c", "#ff9830", "#ffe8b0"])

WIDTH, COLUMNS = 1680, 24
MARGIN, GAP, HEAD = 18, 8, 74
UNIT = 23  # pixels of one row of Grafana's grid
LINE = 16.5  # pixels of a table's row
DPI = 100


@dataclass
class Line:
    """One series of a graph, by its legend."""

    name: str
    points: Points
    colour: str = ""


@dataclass
class Drawn:
    """What a panel is to show. ``rows`` are a table's, its header first."""

    panel: dict[str, Any]
    lines: list[Line] = field(default_factory=list)
    value: float | None = None
    rows: list[list[str]] = field(default_factory=list)
    exemplars: Points = field(default_factory=list)
    start: float = 0.0
    end: float = 0.0

    @property
    def unit(self) -> str:
        unit: str = self.panel["fieldConfig"]["defaults"].get("unit", "short")
        return unit

    @property
    def custom(self) -> dict[str, Any]:
        custom: dict[str, Any] = self.panel["fieldConfig"]["defaults"].get("custom", {})
        return custom


class Sheet:
    """One picture of a dashboard."""

    def __init__(self, rows: int, title: str, caption: str) -> None:
        self.height = HEAD + rows * UNIT + MARGIN
        self.figure = Figure(figsize=(WIDTH / DPI, self.height / DPI), dpi=DPI, facecolor=PAGE)
        self.text(MARGIN + 4, 30, title, size=17, weight="bold")
        self.text(MARGIN + 4, 54, caption, size=9, colour=FAINT)

    def save(self, path: Path) -> None:
        canvas = FigureCanvasAgg(self.figure)
        canvas.draw()  # type: ignore[no-untyped-call]
        pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        image = Image.fromarray(pixels).convert("RGB")
        image.quantize(palette=_inks(), dither=Image.Dither.NONE).save(path, optimize=True)

    def draw(self, drawn: Drawn) -> None:
        """Draw one panel at its place in the grid."""
        place = drawn.panel["gridPos"]
        column = (WIDTH - 2 * MARGIN + GAP) / COLUMNS
        x, y = MARGIN + place["x"] * column, HEAD + place["y"] * UNIT
        w, h = place["w"] * column - GAP, place["h"] * UNIT - GAP
        if drawn.panel["type"] == "row":
            self.text(x + 4, y + 12, "⌄  " + drawn.panel["title"], size=10.5, weight="bold")
            return
        self._box(x, y, w, h)
        self.text(x + 11, y + 15, drawn.panel["title"], size=9, weight="bold")
        draw = {
            "heatmap": self._heat,
            "stat": self._stat,
            "state-timeline": self._states,
            "table": self._table,
            "timeseries": self._graph,
        }[drawn.panel["type"]]
        draw(drawn, x, y + 26, w, h - 26)

    # Borders and text

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float,
        colour: str = TEXT,
        weight: str = "normal",
        ha: str = "left",
    ) -> None:
        where = (x / WIDTH, 1 - y / self.height)
        self.figure.text(*where, text, fontsize=size, color=colour, fontweight=weight, ha=ha, va="center")

    def _box(self, x: float, y: float, w: float, h: float) -> None:
        style = f"round,pad=0,rounding_size={3 / WIDTH}"
        self.figure.patches.append(
            FancyBboxPatch(
                (x / WIDTH, 1 - (y + h) / self.height),
                w / WIDTH,
                h / self.height,
                boxstyle=style,
                mutation_aspect=WIDTH / self.height,
                transform=self.figure.transFigure,
                facecolor=PANEL,
                edgecolor=EDGE,
                linewidth=0.8,
                zorder=-1,  # axes lie at 0
            )
        )

    def _axes(self, x: float, y: float, w: float, h: float) -> Axes:
        axes = self.figure.add_axes((x / WIDTH, 1 - (y + h) / self.height, w / WIDTH, h / self.height))
        axes.set_facecolor(PANEL)
        axes.tick_params(colors=FAINT, labelsize=7, length=0, pad=3)
        axes.tick_params(which="minor", length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_axisbelow(True)
        return axes

    def _time(self, axes: Axes, drawn: Drawn) -> None:
        axes.set_xlim(drawn.start, drawn.end)
        span = drawn.end - drawn.start
        step = next(step for step in (10, 15, 30, 60, 120, 300) if span / step <= 5)
        first = math.ceil(drawn.start / step) * step
        axes.set_xticks(np.arange(first, drawn.end, step))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: datetime.fromtimestamp(at).strftime("%H:%M:%S")))

    def _legend(self, lines: list[Line], x: float, y: float, w: float) -> None:
        """One line of names, as many as fit; the rest is counted."""
        at = x
        for index, line in enumerate(lines):
            width = 26 + 5.9 * len(line.name)
            if at + width > x + w and index:
                self.text(at, y, f"+{len(lines) - index}", size=7.5, colour=FAINT)
                return
            at_figure = (at / WIDTH, 1 - (y + 1) / self.height)
            self.figure.patches.append(
                Rectangle(
                    at_figure, 10 / WIDTH, 2.4 / self.height, transform=self.figure.transFigure, color=line.colour
                )
            )
            self.text(at + 14, y, line.name, size=7.5)
            at += width

    # Kinds of panels

    def _graph(self, drawn: Drawn, x: float, y: float, w: float, h: float) -> None:
        if not drawn.lines:
            self.text(x + w / 2, y + h / 2 - 8, "No data", size=9, colour=FAINT, ha="center")
            return
        colour(drawn)
        axes = self._axes(x + 58, y + 4, w - 72, h - 46)
        moments = [round(drawn.start + second, 3) for second in range(int(drawn.end - drawn.start) + 1)]
        if drawn.custom["stacking"]["mode"] == "normal":
            stacked = np.array([at(line.points, moments) for line in drawn.lines])
            axes.stackplot(moments, stacked, colors=[line.colour for line in drawn.lines], alpha=0.42, linewidth=0)
            for line, top in zip(drawn.lines, np.cumsum(stacked, axis=0), strict=True):
                axes.plot(moments, top, color=line.colour, linewidth=1.0)
        else:
            for line in reversed(drawn.lines):
                values = at(line.points, moments, missing=math.nan)  # a gap stays a gap
                axes.plot(moments, values, color=line.colour, linewidth=1.25)
                axes.fill_between(moments, values, color=line.colour, alpha=0.07, linewidth=0)
        self._scale(axes, drawn)
        self._time(axes, drawn)
        if drawn.exemplars:
            when, where = zip(*drawn.exemplars, strict=True)
            axes.scatter(when, where, marker="D", s=9, color="#8ab8ff", alpha=0.8, linewidths=0)
        axes.grid(visible=True, color=GRID, linewidth=0.7)
        self._legend(drawn.lines, x + 14, y + h - 11, w - 34)

    def _scale(self, axes: Axes, drawn: Drawn) -> None:
        defaults = drawn.panel["fieldConfig"]["defaults"]
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, drawn.unit)))
        if drawn.custom["scaleDistribution"]["type"] == "log":
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(10, numticks=5))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, drawn.unit)))
            axes.yaxis.set_minor_formatter(NullFormatter())
            return
        axes.yaxis.set_major_locator(MaxNLocator(4))
        top = defaults.get("max") or axes.get_ylim()[1]
        shown_values = [value for line in drawn.lines for _, value in line.points if math.isfinite(value)]
        if not any(shown_values):
            top = defaults.get("max") or 1.0
        if drawn.unit == "bytes":
            axes.yaxis.set_major_locator(MultipleLocator(2 ** math.ceil(math.log2(max(top, 4) / 4))))
        axes.set_ylim(0, top * 1.04)
        limit = defaults["thresholds"]["steps"][-1]["value"]
        if drawn.custom["thresholdsStyle"]["mode"] == "dashed" and limit <= top:
            axes.axhline(limit, color=NAMED["red"], linewidth=1, linestyle=(0, (5, 4)), alpha=0.8)

    def _stat(self, drawn: Drawn, x: float, y: float, w: float, h: float) -> None:
        if drawn.value is None:
            self.text(x + w / 2, y + h / 2, "No data", size=10, colour=FAINT, ha="center")
            return
        tint = tint_of(drawn.value, drawn.panel["fieldConfig"]["defaults"]["thresholds"]["steps"])
        points = drawn.lines[0].points if drawn.lines else []
        if points and drawn.panel["options"]["graphMode"] == "area":
            axes = self._axes(x + 2, y + h * 0.52, w - 4, h * 0.46)
            axes.set_axis_off()
            times, values = zip(*points, strict=True)
            axes.fill_between(times, values, color=tint, alpha=0.22, linewidth=0)
            axes.plot(times, values, color=tint, linewidth=1)
            axes.set_ylim(0, max(values) * 1.1 or 1)
            axes.set_xlim(min(times), max(times))
        size = 21 if h < 100 else 30
        middle = y + h * (0.32 if h < 100 else 0.45)
        self.text(x + w / 2, middle, shown(drawn.value, drawn.unit), size=size, colour=tint, weight="bold", ha="center")

    def _heat(self, drawn: Drawn, x: float, y: float, w: float, h: float) -> None:
        unit = drawn.panel["options"]["yAxis"]["unit"]
        axes = self._axes(x + 66, y + 4, w - 80, h - 30)
        lines = sorted(drawn.lines, key=lambda line: float(line.name))
        times = sorted({when for line in lines for when, _ in line.points})
        below = np.array([at(line.points, times) for line in lines])
        inside = np.diff(below, axis=0, prepend=np.zeros((1, len(times)))).clip(0)
        used = [index for index, row in enumerate(inside) if row.max() > 0]
        first, last = max(used[0] - 1, 0), min(used[-1] + 1, len(lines) - 1)
        shown_rows = inside[first : last + 1]
        step = max(round(len(times) / 60), 1)  # cells wide enough to be seen
        cells = shown_rows[:, : len(times) // step * step].reshape(len(shown_rows), -1, step).mean(axis=2)
        edges = np.linspace(times[0], times[-1], cells.shape[1] + 1)
        norm = PowerNorm(0.5, vmin=0, vmax=float(cells.max()))
        axes.pcolormesh(
            edges, np.arange(len(cells) + 1), cells, cmap=EMBERS, norm=norm, edgecolors=PANEL, linewidth=0.4
        )
        labels = [float(line.name) for line in lines[first : last + 1]]
        every = max(round(len(labels) / 7), 1)
        axes.set_yticks(np.arange(1, len(labels) + 1)[::every])
        axes.set_yticklabels([shown(bound, unit) if math.isfinite(bound) else "∞" for bound in labels[::every]])
        axes.set_ylim(0, len(cells))
        self._time(axes, drawn)

    def _states(self, drawn: Drawn, x: float, y: float, w: float, h: float) -> None:
        mappings = drawn.panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
        axes = self._axes(x + 92, y + 4, w - 106, h - 46)
        for row, line in enumerate(reversed(drawn.lines)):
            for (when, value), (until, _) in zip(line.points, [*line.points[1:], (drawn.end, 0.0)], strict=True):
                state = mappings[str(int(value))]
                axes.barh(row, until - when, left=when, height=0.72, color=NAMED[state["color"]], alpha=0.75)
        axes.set_yticks(range(len(drawn.lines)), [line.name for line in reversed(drawn.lines)])
        axes.tick_params(axis="y", colors=TEXT, labelsize=7.5)
        self._time(axes, drawn)
        names = [Line(state["text"], [], NAMED[state["color"]]) for state in mappings.values()]
        self._legend(names, x + 14, y + h - 11, w - 34)

    def _table(self, drawn: Drawn, x: float, y: float, w: float, h: float) -> None:
        head, *rows = drawn.rows
        wide = w / len(head)
        for index, name in enumerate(head):
            self.text(x + 12 + index * wide, y + 10, name, size=8, colour="#8ab8ff", weight="bold")
        for number, row in enumerate(rows[: int((h - 22) // LINE)]):
            for index, cell in enumerate(row):
                self.text(x + 12 + index * wide, y + 30 + number * LINE, cell, size=8)


def at(points: Points, times: list[float], missing: float = 0.0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a series' values at these times; ``missing`` where it has none."""
    known = {when: value for when, value in points if math.isfinite(value)}
    return np.array([known.get(when, missing) for when in times])


def _inks() -> Image.Image:
    """Return the file's palette: every colour of ours, fading into the panel. 256 are a quarter of the file's size."""
    fades = [0.07, 0.15, 0.28, 0.42, 0.6, 0.8, 1.0]
    panel = np.array(to_rgb(PANEL))
    inks = [to_rgb(PAGE), to_rgb(EDGE), to_rgb(GRID)]
    for name in (*PALETTE, *NAMED.values(), FAINT):
        inks += [tuple(panel + (np.array(to_rgb(name)) - panel) * fade) for fade in fades]
    inks += [EMBERS(step / 70)[:3] for step in range(71)]
    flat = [round(part * 255) for ink in dict.fromkeys(inks) for part in ink][: 256 * 3]
    palette = Image.new("P", (1, 1))
    palette.putpalette(flat)
    return palette


def colour(drawn: Drawn) -> None:
    """Give every line its colour: an override's, else the palette's next."""
    overrides = [
        (override["matcher"]["options"].strip("/"), override["properties"][0]["value"]["fixedColor"])
        for override in drawn.panel["fieldConfig"]["overrides"]
    ]
    for index, line in enumerate(drawn.lines):
        line.colour = PALETTE[index % len(PALETTE)]
        for pattern, name in overrides:
            if re.search(pattern, line.name):
                line.colour = NAMED.get(name, name)


def tint_of(value: float, steps: list[dict[str, Any]]) -> str:
    """Return the colour of the highest threshold that a value has reached."""
    reached = [step for step in steps if step["value"] is None or value >= step["value"]]
    return NAMED[reached[-1]["color"]]
