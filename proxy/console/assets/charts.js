/** Charts over time, drawn by uPlot: each with its title, unit, legend, and its numbers as a table. */

import { fill, h } from "./dom.js";
import { bucketStart } from "./format.js";
import { colour, onThemeChange } from "./theme.js";

/**
 * @typedef {{name: string, colour: string, values: (number | null)[], width?: number, dash?: number[]}} Line
 * @typedef {{title: string, unit: string, kind: "bars" | "lines", times: number[], bucket: number, lines: Line[],
 *   show: (value: number | null) => string, total?: (at: number | null) => string, open?: (at: number) => void}} Chart
 *   `times` are seconds; bars are stacked in the order of `lines`; `total` is said beside the title
 */

const HEIGHT = 200; // pixels
const SCRIPT = "/assets/vendor/uPlot.iife.min.js";

/** @type {Promise<any> | null} */
let library = null;

/** Load uPlot, once, when the first chart needs it. @returns {Promise<any>} */
function uplot() {
  library ??= new Promise((done, failed) => {
    const script = h("script", { src: SCRIPT });
    script.addEventListener("load", () => done(/** @type {any} */ (globalThis).uPlot));
    script.addEventListener("error", () => {
      library = null;
      failed(new Error("The charts' program could not be loaded."));
    });
    document.head.append(script);
  });
  return library;
}

/** Return a chart's card; `set` gives it other data, `close` ends it. */
export function chartCard() {
  const title = h("h2", {});
  const unit = h("span", { class: "muted small" });
  const legend = h("ul", { class: "legend values" });
  const frame = h("div", { class: "chart" });
  const table = h("details", { class: "chart-table" });
  const total = h("strong", { class: "end" });
  const element = h(
    "figure",
    { class: "card chart-card" },
    h("figcaption", { class: "card-head" }, title, unit, total),
    legend,
    frame,
    table,
  );
  /** @type {any} */
  let plot = null;
  /** @type {Chart | null} */
  let chart = null;

  const draw = async () => {
    if (!chart || !frame.clientWidth) return;
    const library_ = await uplot();
    if (!chart || !frame.isConnected) return;
    plot?.destroy();
    plot = new library_(options(chart, library_, frame.clientWidth, follow), data(chart), frame);
    const picture = plot.root.querySelector("canvas");
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", inWords(chart));
  };
  /** @param {number | null | undefined} given */
  const follow = (given) => {
    const at = given ?? null;
    if (!chart) return;
    drawLegend(legend, chart, at);
    fill(total, chart.total?.(at));
  };
  const resized = new ResizeObserver(() => {
    if (!plot) draw();
    else if (frame.clientWidth && plot.width !== frame.clientWidth)
      plot.setSize({ width: frame.clientWidth, height: HEIGHT });
  });
  resized.observe(frame);
  const unsubscribe = onThemeChange(draw);

  return {
    element,
    /** @param {Chart} given */
    set(given) {
      const same =
        chart &&
        plot &&
        chart.lines.length === given.lines.length &&
        chart.bucket === given.bucket &&
        chart.unit === given.unit &&
        given.lines.every((line, at) => line.name === chart?.lines[at].name);
      chart = given;
      fill(title, given.title);
      fill(unit, given.unit);
      follow(null);
      drawTable(table, given);
      if (same) {
        plot.setData(data(given));
        plot.root.querySelector("canvas").setAttribute("aria-label", inWords(given));
      } else {
        draw();
      }
    },
    close() {
      resized.disconnect();
      unsubscribe();
      plot?.destroy();
      plot = null;
      chart = null;
    },
  };
}

/**
 * What uPlot draws: stacked bars as sums, the highest first, so that each covers the lower part of the one behind.
 * @param {Chart} chart
 */
function data(chart) {
  if (chart.kind === "lines") return [chart.times, ...chart.lines.map((line) => line.values)];
  /** @type {number[]} */
  let below = chart.times.map(() => 0);
  const sums = chart.lines.map((line) => (below = below.map((sum, at) => sum + (line.values[at] ?? 0))));
  return [chart.times, ...sums.reverse()];
}

