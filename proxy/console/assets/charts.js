/** Charts over time, drawn by uPlot: each with its title, unit, legend, and its numbers as a table. */

import { fill, h } from "./dom.js";
import { bucketStart } from "./format.js";
import { colour, onThemeChange } from "./theme.js";

/**
 * @typedef {{name: string, colour: string, values: (number | null)[], dash?: number[]}} Line
 * @typedef {{title: string, unit: string, kind: "bars" | "lines", times: number[], bucket: number, lines: Line[],
 *   show: (value: number | null) => string, total?: (at: number | null) => string, open?: (at: number) => void,
 *   whole?: boolean}} Chart
 *   `times` are seconds; bars are stacked in the order of `lines`; `total` is said beside the title;
 *   `whole`: there are no halves of what is counted
 */

const HEIGHT = 200; // pixels
const STEPS = Array.from({ length: 12 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();
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

/** A chart in its card. */
export class ChartCard {
  #title = h("h2", {});
  #unit = h("span", { class: "muted small" });
  #total = h("strong", { class: "end" });
  #legend = h("ul", { class: "legend values" });
  #frame = h("div", { class: "chart" });
  #table = h("details", { class: "chart-table" });
  /** @type {any} uPlot's */
  #plot = null;
  /** @type {Chart | null} */
  #chart = null;
  #resized = new ResizeObserver(() => this.#fit());
  #forget = onThemeChange(() => this.#draw());

  constructor() {
    const head = h("figcaption", { class: "card-head" }, this.#title, this.#unit, this.#total);
    this.element = h("figure", { class: "card chart-card" }, head, this.#legend, this.#frame, this.#table);
    this.#resized.observe(this.#frame);
  }

  /** Show these data. @param {Chart} chart */
  set(chart) {
    const same = this.#plot && this.#chart && alike(this.#chart, chart);
    this.#chart = chart;
    fill(this.#title, chart.title);
    fill(this.#unit, chart.unit);
    this.#follow(null);
    drawTable(this.#table, chart);
    if (same) {
      this.#plot.setData(data(chart));
      this.#describe();
    } else {
      this.#draw();
    }
  }

  close() {
    this.#resized.disconnect();
    this.#forget();
    this.#plot?.destroy();
    this.#plot = null;
    this.#chart = null;
  }

  async #draw() {
    if (!this.#chart || !this.#frame.clientWidth) return;
    const uPlot = await uplot();
    if (!this.#chart || !this.#frame.isConnected) return; // closed meanwhile
    this.#plot?.destroy();
    const hooks = {
      setCursor: [(/** @type {any} */ plot) => this.#follow(plot.cursor.idx ?? null)],
      ready: [(/** @type {any} */ plot) => clickable(plot, () => this.#chart)],
    };
    this.#plot = new uPlot(
      { ...options(this.#chart, uPlot, this.#frame.clientWidth), hooks },
      data(this.#chart),
      this.#frame,
    );
    this.#describe();
  }

  #fit() {
    const width = this.#frame.clientWidth;
    if (!this.#plot) this.#draw();
    else if (width && this.#plot.width !== width) this.#plot.setSize({ width, height: HEIGHT });
  }

  #describe() {
    const picture = this.#plot.root.querySelector("canvas");
    picture.setAttribute("role", "img");
    if (this.#chart) picture.setAttribute("aria-label", inWords(this.#chart));
  }

  /** Let the legend read what is under the pointer. @param {number | null} at */
  #follow(at) {
    if (!this.#chart) return;
    drawLegend(this.#legend, this.#chart, at);
    fill(this.#total, this.#chart.total?.(at));
  }
}

/** Whether a chart can go on with other numbers. @param {Chart} one @param {Chart} other */
function alike(one, other) {
  const names = (/** @type {Chart} */ chart) => chart.lines.map((line) => line.name).join("\n");
  return one.bucket === other.bucket && one.unit === other.unit && names(one) === names(other);
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

/** @param {Chart} chart @param {any} uPlot @param {number} width */
function options(chart, uPlot, width) {
  const bars = chart.kind === "bars";
  const half = bars ? chart.bucket / 2 : 0; // a bar stands on the middle of its width
  return {
    width,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: "audiogate" }, y: false, drag: { x: false, y: false }, points: { show: !bars } },
    scales: {
      x: {
        range: (/** @type {any} */ _, /** @type {number} */ low, /** @type {number} */ high) => [
          low - half,
          high + half,
        ],
      },
      y: {
        range: (/** @type {any} */ _, /** @type {any} */ __, /** @type {number} */ high) => [
          0,
          high > 0 ? high * 1.08 : 1,
        ],
      },
    },
    axes: axes(chart),
    series: [{}, ...(bars ? [...chart.lines].reverse() : chart.lines).map((line) => series(line, chart, uPlot))],
  };
}

/** @param {Chart} chart */
function axes(chart) {
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: colour("--text-2"), font, ticks: { show: false } };
  const none = Array(5).fill(null);
  const times = [
    [86_400, "{D} {MMM}", ...none, null, 1],
    [60, "{HH}:{mm}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
    [1, "{HH}:{mm}:{ss}", ...none, null, 1],
  ];
  const show = (/** @type {any} */ _, /** @type {number[]} */ ticks) => ticks.map((tick) => chart.show(tick));
  return [
    { ...axis, grid: { show: false }, size: 42, space: 64, values: times },
    {
      ...axis,
      grid: { stroke: colour("--line"), width: 1 },
      size: 64,
      space: 36,
      values: show,
      ...(chart.whole ? { incrs: STEPS } : {}),
    },
  ];
}

/** @param {Line} line @param {Chart} chart @param {any} uPlot */
function series(line, chart, uPlot) {
  const ink = colour(line.colour);
  if (chart.kind === "bars") {
    const paths = uPlot.paths.bars({ size: [0.72, 40], radius: 0.12 });
    return { label: line.name, stroke: ink, width: 0, fill: ink, paths, points: { show: false } };
  }
  const filter = (/** @type {any} */ plot, /** @type {number} */ at) => alone(plot.data[at]);
  return {
    label: line.name,
    stroke: ink,
    width: 2,
    dash: line.dash,
    points: { show: true, size: 5, fill: ink, filter },
  };
}

/** The points that no line leads to or from: nothing else would show them. @param {(number | null)[]} values */
function alone(values) {
  const empty = (/** @type {number} */ at) => (values[at] ?? null) === null;
  return values.map((_, at) => at).filter((at) => !empty(at) && empty(at - 1) && empty(at + 1));
}

/** Let a click on a bucket lead to its requests. @param {any} plot @param {() => Chart | null} chart */
function clickable(plot, chart) {
  if (!chart()?.open) return;
  plot.over.classList.add("clickable");
  plot.over.addEventListener("click", () => {
    if (plot.cursor.idx !== null) chart()?.open?.(plot.cursor.idx);
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
