/** The page of requests: filters, the table with its live tail, older ones on demand, export. */

import { requests, withQuery } from "./api.js";
import { announce, fill, h, icon } from "./dom.js";
import { filterBar, filtersFrom } from "./filters.js";
import { many } from "./format.js";
import { navigate, rewrite } from "./router.js";
import { empty, failed, loading, noRequests } from "./states.js";
import { requestTable } from "./table.js";
import { listen } from "./tail.js";

/** @typedef {import("./types.js").RequestRecord} RequestRecord @typedef {import("./types.js").Page} Page */
/** @typedef {import("./api.js").Session} Session */

const PAGE = 50; // records asked for at once: a few screens full
const MOST = 1000; // lines of the table: more are slow to lay out, and nobody reads them
const GATHER = 200; // milliseconds in which new records are put in together: a busy gateway has hundreds a second
const ASK_AGAIN = 700; // milliseconds between two questions to the store when filters decide what is new
const AIMED = 800; // milliseconds after the pointer's last move in which no line may slip away below it
const SPEAK = 5000; // milliseconds between two sentences to a screen reader

/** The list as it was left for a detail, to be shown again as it was. @type {ReturnType<typeof makeList> | null} */
let kept = null;

/** @param {URLSearchParams} query @param {Session} session @returns {Page} */
export function requestsPage(query, session) {
  const filters = filtersFrom(query);
  const same = kept && withQuery("", kept.filters) === withQuery("", filters);
  const list = same && kept ? kept : makeList(filters, session);
  kept = list;
  return {
    title: "Requests",
    element: list.element,
    parked: Boolean(same),
    leave: list.leave,
    shown: () => list.shown(Boolean(same)),
  };
}

/** The ids on both sides of one in the list that is kept: the newer and the older. @param {string} id */
export function neighbours(id) {
  const ids = kept?.ids() ?? [];
  const at = ids.indexOf(id);
  return { newer: at > 0 ? ids[at - 1] : null, older: at >= 0 && at + 1 < ids.length ? ids[at + 1] : null };
}

/** Forget the list: somebody else may come to this page. */
export function forgetList() {
  kept = null;
}

/** The list's own address, with its filters. */
export const listAddress = () => withQuery("/requests", kept?.filters ?? {});