/** @param {Chart} chart @param {any} uPlot @param {number} width @param {(at: number | null) => void} follow */
function options(chart, uPlot, width, follow) {
  const bars = chart.kind === "bars";
  const [ink, line] = [colour("--text-2"), colour("--line")];
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const drawn = bars ? [...chart.lines].reverse() : chart.lines;
  const axis = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
  const half = chart.bucket / 2;
  return {
    width,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: "audiogate" }, y: false, drag: { x: false, y: false }, points: { show: !bars } },
    hooks: {
      setCursor: [(/** @type {any} */ plot) => follow(plot.cursor.idx)],
      ready: [(/** @type {any} */ plot) => clickable(plot, () => chart)],
    },
    scales: {
      x: {
        time: true,
        range: (/** @type {any} */ _, /** @type {number} */ low, /** @type {number} */ high) =>
          bars ? [low - half, high + half] : [low, high],
      },
      y: {
        range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ high) => [
          0,
          high > 0 ? high * 1.08 : 1,
        ],
      },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        space: 64,
        values: [
          [86_400, "{D} {MMM}", null, null, null, null, null, null, 1],
          [60, "{HH}:{mm}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
          [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1],
        ],
      },
      {
        ...axis,
        size: 64,
        space: 36,
        values: (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map((tick) => chart.show(tick)),
      },
    ],
    series: [
      {},
      ...drawn.map((one) => ({
        label: one.name,
        stroke: colour(one.colour),
        width: bars ? 0 : (one.width ?? 2),
        dash: one.dash,
        fill: bars ? colour(one.colour) : undefined,
        paths: bars ? uPlot.paths.bars({ size: [0.72, 40], radius: 0.12 }) : undefined,
        points: {
          show: !bars,
          size: 5,
          fill: colour(one.colour),
          filter: (/** @type {any} */ _, /** @type {number} */ at) => alone(chart.lines[at - 1].values),
        },
        spanGaps: false,
      })),
    ],
  };
}

/** The points that no line leads to or from: nothing else would show them. @param {(number | null)[]} values */
function alone(values) {
  const empty = (/** @type {number} */ at) => (values[at] ?? null) === null;
  return values.map((_, at) => at).filter((at) => !empty(at) && empty(at - 1) && empty(at + 1));
}

/** Let a click on a bucket lead to its requests. @param {any} plot @param {() => Chart} chart */
function clickable(plot, chart) {
  if (!chart().open) return;
  plot.over.classList.add("clickable");
  plot.over.addEventListener("click", () => {
    if (plot.cursor.idx !== null) chart().open?.(plot.cursor.idx);
  });
}

/**
 * The series' names, and what they are under the pointer.
 * @param {Element} legend @param {Chart} chart @param {number | null} here
 */
function drawLegend(legend, chart, here) {
  const when = here === null ? null : h("li", { class: "when" }, bucketStart(chart.times[here], chart.bucket));
  const lines = chart.lines.map((line) => {
    const swatch = h("span", { class: "swatch" });
    swatch.style.background = `var(${line.colour})`;
    return h("li", {}, swatch, line.name, here !== null && h("strong", {}, chart.show(line.values[here] ?? null)));
  });
  fill(legend, lines, when);
}

/** @param {Element} place @param {Chart} chart */
function drawTable(place, chart) {
  const open = /** @type {HTMLDetailsElement} */ (place).open;
  const head = h(
    "tr",
    {},
    h("th", { scope: "col" }, "From"),
    chart.lines.map((line) => h("th", { scope: "col", class: "number" }, line.name)),
  );
  const used = chart.times.map((_, at) => at).filter((at) => chart.lines.some((line) => line.values[at]));
  const rows = used.map((at) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, bucketStart(chart.times[at], chart.bucket)),
      chart.lines.map((line) => h("td", { class: "number" }, chart.show(line.values[at] ?? null))),
    ),
  );
  const table = h(
    "table",
    { class: "plain" },
    h("caption", { class: "sr-only" }, `${chart.title}, ${chart.unit}`),
    h("thead", {}, head),
    h("tbody", {}, rows),
  );
  fill(
    place,
    h("summary", {}, h("span", {}, "As a table"), h("span", { class: "sr-only" }, `: ${chart.title}`)),
    h("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": chart.title }, table),
  );
  /** @type {HTMLDetailsElement} */ (place).open = open;
}

/** @param {Chart} chart */
function inWords(chart) {
  const parts = chart.lines.map((line) => {
    const known = line.values.filter((value) => value !== null);
    return known.length
      ? `${line.name}: at most ${chart.show(Math.max(.../** @type {number[]} */ (known)))}`
      : `${line.name}: nothing`;
  });
  return `${chart.title}, ${chart.unit}. ${parts.join("; ")}. The numbers are in the table below.`;
}
