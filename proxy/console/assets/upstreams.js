/** Where requests go: each upstream's circuit, what is under way, and how it did lately. */

import { upstreams, withQuery } from "./api.js";
import { fill, h } from "./dom.js";
import { UNKNOWN, count, milliseconds, share } from "./format.js";
import { refresh } from "./refresh.js";
import { failed, loading } from "./states.js";

/** @typedef {import("./types.js").Page} Page */
/**
 * @typedef {{provider: string, base_url: string | null, kind: string, used?: boolean, circuit: string,
 *   in_flight: number,
 *   recent: {window_seconds: number, requests: number, errors: number, error_rate: number | null,
 *     latency_ms: {p50: number | null, p95: number | null, p99: number | null}} | null,
 *   virtual_keys: string[], configs: string[]}} Upstream
 */

const EVERY = 5000; // milliseconds: a circuit opens for tens of seconds
/** @type {Record<string, {name: string, tone: string, why: string}>} */
const CIRCUITS = {
  closed: { name: "Closed", tone: "ok", why: "Requests go through." },
  half_open: { name: "Half open", tone: "warn", why: "It failed; single requests try whether it is back." },
  open: { name: "Open", tone: "bad", why: "It failed too often: requests go elsewhere until it is tried again." },
};

/** @returns {Page} */
export function upstreamsPage() {
  const place = h("div", { class: "page" }, h("div", { class: "card" }, loading()));
  const head = h(
    "div",
    { class: "page-head" },
    h("h1", {}, "Upstreams"),
    h("p", { class: "muted small" }, "Figures of the last 15 minutes; circuits and requests under way are of now."),
  );
  const others = h("details", { class: "card raw" });
  const ask = async (/** @type {AbortSignal} */ signal) => {
    try {
      /** @type {{items: Upstream[]}} */
      const { items } = await upstreams(signal);
      const used = items.filter((one) => one.used ?? true);
      const rest = items.filter((one) => !(one.used ?? true));
      fill(others, h("summary", {}, h("h2", {}, `Known, but not used (${rest.length})`)), table(rest));
      fill(
        place,
        used.length
          ? h("div", { class: "upstreams" }, used.map(card))
          : h("p", { class: "muted" }, "No upstream has been used in the last 15 minutes, and the settings name none."),
        rest.length ? others : null,
      );
    } catch (error) {
      if (!signal.aborted)
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
  return {
    title: "Upstreams",
    element: h("div", { class: "page" }, head, place),
    shown: () => {
      loop = refresh(ask, EVERY);
    },
    leave: () => loop.close(),
  };
}

/** @param {Upstream} one */
function card(one) {
  const circuit = CIRCUITS[one.circuit] ?? { name: one.circuit, tone: "warn", why: "" };
  const recent = one.recent;
  const latency = recent?.latency_ms;
  const numbers = [
    ["In flight", count(one.in_flight)],
    ["Requests", recent ? count(recent.requests) : UNKNOWN],
    ["Its errors", recent ? share(recent.error_rate) : UNKNOWN],
    ["p50", milliseconds(latency?.p50)],
    ["p95", milliseconds(latency?.p95)],
    ["p99", milliseconds(latency?.p99)],
  ];
  return h(
    "section",
    { class: "card upstream", "aria-label": one.provider },
    h(
      "div",
      { class: "card-head" },
      h("h2", {}, h("a", { href: withQuery("/requests", { provider: one.provider }) }, one.provider)),
      h("span", { class: `badge ${circuit.tone}`, title: circuit.why }, `Circuit ${circuit.name.toLowerCase()}`),
    ),
    h("p", { class: "muted small mono url" }, one.base_url ?? "no address of its own"),
    one.circuit === "closed" ? null : h("p", { class: "small" }, circuit.why),
    h(
      "dl",
      { class: "numbers" },
      numbers.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
    ),
    tags("Virtual keys", one.virtual_keys),
    tags("Configs", one.configs),
  );
}

/** @param {string} name @param {string[]} values */
function tags(name, values) {
  if (!values.length) return null;
  return h(
    "div",
    { class: "tags small" },
    h("span", { class: "muted" }, name),
    values.map((value) => h("span", { class: "badge mute" }, value)),
  );
}

/** @param {Upstream[]} items */
function table(items) {
  const lines = items.map((one) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, one.provider),
      h("td", { class: "mono" }, one.base_url ?? UNKNOWN),
      h("td", {}, one.kind === "own" ? "from the settings" : "built in"),
    ),
  );
  const head = ["Provider", "Address", "Kind"].map((name) => h("th", { scope: "col" }, name));
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Upstreams not used" },
    h("table", { class: "plain" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, lines)),
  );
}