/** @param {Record<string, string>} filters @param {Session} session */
function makeList(filters, session) {
  /** @type {Map<string, RequestRecord>} */
  const waiting = new Map();
  /** @type {string | null} */
  let next = null;
  let paused = false;
  let complete = false; // whether a first page has come for these filters
  let aimedAt = -AIMED; // when the pointer last moved over the lines
  let [scroll, visited, unspoken, spokenAt, gathering] = [0, "", 0, 0, 0];
  /** @type {AbortController | null} */
  let asking = null;
  /** @type {{close: () => void} | null} */
  let tail = null;

  const table = requestTable((id) => navigate(`/requests/${id}`));
  const state = h("div", {});
  const older = h("button", { type: "button", class: "button", onclick: loadOlder }, "Load older requests");
  const news = h("button", { type: "button", class: "button primary news", onclick: showNews, hidden: true });
  const pause = h("button", { type: "button", class: "button", "aria-pressed": "false", onclick: togglePause });
  const light = h("span", { class: "live-state" });
  const exports = ["jsonl", "csv"].map((format) => {
    const name = format === "csv" ? "CSV" : "JSON Lines";
    return {
      format,
      link: h(
        "a",
        { class: "button", download: true, title: `Download what the filter shows as ${name}` },
        icon("download"),
        name,
      ),
    };
  });
  const bar = filterBar(filters, changed);
  const head = h(
    "div",
    { class: "page-head" },
    h("h1", {}, "Requests"),
    light,
    h(
      "div",
      { class: "end" },
      pause,
      exports.map((one) => one.link),
    ),
  );
  const keys = h(
    "p",
    { class: "muted small keys" },
    ["↑ ↓ choose", "Enter open", "Esc back", "/ search", "p pause"].map((text) => h("span", {}, text)),
  );
  const shell = h("div", { class: "card table-card" }, table.element, state, h("div", { class: "table-end" }, older));
  const element = h(
    "div",
    { class: "page" },
    head,
    bar.element,
    h("div", {}, h("div", { class: "news-slot" }, news), shell),
    keys,
  );

  table.element.addEventListener("pointermove", () => {
    aimedAt = performance.now();
  });
  const filtered = () => Object.keys(filters).length > 0;
  const aiming = () => performance.now() - aimedAt < AIMED;
  const reading = () => scrollY > shell.offsetTop || table.hasFocus() || aiming();

  function changed() {
    rewrite(withQuery("/requests", filters));
    load();
  }

  async function load() {
    complete = false;
    waiting.clear();
    drawNews();
    drawExports();
    if (!table.size()) fill(state, loading());
    shell.setAttribute("aria-busy", "true");
    asking?.abort();
    const mine = (asking = new AbortController());
    try {
      const page = await requests({ ...filters, limit: PAGE }, mine.signal);
      table.clear();
      table.put(page.items);
      next = page.next;
      complete = true;
      drawState();
    } catch (error) {
      if (mine.signal.aborted) return;
      table.clear();
      next = null;
      older.hidden = true;
      table.element.hidden = true;
      fill(state, failed(error, load));
    } finally {
      if (asking === mine) shell.removeAttribute("aria-busy");
    }
  }

  async function loadOlder() {
    if (next === null) return;
    older.disabled = true;
    try {
      const page = await requests({ ...filters, limit: PAGE, before: next });
      table.put(page.items);
      next = page.next;
      drawState();
      announce(`${many(page.items.length, "older request")} loaded`);
    } catch (error) {
      fill(state, failed(error, loadOlder));
    } finally {
      older.disabled = false;
    }
  }

  function drawState() {
    table.element.hidden = table.size() === 0;
    older.hidden = next === null || table.size() >= MOST;
    if (table.size()) return fill(state);
    const button = h("button", { type: "button", class: "button", onclick: bar.clear }, "Show all requests");
    const waitingText = "What goes through the gateway shows up here by itself, within a second.";
    fill(
      state,
      filtered()
        ? empty("Nothing passes these filters", "New requests that do will show up here.", button)
        : noRequests(session.gateway, waitingText),
    );
  }

  function drawExports() {
    for (const { format, link } of exports) link.href = withQuery("/api/requests/export", { ...filters, format });
  }

  // What is new

  /** @param {RequestRecord} record */
  function arrived(record) {
    if (filters.until) return; // what is shown has ended
    if (!filtered() && !table.has(record.id)) waiting.set(record.id, record);
    gathering ||= setTimeout(gathered, filtered() ? ASK_AGAIN : GATHER);
  }

  async function gathered() {
    gathering = 0;
    if (filtered()) await askForNews(); // the store alone knows what the filters pass
    offer();
  }

  /** Show what is new if that moves nothing under the reader's eyes or hand; else say how much it is. */
  function offer() {
    if (!waiting.size) return;
    if (!paused && !reading()) insert();
    if (!paused && aiming()) gathering ||= setTimeout(gathered, AIMED);
    else drawNews();
  }

  /** Ask for the first page again: for what came while nobody listened, and for what filters pass. */
  async function askForNews() {
    if (!complete || filters.until) return;
    const mine = asking;
    try {
      const page = await requests({ ...filters, limit: PAGE });
      if (mine !== asking) return; // other filters meanwhile
      const fresh = page.items.filter((/** @type {RequestRecord} */ one) => !table.has(one.id));
      if (fresh.length === PAGE && table.size()) return load(); // what lies between is missing
      for (const one of fresh) waiting.set(one.id, one);
    } catch {
      // The next one that arrives asks again.
    }
  }

  function insert() {
    if (!complete || !waiting.size) return;
    const records = [...waiting.values()];
    waiting.clear();
    table.put(records, { fresh: true });
    if (table.size() > MOST) table.trim(MOST);
    drawState();
    unspoken += records.length;
    if (Date.now() - spokenAt > SPEAK) {
      announce(many(unspoken, "new request"));
      [unspoken, spokenAt] = [0, Date.now()];
    }
  }

  function drawNews() {
    while (waiting.size > MOST) waiting.delete(/** @type {string} */ (waiting.keys().next().value));
    const text = `${many(waiting.size, "new request")}`;
    news.hidden = waiting.size === 0;
    fill(news, icon("up"), text);
  }

  function showNews() {
    insert();
    drawNews();
    scrollTo({ top: 0, behavior: "smooth" });
    table.focusOn(table.ids()[0]);
  }

  function togglePause() {
    paused = !paused;
    if (!paused) insert();
    drawNews();
    drawPause();
  }

  function drawPause() {
    pause.setAttribute("aria-pressed", String(paused));
    fill(pause, icon(paused ? "play" : "pause"), paused ? "Resume" : "Pause");
    drawLight();
  }

  let connected = false;
  function drawLight() {
    const [word, kind] = paused
      ? ["Paused", "paused"]
      : filters.until
        ? ["A span that has ended", "paused"]
        : connected
          ? ["Live", "on"]
          : ["Connecting …", "off"];
    light.className = `live-state ${kind}`;
    fill(light, h("span", { class: "dot", "aria-hidden": "true" }), word);
  }

  // Keys and coming back

  /** @param {KeyboardEvent} event */
  function pressed(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const typing = target.matches("input, select, textarea");
    if (event.key === "Escape" && target === bar.search) table.focusCurrent();
    if (event.metaKey || event.ctrlKey || event.altKey || typing) return;
    if (event.key === "/") {
      event.preventDefault();
      bar.search.focus();
      bar.search.select();
    } else if (event.key === "p") {
      togglePause();
    } else if (event.key === "ArrowDown" && !table.hasFocus() && table.size()) {
      event.preventDefault();
      table.focusCurrent();
    }
  }

  function scrolled() {
    if (!paused && waiting.size && !reading()) {
      insert();
      drawNews();
    }
  }

  /** @param {boolean} again whether the list was there before */
  function shown(again) {
    document.addEventListener("keydown", pressed);
    addEventListener("scroll", scrolled, { passive: true });
    tail = listen({
      record: arrived,
      opened: async () => {
        connected = true;
        drawLight();
        await askForNews();
        offer();
      },
      lost: () => {
        connected = false;
        drawLight();
      },
    });
    if (again) {
      scrollTo(0, scroll);
      if (visited) table.focusOn(visited);
    } else {
      load();
    }
  }

  function leave() {
    scroll = scrollY;
    visited = /** @type {HTMLElement | null} */ (document.activeElement?.closest("tr[data-id]"))?.dataset.id ?? "";
    tail?.close();
    clearTimeout(gathering);
    gathering = 0;
    document.removeEventListener("keydown", pressed);
    removeEventListener("scroll", scrolled);
  }

  drawPause();
  drawExports();
  return { filters, element, ids: table.ids, shown, leave };
}
