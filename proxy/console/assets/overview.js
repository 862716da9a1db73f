/** How it goes: figures and charts of a span, and who has the largest part in it. */

import { stats, withQuery } from "./api.js";
import { ChartCard } from "./charts.js";
import { choices } from "./choices.js";
import { fill, h } from "./dom.js";
import { UNKNOWN, audio, count, milliseconds, money, share } from "./format.js";
import { chartsOf } from "./overviewcharts.js";
import { refresh } from "./refresh.js";
import { rewrite } from "./router.js";
import { empty, failed, loading, noRequests } from "./states.js";

/** @typedef {import("./types.js").Page} Page @typedef {import("./types.js").Measures} Measures */
/** @typedef {import("./types.js").Stats} Stats */
/** @typedef {import("./api.js").Session} Session */

const SPANS = [
  { name: "1h", label: "1 hour", words: "the last hour" },
  { name: "24h", label: "24 hours", words: "the last 24 hours" },
  { name: "7d", label: "7 days", words: "the last 7 days" },
  { name: "30d", label: "30 days", words: "the last 30 days" },
];
const USUAL = SPANS[1];
/** @type {Record<string, string>} */
const GROUPS = { model: "Model", provider: "Provider", key: "Key", route: "Route" };
const EVERY = 10_000; // milliseconds between two questions: the shortest bucket is a minute
const ROWS = 20; // groups of the table: the largest

/** @param {URLSearchParams} query @param {Session} session @returns {Page} */
export function overviewPage(query, session) {
  const overview = new Overview(query, session);
  return {
    title: "Overview",
    element: overview.element,
    shown: () => overview.show(),
    leave: () => overview.leave(),
  };
}

class Overview {
  #charts = ["requests", "latency", "cost", "audio"].map(() => new ChartCard());
  #figures = h("dl", { class: "figures" });
  #ranking = h("section", { class: "card", "aria-label": "Shares" });
  #place = h("div", { class: "page" }, loading(8));
  #showing = false; // whether there is something to show, and not a word on why there is not
  /** @type {{now: () => void, close: () => void} | null} */
  #loop = null;

  /** @param {URLSearchParams} query @param {Session} session */
  constructor(query, session) {
    this.session = session;
    this.span = SPANS.find(({ name }) => name === query.get("span")) ?? USUAL;
    this.group = Object.keys(GROUPS).find((name) => name === query.get("by")) ?? "model";
    const options = Object.entries(GROUPS).map(([value, label]) => h("option", { value }, label));
    this.by = h("select", { id: "by", onchange: () => this.#choose(this.span.name, this.by.value) }, options);
    this.by.value = this.group;
    const current = () => this.span.name;
    this.picker = choices("Span", SPANS, current, (name) => this.#choose(name, this.group));
    const end = h("div", { class: "end" }, this.picker.element);
    this.element = h(
      "div",
      { class: "page" },
      h("div", { class: "page-head" }, h("h1", {}, "Overview"), end),
      this.#place,
    );
    const cards = this.#charts.map((chart) => chart.element);
    this.body = [this.#figures, h("div", { class: "charts" }, cards), this.#ranking];
  }

  show() {
    this.#loop = refresh((signal) => this.#ask(signal), EVERY);
  }

  leave() {
    this.#loop?.close();
    for (const chart of this.#charts) chart.close();
  }

  /** @param {string} span @param {string} group */
  #choose(span, group) {
    this.span = SPANS.find(({ name }) => name === span) ?? USUAL;
    this.group = group;
    rewrite(withQuery("/", { span: this.span === USUAL ? "" : span, by: group === "model" ? "" : group }));
    this.picker.show();
    this.#loop?.now();
  }

  /** @param {AbortSignal} signal */
  async #ask(signal) {
    const since = this.span.name;
    try {
      const [all, grouped] = await Promise.all([
        stats({ since }, signal),
        stats({ since, group_by: this.group }, signal),
      ]);
      if (all.total.requests) this.#draw(all, grouped);
      else this.#say(await nothing(this.span, this.session, signal));
    } catch (error) {
      const again = () => this.#loop?.now();
      if (!signal.aborted) this.#say(failed(error, again));
    }
  }

  /** @param {HTMLElement} words */
  #say(words) {
    this.#showing = false;
    fill(this.#place, h("div", { class: "card" }, words));
  }

  /** @param {Stats} all @param {Stats} grouped */
  #draw(all, grouped) {
    if (!this.#showing) fill(this.#place, this.body);
    this.#showing = true;
    fill(this.#figures, figures(all.total));
    chartsOf(all, grouped, this.group).forEach((chart, at) => this.#charts[at].set(chart));
    drawRanking(this.#ranking, grouped, this.group, this.by, this.span.name);
  }
}

/**
 * Say that there is nothing, and whether there ever was.
 * @param {typeof SPANS[0]} span @param {Session} session @param {AbortSignal} signal
 */
async function nothing(span, session, signal) {
  const ever = await stats({ since: "365d", bucket: "1d" }, signal);
  const soon = "Figures and charts show up here as soon as the gateway has served one.";
  if (!ever.total.requests) return noRequests(session.gateway, soon);
  const text = `${count(ever.total.requests)} came before that. Choose a longer span to see them.`;
  return empty(`No requests in ${span.words}`, text);
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
