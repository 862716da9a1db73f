/** What the overview's charts show: a span's series, bucket by bucket. */

import { withQuery } from "./api.js";
import { UNKNOWN, audio, count, milliseconds, money } from "./format.js";
import { navigate } from "./router.js";

/** @typedef {import("./types.js").Stats} Stats @typedef {import("./types.js").Measures} Measures */
/** @typedef {import("./charts.js").Chart} Chart */

const SHOWN = 5; // groups with a colour of their own; the rest is one

/**
 * Return the charts of a span: requests, latency, cost, audio.
 * @param {Stats} all @param {Stats} grouped @param {string} group
 * @returns {Chart[]}
 */
export function chartsOf(all, grouped, group) {
  const { times, at } = timesOf(all);
  /** @param {(measures: Measures) => number | null} pick @param {number | null} without */
  const line = (pick, without) => {
    const values = times.map(() => without);
    for (const point of all.series) values[at(point.time)] = pick(point);
    return values;
  };
  const open = (/** @type {number} */ place) => {
    navigate(withQuery("/requests", { since: iso(times[place]), until: iso(times[place] + all.bucket) }));
  };
  const base = { times, bucket: all.bucket, open };
  const cost = costChart(all, grouped, group, times, at);
  return [requestChart(all, line), latencyChart(line), cost, audioChart(all, line)].map((chart) => ({
    ...base,
    ...chart,
  }));
}

/** @typedef {(pick: (measures: Measures) => number | null, without: number | null) => (number | null)[]} Draw */

/** @param {Stats} all @param {Draw} line */
function requestChart(all, line) {
  return {
    title: "Requests",
    unit: `per ${bucketName(all.bucket)}`,
    kind: BARS,
    lines: [
      { name: "Errors", colour: "--bad-fill", values: line((one) => one.errors, 0) },
      { name: "OK", colour: "--series-1", values: line((one) => one.requests - one.errors, 0) },
    ],
    show: count,
    whole: true,
  };
}

/** @param {Draw} line */
function latencyChart(line) {
  /** @type {{name: "p50" | "p95" | "p99", colour: string, dash?: number[]}[]} */
  const percentiles = [
    { name: "p50", colour: "--series-1" },
    { name: "p95", colour: "--series-3" },
    { name: "p99", colour: "--series-2", dash: [5, 4] },
  ];
  return {
    title: "Latency",
    unit: "from first byte to last",
    kind: LINES,
    lines: percentiles.map((one) => ({ ...one, values: line(({ latency_ms: times }) => times[one.name], null) })),
    show: milliseconds,
  };
}

/**
 * What the groups cost.
 * @param {Stats} all @param {Stats} grouped @param {string} group
 * @param {number[]} times @param {(time: string) => number} at
 */
function costChart(all, grouped, group, times, at) {
  const sums = times.map(() => 0);
  for (const point of all.series) sums[at(point.time)] = Number(point.cost_usd);
  return {
    title: `Cost by ${group}`,
    unit: "US dollars",
    kind: BARS,
    lines: groupLines(grouped, times, at),
    show: money,
    total: (/** @type {number | null} */ place) => money(place === null ? all.total.cost_usd : sums[place]),
  };
}

/** @param {Stats} all @param {Draw} line */
function audioChart(all, line) {
  const longest = Math.max(...all.series.map((one) => one.audio_seconds));
  const [unit, size] = longest >= 3600 ? HOURS : longest >= 60 ? MINUTES : SECONDS;
  const seconds = line((one) => one.audio_seconds, 0);
  const values = seconds.map((value) => (value ?? 0) / size);
  return {
    title: "Audio",
    unit,
    kind: BARS,
    lines: [{ name: "Audio", colour: "--series-3", values }],
    show: (/** @type {number | null} */ value) => (value === null ? UNKNOWN : `${Number(value.toPrecision(3))}`),
    total: (/** @type {number | null} */ place) => audio(place === null ? all.total.audio_seconds : seconds[place]),
  };
}

/** @type {[string, number]} */
const HOURS = ["hours", 3600];
/** @type {[string, number]} */
const MINUTES = ["minutes", 60];
/** @type {[string, number]} */
const SECONDS = ["seconds", 1];
/** @type {"bars"} */
const BARS = "bars";
/** @type {"lines"} */
const LINES = "lines";

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
