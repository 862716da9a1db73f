/** How it goes: figures and charts of a span, and who has the largest part in it. */

import { stats, withQuery } from "./api.js";
import { chartCard } from "./charts.js";
import { fill, h } from "./dom.js";
import { UNKNOWN, audio, count, milliseconds, money, share } from "./format.js";
import { refresh } from "./refresh.js";
import { navigate, rewrite } from "./router.js";
import { empty, failed, loading, noRequests } from "./states.js";

/** @typedef {import("./types.js").Page} Page @typedef {import("./types.js").Measures} Measures */
/** @typedef {import("./types.js").Stats} Stats */
/** @typedef {import("./api.js").Session} Session */

const SPANS = [
  { name: "1h", label: "1 hour", words: "the last hour", seconds: 3600 },
  { name: "24h", label: "24 hours", words: "the last 24 hours", seconds: 86_400 },
  { name: "7d", label: "7 days", words: "the last 7 days", seconds: 7 * 86_400 },
  { name: "30d", label: "30 days", words: "the last 30 days", seconds: 30 * 86_400 },
];
/** @type {Record<string, string>} */
const GROUPS = { model: "Model", provider: "Provider", key: "Key", route: "Route" };
const EVERY = 10_000; // milliseconds between two questions: the shortest bucket is a minute
const SHOWN = 5; // groups with a colour of their own; the rest is one
const ROWS = 20; // groups of the table: the largest

/** @param {URLSearchParams} query @param {Session} session @returns {Page} */
export function overviewPage(query, session) {
  let span = SPANS.find(({ name }) => name === query.get("span")) ?? SPANS[1];
  let group = (query.get("by") ?? "") in GROUPS ? /** @type {string} */ (query.get("by")) : "model";
  const charts = ["requests", "latency", "cost", "audio"].map(() => chartCard());
  const place = h("div", { class: "page" }, loading(8));
  const picker = choices(
    "Span",
    SPANS,
    () => span.name,
    (name) => {
      span = SPANS.find((one) => one.name === name) ?? span;
      again();
    },
  );
  const by = h(
    "select",
    { id: "by" },
    Object.entries(GROUPS).map(([value, label]) => h("option", { value }, label)),
  );
  by.value = group;
  by.addEventListener("change", () => {
    group = by.value;
    again();
  });
  const cards = h("dl", { class: "figures" });
  const ranking = h("section", { class: "card", "aria-label": "Shares" });
  const body = [
    cards,
    h(
      "div",
      { class: "charts" },
      charts.map((chart) => chart.element),
    ),
    ranking,
  ];
  const head = h("div", { class: "page-head" }, h("h1", {}, "Overview"), h("div", { class: "end" }, picker.element));
  let showing = false;

  const ask = async (/** @type {AbortSignal} */ signal) => {
    try {
      const [all, grouped] = await Promise.all([
        stats({ since: span.name }, signal),
        stats({ since: span.name, group_by: group }, signal),
      ]);
      if (!all.total.requests) {
        showing = false;
        fill(place, await nothing(span, session, signal));
        return;
      }
      if (!showing) fill(place, body);
      showing = true;
      fill(cards, figures(all.total));
      drawCharts(charts, all, grouped, group);
      drawRanking(ranking, grouped, group, by, span.name);
    } catch (error) {
      if (signal.aborted) return;
      showing = false;
      fill(
        place,
        h(
          "div",
          { class: "card" },
          failed(error, () => loop.now()),
        ),
      );
    }
  };
  let loop = { now() {}, close() {} };
  const again = () => {
    rewrite(withQuery("/", { span: span.name === "24h" ? "" : span.name, by: group === "model" ? "" : group }));
    picker.show();
    loop.now();
  };
  return {
    title: "Overview",
    element: h("div", { class: "page" }, head, place),
    shown: () => {
      loop = refresh(ask, EVERY);
    },
    leave: () => {
      loop.close();
      for (const chart of charts) chart.close();
    },
  };
}

/**
 * Say that there is nothing, and whether there ever was.
 * @param {typeof SPANS[0]} span @param {Session} session @param {AbortSignal} signal
 */
async function nothing(span, session, signal) {
  const ever = await stats({ since: "365d", bucket: "1d" }, signal);
  const card = (/** @type {HTMLElement} */ content) => h("div", { class: "card" }, content);
  if (!ever.total.requests)
    return card(noRequests(session.gateway, "Figures and charts show up here as soon as the gateway has served one."));
  const text = `${count(ever.total.requests)} came before that. Choose a longer span to see them.`;
  return card(empty(`No requests in ${span.words}`, text));
}

