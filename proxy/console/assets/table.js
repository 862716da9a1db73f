/** The table of requests: one line each, the newest on top, walked through with the arrow keys. */

import { fill, h } from "./dom.js";
import { UNKNOWN, many, milliseconds, moment, money, seconds, wholeMoment } from "./format.js";
import { model, outcome, route } from "./words.js";

/** @typedef {import("./types.js").RequestRecord} RequestRecord */

const START = 160; // characters of a transcript that a line shows

const COLUMNS = [
  { name: "Time", kind: "time" },
  { name: "Status", kind: "status" },
  { name: "Route", kind: "route" },
  { name: "Provider · model", kind: "target" },
  { name: "Audio", kind: "audio number" },
  { name: "Latency", kind: "latency number" },
  { name: "Cost", kind: "cost number" },
  { name: "Transcript", kind: "text" },
];

export class RequestTable {
  /** @type {Map<string, HTMLTableRowElement>} */
  #rows = new Map();
  #body = h("tbody", { role: "rowgroup" });

  /** @param {(id: string) => void} open called with the id of the request that somebody wants to see */
  constructor(open) {
    this.open = open;
    const head = COLUMNS.map(({ name, kind }) => h("th", { scope: "col", role: "columnheader", class: kind }, name));
    this.element = h(
      "table",
      { class: "requests", role: "table", "aria-label": "Requests, the newest first" },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
      this.#body,
    );
    this.#body.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#pressed(event));
    this.#body.addEventListener("click", (/** @type {MouseEvent} */ event) => this.#clicked(event));
  }

  /** How many lines there are. */
  get size() {
    return this.#rows.size;
  }

  /** The ids of the lines, the newest first. @returns {string[]} */
  get ids() {
    return [...this.#body.children].map((row) => row.dataset.id);
  }

  /** Whether one walks through the lines. @returns {boolean} */
  get hasFocus() {
    return this.#body.contains(document.activeElement);
  }

  /** @param {string} id */
  has(id) {
    return this.#rows.has(id);
  }

  clear() {
    this.#rows.clear();
    fill(this.#body);
  }

  /**
   * Put records in their places, the newest first; those that are there already stay.
   * @param {RequestRecord[]} records @param {{fresh?: boolean}} [options] fresh: make it seen that they are new
   */
  put(records, { fresh = false } = {}) {
    for (const record of records) {
      if (this.#rows.has(record.id)) continue;
      const row = line(record);
      if (fresh) row.classList.add("fresh");
      this.#rows.set(record.id, row);
      place(this.#body, row);
    }
    if (!this.#current) this.#body.firstElementChild?.setAttribute("tabindex", "0");
  }

  /** Drop the oldest lines beyond `most`; return whether there were any. @param {number} most */
  trim(most) {
    const many = this.#rows.size;
    while (this.#rows.size > most) {
      const last = this.#body.lastElementChild;
      this.#rows.delete(last.dataset.id);
      last.remove();
    }
    return many > most;
  }

  /** @param {string} id */
  focusOn(id) {
    this.#focus(this.#rows.get(id));
  }

  focusCurrent() {
    this.#focus(this.#current ?? this.#body.firstElementChild);
  }

  /** The line that the Tab key leads to. @returns {HTMLElement | null} */
  get #current() {
    return this.#body.querySelector('tr[tabindex="0"]');
  }

  /** @param {HTMLElement | null | undefined} row */
  #focus(row) {
    if (!row) return;
    this.#current?.setAttribute("tabindex", "-1");
    row.setAttribute("tabindex", "0");
    row.focus();
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const row = /** @type {HTMLElement} */ (event.target).closest("tr");
    if (!row || event.metaKey || event.ctrlKey || event.altKey) return;
    /** @type {Record<string, any>} */
    const goals = {
      ArrowDown: row.nextElementSibling,
      ArrowUp: row.previousElementSibling,
      Home: this.#body.firstElementChild,
      End: this.#body.lastElementChild,
    };
    if (event.key in goals) {
      event.preventDefault();
      this.#focus(goals[event.key]);
    } else if (event.key === "Enter" && event.target === row) {
      this.open(row.dataset.id ?? "");
    }
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const row = target.closest("tr");
    if (!row || target.closest("a") || event.metaKey || event.ctrlKey || String(getSelection() ?? "")) return;
    this.open(row.dataset.id ?? "");
  }
}

/** Put a row before the first that is older. @param {HTMLElement} body @param {HTMLTableRowElement} row */
function place(body, row) {
  const key = row.dataset.order ?? "";
  /** @param {Element | null} other */
  const older = (other) => other instanceof HTMLElement && (other.dataset.order ?? "") < key;
  if (!body.lastElementChild || !older(body.lastElementChild)) {
    body.append(row);
    return;
  }
  let before = body.firstElementChild;
  while (before && !older(before)) before = before.nextElementSibling;
  body.insertBefore(row, before);
}

/** @param {RequestRecord} record @returns {HTMLTableRowElement} */
function line(record) {
  const said = record.transcript;
  const { name, tone } = outcome(record.outcome);
  const link = h("a", { href: `/requests/${record.id}`, tabindex: "-1" }, moment(record.time));
  const cells = {
    time: h("time", { datetime: record.time, title: wholeMoment(record.time) }, link),
    status: [
      h(
        "span",
        { class: `badge ${tone}` },
        record.status === null ? name : `${record.status}`,
        record.outcome !== "ok" && h("span", { class: "badge-word" }, record.error_code ?? name),
      ),
      record.retry_count > 0 && h("span", { class: "mark" }, many(record.attempts.length, "attempt")),
    ],
    route: route(record.route),
    target: record.provider
      ? [
          h("span", { class: "provider" }, record.provider),
          model(record) && h("span", { class: "muted" }, ` · ${model(record)}`),
        ]
      : h("span", { class: "muted" }, model(record) ?? UNKNOWN),
    audio: record.audio.seconds === null ? UNKNOWN : seconds(record.audio.seconds),
    latency: milliseconds(record.timing_ms.total),
    cost: money(record.cost_usd),
    text: said ? said.slice(0, START) : h("span", { class: "muted" }, instead(record)),
  };
  return h(
    "tr",
    {
      role: "row",
      tabindex: "-1",
      "data-id": record.id,
      "data-order": `${record.time}${record.id}`,
      "aria-label": [name, route(record.route), record.provider, model(record), moment(record.time)]
        .filter(Boolean)
        .join(", "),
    },
    Object.entries(cells).map(([kind, content], at) => h("td", { role: "cell", class: COLUMNS[at].kind }, content)),
  );
}

/** What stands where a transcript would. @param {RequestRecord} record */
function instead(record) {
  if (record.transcript === "") return "(nothing was said)";
  return record.audio.filename ?? UNKNOWN;
}
