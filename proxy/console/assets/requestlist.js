/** The list of requests on its page: what the filters pass, what is new, and what is older. */

import { requests, withQuery } from "./api.js";
import { announce, fill, h, icon } from "./dom.js";
import { FilterBar } from "./filters.js";
import { many } from "./format.js";
import { navigate, rewrite } from "./router.js";
import { empty, failed, loading, noRequests } from "./states.js";
import { RequestTable } from "./table.js";
import { listen } from "./tail.js";

/** @typedef {import("./types.js").RequestRecord} RequestRecord @typedef {import("./api.js").Session} Session */

const PAGE = 50; // records asked for at once: a few screens full
const MOST = 1000; // lines of the table: more are slow to lay out, and nobody reads them
const GATHER = 200; // milliseconds in which new records are put in together: a busy gateway has hundreds a second
const ASK_AGAIN = 700; // milliseconds between two questions to the store when filters decide what is new
const AIMED = 800; // milliseconds after the pointer's last move in which no line may slip away below it
const SPEAK = 5000; // milliseconds between two sentences to a screen reader
const KEYS = ["↑ ↓ choose", "Enter open", "Esc back", "/ search", "p pause"];

export class RequestList {
  /** @type {Map<string, RequestRecord>} what has come and is not shown yet */
  #waiting = new Map();
  /** @type {string | null} the cursor of the page behind the last line */
  #next = null;
  #complete = false; // whether a first page has come for these filters
  #paused = false;
  #connected = false;
  #aimedAt = -AIMED; // when the pointer last moved over the lines
  #gathering = 0;
  #unspoken = 0;
  #spokenAt = 0;
  #scroll = 0;
  #visited = "";
  /** @type {AbortController | null} */
  #asking = null;
  /** @type {{close: () => void} | null} */
  #tail = null;
  /** @type {AbortController | null} ends the listeners of a list that is not shown */
  #shown = null;

  #table = new RequestTable((id) => navigate(`/requests/${id}`));
  #state = h("div", {});
  #light = h("span", { class: "live-state" });
  #older = h("button", { type: "button", class: "button", onclick: () => this.#loadOlder() }, "Load older requests");
  #news = h("button", { type: "button", class: "button primary news", onclick: () => this.#showNews(), hidden: true });
  #pause = h("button", { type: "button", class: "button", onclick: () => this.#togglePause() });
  #exports = ["jsonl", "csv"].map((format) => ({ format, link: exportLink(format) }));

