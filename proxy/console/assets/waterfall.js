/** When everything happened: the upload, each attempt in its phases, and what ran at the same time. */

import { fill, h, svg } from "./dom.js";
import { bytes, milliseconds } from "./format.js";
import { attemptTone, ending } from "./words.js";

/** @typedef {import("./types.js").RequestRecord} RequestRecord @typedef {import("./types.js").Attempt} Attempt */
/** @typedef {{kind: string, name: string, from: number, to: number}} Phase milliseconds since the request began */
/** @typedef {{title: string, note: string, phases: Phase[], tone: string}} Row */

/** @type {Record<string, string>} */
const PHASES = {
  upload: "Upload from the client",
  connect: "Connecting",
  sending: "Sending to the upstream",
  waiting: "Waiting for the first byte",
  reply: "Reply",
};
const [BAR, ROW, TOP, TICKS] = [14, 46, 24, 6]; // pixels: of a bar, a row, the axis; and how many ticks at most
const [THIN, END] = [3, 20]; // pixels: the least that can be seen, and room for a cross behind the last bar

/** @param {RequestRecord} record */
export function waterfallCard(record) {
  const rows = rowsOf(record);
  const overlap = overlapOf(record);
  const frame = h("div", { class: "waterfall" });
  const kinds = new Set(rows.flatMap((row) => row.phases.map((phase) => phase.kind)));
  const legend = Object.entries(PHASES)
    .filter(([kind]) => kinds.has(kind))
    .map(([kind, name]) => h("li", {}, h("span", { class: `swatch phase-${kind}` }), name));
  if (overlap) legend.push(h("li", {}, h("span", { class: "swatch overlap" }), "At the same time"));
  new ResizeObserver(() => {
    if (frame.clientWidth) fill(frame, draw(record, rows, overlap, frame.clientWidth));
  }).observe(frame);
  return h(
    "section",
    { class: "card", "aria-label": "Timeline" },
    h("div", { class: "card-head" }, h("h2", {}, "Timeline"), h("ul", { class: "legend" }, legend)),
    frame,
    overlap &&
      h(
        "p",
        { class: "saved small" },
        h("strong", {}, `${milliseconds(overlap.to - overlap.from)} saved. `),
        explained(overlap),
      ),
  );
}

/** @param {{from: number, to: number}} overlap */
function explained({ from, to }) {
  const lead = milliseconds(to - from);
  return [
    `The upstream had its first byte ${lead} before the upload had ended, and took the rest while it came.`,
    "A gateway that waits for the whole file would only have begun then.",
  ].join(" ");
}

/** The upload, then every attempt. @param {RequestRecord} record @returns {Row[]} */
export function rowsOf(record) {
  const rows = record.attempts.map((attempt, at) => ({
    title: record.attempts.length > 1 ? `${at + 1}. ${attempt.provider}` : attempt.provider,
    note: [ending(attempt), attempt.replayed && "replayed", attempt.hedged && "hedged"].filter(Boolean).join(", "),
    phases: phasesOf(attempt, record.timing_ms.total),
    tone: attemptTone(attempt),
  }));
  const upload = record.timing_ms.upload;
  if (upload === null) return rows;
  const begin =
    record.outcome === "client_left" && !rows.length
      ? 0
      : Math.max(0, Math.min(record.attempts[0]?.started_ms ?? 0, record.timing_ms.total - upload));
  const phase = { kind: "upload", name: PHASES.upload, from: begin, to: begin + upload };
  return [{ title: "Client", note: `${bytes(record.bytes_in)} in`, phases: [phase], tone: "ok" }, ...rows];
}

/** @param {Attempt} attempt @param {number} total @returns {Phase[]} */
function phasesOf(attempt, total) {
  const begin = attempt.started_ms;
  const end = begin + (attempt.total_ms ?? Math.max(0, total - begin));
  const head = attempt.ttfb_ms === null ? end : begin + attempt.ttfb_ms;
  const sent = attempt.upload_ms === null ? head : Math.min(begin + attempt.upload_ms, head);
  const joined =
    attempt.sent_bytes || attempt.ttfb_ms !== null ? Math.min(begin + (attempt.connect_ms ?? 0), sent) : sent;
  /** @type {[string, number, number][]} */
  const steps = [
    ["connect", begin, joined],
    ["sending", joined, sent],
    ["waiting", sent, head],
    ["reply", head, end],
  ];
  return steps
    .filter(([kind, from, to]) => to > from || (kind === "reply" && attempt.ttfb_ms !== null))
    .map(([kind, from, to]) => ({ kind, name: PHASES[kind], from, to }));
}

/**
 * When the upload and the last attempt ran together; null when that was too short to speak of.
 * @param {RequestRecord} record
 */
