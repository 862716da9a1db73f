/** The table of requests: one line each, the newest on top, walked through with the arrow keys. */

import { fill, h } from "./dom.js";
import { UNKNOWN, milliseconds, moment, money, seconds, wholeMoment } from "./format.js";
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

/** @param {(id: string) => void} open */
export function requestTable(open) {
  const body = h("tbody", { role: "rowgroup" });
  const head = COLUMNS.map(({ name, kind }) => h("th", { scope: "col", role: "columnheader", class: kind }, name));
  const element = h(
    "table",
    { class: "requests", role: "table", "aria-label": "Requests, the newest first" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
    body,
  );
  /** @type {Map<string, {record: RequestRecord, row: HTMLTableRowElement}>} */
  const known = new Map();

  /** @param {HTMLElement | null | undefined} row */
  const focus = (row) => {
    if (!row) return;
    for (const other of body.querySelectorAll('tr[tabindex="0"]')) other.setAttribute("tabindex", "-1");
    row.setAttribute("tabindex", "0");
    row.focus();
  };
  const current = () =>
    /** @type {HTMLElement | null} */ (body.querySelector('tr[tabindex="0"]') ?? body.firstElementChild);

  body.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const row = /** @type {HTMLElement} */ (event.target).closest("tr");
    if (!row || event.metaKey || event.ctrlKey || event.altKey) return;
    /** @type {Record<string, any>} */
    const goals = {
      ArrowDown: row.nextElementSibling,
      ArrowUp: row.previousElementSibling,
      Home: body.firstElementChild,
      End: body.lastElementChild,
    };
    if (event.key in goals) {
      event.preventDefault();
      focus(goals[event.key]);
    } else if (event.key === "Enter" && event.target === row) {
      open(row.dataset.id ?? "");
    }
  });
  body.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const row = target.closest("tr");
    if (!row || target.closest("a") || event.metaKey || event.ctrlKey || String(getSelection() ?? "")) return;
    open(row.dataset.id ?? "");
  });

  return {
    element,
    /** How many lines there are. */
    size: () => known.size,
    /** @param {string} id */
    has: (id) => known.has(id),
    /** @returns {string[]} ids, the newest first */
    ids: () => [...body.children].map((row) => /** @type {HTMLElement} */ (row).dataset.id ?? ""),
    /** The times that lines show without their day, again. */
    clear() {
      known.clear();
      fill(body);
    },
    /**
     * Put records in their places, the newest first; those that are there already stay.
     * @param {RequestRecord[]} records @param {{fresh?: boolean}} [options] fresh: make it seen that they are new
     */
    put(records, { fresh = false } = {}) {
      for (const record of records) {
        if (known.has(record.id)) continue;
        const row = line(record);
        if (fresh) row.classList.add("fresh");
        known.set(record.id, { record, row });
        place(body, row);
      }
      if (!body.querySelector('tr[tabindex="0"]')) body.firstElementChild?.setAttribute("tabindex", "0");
    },
    /** Drop the oldest lines beyond `most`. @param {number} most @returns {RequestRecord | null} the last that stays */
    trim(most) {
      while (known.size > most) {
        const last = /** @type {HTMLElement} */ (body.lastElementChild);
        known.delete(last.dataset.id ?? "");
        last.remove();
      }
      const last = /** @type {HTMLElement | null} */ (body.lastElementChild);
      return (last && known.get(last.dataset.id ?? "")?.record) ?? null;
    },
    /** @param {string} id */
    focusOn: (id) => focus(known.get(id)?.row),
    focusCurrent: () => focus(current()),
    hasFocus: () => body.contains(document.activeElement),
  };
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
    status: h(
      "span",
      { class: `badge ${tone}` },
      record.status === null ? name : `${record.status}`,
      record.outcome !== "ok" && h("span", { class: "badge-word" }, record.error_code ?? name),
    ),
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