/** @param {Measures} total */
function figures(total) {
  const cards = [
    ["Requests", count(total.requests), null],
    ["Errors", share(total.errors / total.requests), `${count(total.errors)} of ${count(total.requests)}`],
    ["Latency p95", milliseconds(total.latency_ms.p95), `median ${milliseconds(total.latency_ms.p50)}`],
    ["Audio", audio(total.audio_seconds), null],
    ["Cost", money(total.cost_usd), total.audio_seconds ? `${perHour(total)} per hour of audio` : null],
    ["Unpriced", count(total.unpriced), total.unpriced ? "not in the cost" : "all work has its price"],
  ];
  return cards.map(([name, value, note]) =>
    h(
      "div",
      { class: "figure" },
      h("dt", {}, name),
      h("dd", {}, h("span", { class: "value" }, value), note && h("span", { class: "note" }, note)),
    ),
  );
}

/** @param {Measures} measures */
function perHour(measures) {
  return measures.audio_seconds ? money(Number(measures.cost_usd) / (measures.audio_seconds / 3600)) : UNKNOWN;
}

/** @param {ReturnType<typeof chartCard>[]} charts @param {Stats} all @param {Stats} grouped @param {string} group */
function drawCharts(charts, all, grouped, group) {
  const { times, at } = timesOf(all);
  const bucket = all.bucket;
  /** @param {(measures: Measures) => number | null} pick @param {number | null} without */
  const line = (pick, without) => {
    const values = times.map(() => without);
    for (const point of all.series) values[at(point.time)] = pick(point);
    return values;
  };
  const open = (/** @type {number} */ place) =>
    navigate(withQuery("/requests", { since: iso(times[place]), until: iso(times[place] + bucket) }));
  const base = { times, bucket, open };
  const good = line((one) => one.requests - one.errors, 0);
  const bad = line((one) => one.errors, 0);
  charts[0].set({
    ...base,
    title: "Requests",
    unit: `per ${bucketName(bucket)}`,
    kind: "bars",
    lines: [
      { name: "Errors", colour: "--bad-fill", values: bad },
      { name: "OK", colour: "--series-1", values: good },
    ],
    show: (value) => count(value),
  });
  /** @type {{name: "p50" | "p95" | "p99", colour: string, dash?: number[]}[]} */
  const percentiles = [
    { name: "p50", colour: "--series-1" },
    { name: "p95", colour: "--series-3" },
    { name: "p99", colour: "--series-2", dash: [5, 4] },
  ];
  charts[1].set({
    ...base,
    title: "Latency",
    unit: "from first byte to last",
    kind: "lines",
    lines: percentiles.map((one) => ({ ...one, values: line(({ latency_ms: latency }) => latency[one.name], null) })),
    show: milliseconds,
  });
  charts[2].set({
    ...base,
    title: `Cost by ${group}`,
    unit: "US dollars",
    kind: "bars",
    lines: groupLines(grouped, times, at),
    show: (value) => money(value),
    total: (place) => money(place === null ? all.total.cost_usd : line((one) => Number(one.cost_usd), 0)[place]),
  });
  const longest = Math.max(...all.series.map((one) => one.audio_seconds));
  const [unit, size] = longest >= 3600 ? ["hours", 3600] : longest >= 60 ? ["minutes", 60] : ["seconds", 1];
  charts[3].set({
    ...base,
    title: "Audio",
    unit: String(unit),
    kind: "bars",
    lines: [{ name: "Audio", colour: "--series-3", values: line((one) => one.audio_seconds / Number(size), 0) }],
    show: (value) => (value === null ? UNKNOWN : `${Number(value.toPrecision(3))}`),
    total: (place) => audio(place === null ? all.total.audio_seconds : line((one) => one.audio_seconds, 0)[place]),
  });
}

/**
 * The largest groups' costs, and the rest's.
 * @param {Stats} grouped @param {number[]} times @param {(time: string) => number} at
 */