  /** @param {Record<string, string>} filters what the list is narrowed to @param {Session} session */
  constructor(filters, session) {
    this.filters = filters;
    this.session = session;
    this.bar = new FilterBar(filters, () => {
      rewrite(withQuery("/requests", filters));
      this.#load();
    });
    const table = this.#table.element;
    table.addEventListener("pointermove", () => {
      this.#aimedAt = performance.now();
    });
    const end = h(
      "div",
      { class: "end" },
      this.#pause,
      this.#exports.map((one) => one.link),
    );
    this.shell = h(
      "div",
      { class: "card table-card" },
      table,
      this.#state,
      h("div", { class: "table-end" }, this.#older),
    );
    this.element = h(
      "div",
      { class: "page" },
      h("div", { class: "page-head" }, h("h1", {}, "Requests"), this.#light, end),
      this.bar.element,
      h("div", {}, h("div", { class: "news-slot" }, this.#news), this.shell),
      h(
        "p",
        { class: "muted small keys" },
        KEYS.map((text) => h("span", {}, text)),
      ),
    );
    this.#drawPause();
    this.#drawExports();
  }

  /** The ids of the lines, the newest first. */
  get ids() {
    return this.#table.ids;
  }

  // Coming and going

  /** Begin to listen; a list that was left shows its place again. @param {boolean} again */
  show(again) {
    this.#shown = new AbortController();
    const { signal } = this.#shown;
    document.addEventListener("keydown", (event) => this.#pressed(event), { signal });
    addEventListener("scroll", () => this.#scrolled(), { passive: true, signal });
    this.#tail = listen({
      record: (record) => this.#arrived(record),
      opened: () => this.#opened(),
      lost: () => this.#drawLight(false),
    });
    if (!again) {
      this.#load();
      return;
    }
    scrollTo(0, this.#scroll);
    if (this.#visited) this.#table.focusOn(this.#visited);
  }

  /** Stop listening, and keep in mind where one was. */
  leave() {
    this.#scroll = scrollY;
    const row = document.activeElement?.closest("tr[data-id]");
    this.#visited = row instanceof HTMLElement ? (row.dataset.id ?? "") : "";
    this.#tail?.close();
    this.#shown?.abort();
    clearTimeout(this.#gathering);
    this.#gathering = 0;
  }

  // What the store has

  async #load() {
    this.#complete = false;
    this.#waiting.clear();
    this.#drawNews();
    this.#drawExports();
    this.#drawLight(this.#connected);
    if (!this.#table.size) fill(this.#state, loading());
    this.shell.setAttribute("aria-busy", "true");
    this.#asking?.abort();
    const mine = (this.#asking = new AbortController());
    try {
      const page = await requests({ ...this.filters, limit: PAGE }, mine.signal);
      this.#table.clear();
      this.#table.put(page.items);
      this.#next = page.next;
      this.#complete = true;
      for (const { id } of page.items) this.#waiting.delete(id);
      this.#drawState();
      this.#offer();
    } catch (error) {
      if (!mine.signal.aborted) this.#drawFailure(error);
    } finally {
      if (this.#asking === mine) this.shell.removeAttribute("aria-busy");
    }
  }

  async #loadOlder() {
    if (this.#next === null) return;
    this.#older.disabled = true;
    try {
      const page = await requests({ ...this.filters, limit: PAGE, before: this.#next });
      this.#table.put(page.items);
      this.#next = page.next;
      this.#drawState();
      announce(`${many(page.items.length, "older request")} loaded`);
    } catch (error) {
      fill(
        this.#state,
        failed(error, () => this.#loadOlder()),
      );
    } finally {
      this.#older.disabled = false;
    }
  }

  /** Ask for the first page again: for what came while nobody listened, and for what filters pass. */
  async #askForNews() {
    if (!this.#complete || this.filters.until) return;
    const before = this.#asking;
    try {
      const page = await requests({ ...this.filters, limit: PAGE });
      if (before !== this.#asking) return; // other filters meanwhile
      /** @type {RequestRecord[]} */
      const fresh = page.items.filter((/** @type {RequestRecord} */ one) => !this.#table.has(one.id));
      if (fresh.length === PAGE && this.#table.size)
        await this.#load(); // what lies between is missing
      else for (const one of fresh) this.#waiting.set(one.id, one);
    } catch {
      // The next one that arrives asks again.
    }
  }

  // What is new

  get #filtered() {
    return Object.keys(this.filters).length > 0;
  }

  get #aiming() {
    return performance.now() - this.#aimedAt < AIMED;
  }

  /** Whether somebody would lose the line that they read, or are about to click. */
  get #reading() {
    return scrollY > this.shell.offsetTop || this.#table.hasFocus || this.#aiming;
  }

  async #opened() {
    this.#drawLight(true);
    await this.#askForNews();
    this.#offer();
  }

  /** @param {RequestRecord} record */
  #arrived(record) {
    if (this.filters.until) return; // what is shown has ended
    if (!this.#filtered && !this.#table.has(record.id)) this.#waiting.set(record.id, record);
    this.#gathering ||= setTimeout(() => this.#gathered(), this.#filtered ? ASK_AGAIN : GATHER);
  }

  async #gathered() {
    this.#gathering = 0;
    if (this.#filtered) await this.#askForNews(); // the store alone knows what the filters pass
    this.#offer();
  }

  /** Show what is new if that moves nothing under the reader's eyes or hand; else say how much it is. */
  #offer() {
    if (!this.#complete || !this.#waiting.size || !this.#shown || this.#shown.signal.aborted) return;
    if (!this.#paused && !this.#reading) this.#insert();
    if (!this.#paused && this.#aiming) this.#gathering ||= setTimeout(() => this.#gathered(), AIMED);
    else this.#drawNews();
  }

  #insert() {
    if (!this.#waiting.size) return;
    const records = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#table.put(records, { fresh: true });
    if (this.#table.trim(MOST)) this.#next = null; // what lies behind the last line is no longer the next page
    this.#drawState();
    this.#unspoken += records.length;
    if (Date.now() - this.#spokenAt < SPEAK) return;
    announce(many(this.#unspoken, "new request"));
    [this.#unspoken, this.#spokenAt] = [0, Date.now()];
  }

  #showNews() {
    this.#insert();
    this.#drawNews();
    scrollTo({ top: 0, behavior: "smooth" });
    this.#table.focusOn(this.#table.ids[0]);
  }

  #togglePause() {
    this.#paused = !this.#paused;
    if (!this.#paused && this.#complete) this.#insert();
    this.#drawNews();
    this.#drawPause();
  }

  // What is drawn

  #drawState() {
    this.#table.element.hidden = this.#table.size === 0;
    this.#older.hidden = this.#next === null || this.#table.size >= MOST;
    if (this.#table.size) fill(this.#state);
    else fill(this.#state, this.#filtered ? this.#nothingPasses() : noRequests(this.session.gateway, SOON));
  }

  #nothingPasses() {
    const button = h(
      "button",
      { type: "button", class: "button", onclick: () => this.bar.clear() },
      "Show all requests",
    );
    return empty("Nothing passes these filters", "New requests that do will show up here.", button);
  }

  /** @param {unknown} error */
  #drawFailure(error) {
    this.#table.clear();
    this.#next = null;
    this.#older.hidden = true;
    this.#table.element.hidden = true;
    fill(
      this.#state,
      failed(error, () => this.#load()),
    );
  }

  #drawNews() {
    for (const id of this.#waiting.keys()) {
      if (this.#waiting.size <= MOST) break;
      this.#waiting.delete(id);
    }
    this.#news.hidden = this.#waiting.size === 0;
    fill(this.#news, icon("up"), many(this.#waiting.size, "new request"));
  }

  #drawExports() {
    for (const { format, link } of this.#exports) {
      link.href = withQuery("/api/requests/export", { ...this.filters, format });
    }
  }

  #drawPause() {
    this.#pause.setAttribute("aria-pressed", String(this.#paused));
    fill(this.#pause, icon(this.#paused ? "play" : "pause"), this.#paused ? "Resume" : "Pause");
    this.#drawLight(this.#connected);
  }

  /** @param {boolean} connected */
  #drawLight(connected) {
    this.#connected = connected;
    const [word, kind] = this.#paused
      ? ["Paused", "paused"]
      : this.filters.until
        ? ["A span that has ended", "paused"]
        : connected
          ? ["Live", "on"]
          : ["Connecting …", "off"];
    this.#light.className = `live-state ${kind}`;
    fill(this.#light, h("span", { class: "dot", "aria-hidden": "true" }), word);
  }

  // Keys and the wheel

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key === "Escape" && target === this.bar.search) this.#table.focusCurrent();
    if (event.metaKey || event.ctrlKey || event.altKey || target.matches("input, select, textarea")) return;
    if (event.key === "/") {
      event.preventDefault();
      this.bar.search.focus();
      this.bar.search.select();
    } else if (event.key === "p") {
      this.#togglePause();
    } else if (event.key === "ArrowDown" && !this.#table.hasFocus && this.#table.size) {
      event.preventDefault();
      this.#table.focusCurrent();
    }
  }

  #scrolled() {
    if (this.#paused || !this.#complete || !this.#waiting.size || this.#reading) return;
    this.#insert();
    this.#drawNews();
  }
}

const SOON = "What goes through the gateway shows up here by itself, within a second.";

/** @param {string} format */
function exportLink(format) {
  const name = format === "csv" ? "CSV" : "JSON Lines";
  const title = `Download what the filter shows as ${name}`;
  return h("a", { class: "button", download: true, title }, icon("download"), name);
}