export function overlapOf(record) {
  const saved = record.timing_ms.overlap_saved;
  const upload = rowsOf(record)[0]?.phases.find((phase) => phase.kind === "upload");
  if (!saved || !upload || saved < Math.max(1, record.timing_ms.total / 100)) return null;
  return { from: Math.max(upload.from, upload.to - saved), to: upload.to };
}

/**
 * @param {RequestRecord} record @param {Row[]} rows @param {{from: number, to: number} | null} overlap
 * @param {number} width pixels
 */
function draw(record, rows, overlap, width) {
  const total = Math.max(record.timing_ms.total, ...rows.flatMap((row) => row.phases.map((phase) => phase.to)), 0.001);
  const narrow = width < 560;
  const left = narrow ? 0 : Math.min(260, width * 0.3);
  const scale = (width - left - END) / total;
  const x = (/** @type {number} */ time) => left + time * scale;
  const height = TOP + rows.length * ROW;
  const ticks = ticksUpTo(total, narrow ? 4 : TICKS).map((time) => [
    svg("line", { class: "grid", x1: x(time), x2: x(time), y1: TOP, y2: height }),
    svg(
      "text",
      {
        class: "tick",
        x: x(time),
        y: TOP - 8,
        "text-anchor": time === 0 ? "start" : x(time) > width - 24 ? "end" : "middle",
      },
      milliseconds(time),
    ),
  ]);
  const wide = overlap ? Math.max(THIN, (overlap.to - overlap.from) * scale) : 0;
  const band =
    overlap && svg("rect", { class: "overlap", x: x(overlap.from), y: TOP, width: wide, height: height - TOP });
  const lines = rows.map((row, at) => drawRow(row, TOP + at * ROW, x, narrow ? 0 : left));
  return svg(
    "svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": inWords(record, rows, overlap) },
    ticks,
    band,
    lines,
  );
}

/**
 * One line: whose it is, and its phases.
 * @param {Row} row @param {number} y @param {(time: number) => number} x
 * @param {number} left pixels for names; 0: they stand above the bar
 */
function drawRow(row, y, x, left) {
  const barAt = left ? y + (ROW - BAR) / 2 : y + ROW - BAR - 8;
  const bars = row.phases.map((phase) => {
    const bar = svg("rect", {
      class: `phase-${phase.kind}`,
      x: x(phase.from),
      y: barAt,
      width: Math.max(THIN, x(phase.to) - x(phase.from)) - 1,
      height: BAR,
      rx: 2,
    });
    bar.append(
      svg("title", {}, `${phase.name}: ${milliseconds(phase.to - phase.from)}, from ${milliseconds(phase.from)} on`),
    );
    return bar;
  });
  const last = row.phases.at(-1);
  const cross =
    row.tone === "bad" &&
    last &&
    svg("path", { class: "broken", d: `M${x(last.to) + 6} ${barAt + 2}l10 10m0 -10l-10 10` });
  const names = left
    ? [
        svg("text", { class: "name", x: 0, y: y + 20 }, clipped(row.title, left / 7.6)),
        svg("text", { class: `note ${row.tone}`, x: 0, y: y + 36 }, clipped(row.note, left / 6.7)),
      ]
    : [
        svg("text", { class: "name", x: 0, y: barAt - 7 }, row.title),
        svg("text", { class: `note ${row.tone}`, x: 8 + row.title.length * 8.2, y: barAt - 7 }, row.note),
      ];
  return [svg("line", { class: "rule", x1: 0, x2: "100%", y1: y + ROW, y2: y + ROW }), names, bars, cross].flat();
}

/** @param {string} text @param {number} most characters */
function clipped(text, most) {
  return text.length > most ? `${text.slice(0, Math.max(1, Math.floor(most) - 1))}…` : text;
}

/** Round steps from 0 to the end. @param {number} total milliseconds @param {number} most @returns {number[]} */
export function ticksUpTo(total, most) {
  const rough = total / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough) ?? power * 10;
  return Array.from({ length: Math.floor(total / step) + 1 }, (_, at) => at * step);
}

/** @param {RequestRecord} record @param {Row[]} rows @param {{from: number, to: number} | null} overlap */
function inWords(record, rows, overlap) {
  const said = rows.map((row) => {
    const phases = row.phases.map((phase) => `${phase.name.toLowerCase()} ${milliseconds(phase.to - phase.from)}`);
    return `${row.title}: ${phases.join(", ")}${row.tone === "bad" ? `; ${row.note}` : ""}`;
  });
  const all = [...said, `In all ${milliseconds(record.timing_ms.total)}.`].join(". ");
  return overlap ? `${all} ${explained(overlap)}` : all;
}