function groupLines(grouped, times, at) {
  const costly = grouped.groups
    .filter((one) => Number(one.cost_usd) > 0)
    .sort((a, b) => Number(b.cost_usd) - Number(a.cost_usd));
  const named = costly.length > SHOWN + 1 ? costly.slice(0, SHOWN) : costly;
  const names = named.map((one) => one.group);
  const rest = costly.length > named.length;
  const lines = [...names, ...(rest ? [null] : [])].map((name, place) => ({
    name: name === null ? "others" : name || "none",
    colour: name === null ? "--series-6" : `--series-${place + 1}`,
    values: times.map(() => 0),
  }));
  for (const point of grouped.series) {
    const place = names.indexOf(point.group ?? "");
    const line = lines[place >= 0 ? place : rest ? names.length : -1];
    if (line) line.values[at(point.time)] += Number(point.cost_usd);
  }
  return lines.length ? lines : [{ name: "nothing was charged", colour: "--series-6", values: times.map(() => 0) }];
}

/** All buckets of a span, also those without requests, and where one is. @param {Stats} given */
function timesOf(given) {
  const [first, last] = [Date.parse(given.since) / 1000, Date.parse(given.until) / 1000];
  const times = Array.from(
    { length: Math.max(1, Math.round((last - first) / given.bucket)) },
    (_, at) => first + at * given.bucket,
  );
  return { times, at: (/** @type {string} */ time) => Math.round((Date.parse(time) / 1000 - first) / given.bucket) };
}

/**
 * Who has the largest part.
 * @param {HTMLElement} place @param {Stats} grouped @param {string} group @param {HTMLElement} by @param {string} since
 */
function drawRanking(place, grouped, group, by, since) {
  const names = ["Requests", "Errors", "p50", "p95", "Audio", "Cost", "Per hour", "Unpriced"];
  const head = h(
    "tr",
    {},
    h("th", { scope: "col" }, GROUPS[group]),
    names.map((name) => h("th", { scope: "col", class: "number" }, name)),
  );
  const most = Math.max(...grouped.groups.map((one) => one.requests));
  const lines = grouped.groups.slice(0, ROWS).map((one) => {
    const link = one.group
      ? h("a", { href: withQuery("/requests", { [group]: one.group, since }) }, one.group)
      : h("span", { class: "muted" }, "none");
    const cells = [
      count(one.requests),
      share(one.errors / one.requests),
      milliseconds(one.latency_ms.p50),
      milliseconds(one.latency_ms.p95),
      audio(one.audio_seconds),
      money(one.cost_usd),
      Number(one.cost_usd) ? perHour(one) : UNKNOWN,
      count(one.unpriced),
    ];
    return h(
      "tr",
      {},
      h(
        "th",
        { scope: "row" },
        h(
          "div",
          { class: "ranked" },
          link,
          h("meter", { min: 0, max: most, value: one.requests, "aria-hidden": "true" }),
        ),
      ),
      cells.map((cell) => h("td", { class: "number" }, cell)),
    );
  });
  const more =
    grouped.groups.length > ROWS &&
    h("p", { class: "muted small" }, `The ${ROWS} largest of ${count(grouped.groups.length)}.`);
  const table = h("table", { class: "plain" }, h("thead", {}, head), h("tbody", {}, lines));
  const picked = document.activeElement === by;
  fill(
    place,
    h("div", { class: "card-head" }, h("h2", {}, "By"), h("label", { class: "sr-only", for: "by" }, "Group by"), by),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `By ${group}` }, table),
    more,
  );
  if (picked) by.focus();
}

/**
 * Return buttons of which one is pressed.
 * @param {string} label @param {{name: string, label: string}[]} options
 * @param {() => string} current @param {(name: string) => void} choose
 */
export function choices(label, options, current, choose) {
  const buttons = options.map((one) => h("button", { type: "button", onclick: () => choose(one.name) }, one.label));
  const element = h("div", { class: "choices", role: "group", "aria-label": label }, buttons);
  const show = () =>
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(options[at].name === current())));
  show();
  return { element, show };
}

/** @param {number} bucket seconds */
function bucketName(bucket) {
  if (bucket % 86_400 === 0) return bucket === 86_400 ? "day" : `${bucket / 86_400} days`;
  if (bucket % 3600 === 0) return bucket === 3600 ? "hour" : `${bucket / 3600} hours`;
  return bucket === 60 ? "minute" : `${bucket / 60} minutes`;
}

/** @param {number} epoch seconds */
function iso(epoch) {
  return new Date(epoch * 1000).toISOString().replace(".000Z", "Z");
}
