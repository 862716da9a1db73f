/** What the table is narrowed to. It lives in the address, and so survives reload, back and being sent to others. */

import { stats } from "./api.js";
import { fill, h, icon } from "./dom.js";
import { moment } from "./format.js";
import { OUTCOMES, ROUTES } from "./words.js";

/** The API's own names; `q` is text. */
export const NAMES = ["q", "since", "until", "status", "outcome", "route", "provider", "model", "key"];

const TYPING = 250; // milliseconds after the last letter: a search for each would be answered too late to matter
/** @type {Record<string, string>} */
const SPANS = {
  "15m": "Last 15 minutes",
  "1h": "Last hour",
  "24h": "Last 24 hours",
  "7d": "Last 7 days",
  "30d": "Last 30 days",
};
const STATUSES = ["2xx", "4xx", "5xx", "401", "408", "413", "429", "499", "502", "503", "504"];

/** @typedef {Record<string, string>} Filters */

/** Return what an address asks for. @param {URLSearchParams} query @returns {Filters} */
export function filtersFrom(query) {
  const given = NAMES.map((name) => [name, query.get(name)?.trim() ?? ""]);
  return Object.fromEntries(given.filter(([, value]) => value));
}

/**
 * Return the bar of filters.
 * @param {Filters} filters what is in force; changed in place
 * @param {() => void} changed
 */
export function filterBar(filters, changed) {
  const search = h("input", {
    id: "q",
    type: "search",
    placeholder: "Search transcripts and file names",
    "aria-keyshortcuts": "/",
    autocomplete: "off",
    spellcheck: "false",
  });
  const chips = h("ul", { class: "chips", "aria-label": "Filters in force" });
  const more = h("div", { class: "filters-more", id: "filters-more" });
  const toggle = h("button", { type: "button", class: "button filters-toggle", "aria-controls": "filters-more" });

  /** @param {string} name @param {string} value */
  const set = (name, value) => {
    if (value) filters[name] = value;
    else delete filters[name];
    draw();
    changed();
  };
  const selects = [
    choice("Time", "since", Object.entries(SPANS), filters, set),
    choice(
      "Status",
      "status",
      STATUSES.map((one) => [one, one]),
      filters,
      set,
    ),
    choice(
      "Outcome",
      "outcome",
      Object.entries(OUTCOMES).map(([key, { name }]) => [key, name]),
      filters,
      set,
    ),
    choice("Route", "route", Object.entries(ROUTES), filters, set),
  ];
  const texts = [
    word("Provider", "provider", filters, set),
    word("Model", "model", filters, set),
    word("Key", "key", filters, set),
  ];
  fill(
    more,
    [...selects, ...texts].map((one) => one.element),
  );

  let timer = 0;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => set("q", search.value.trim()), TYPING);
  });
  search.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Enter") return;
    clearTimeout(timer);
    set("q", search.value.trim());
  });

  const clear = () => {
    for (const name of NAMES) delete filters[name];
    draw();
    changed();
  };
  const draw = () => {
    if (document.activeElement !== search) search.value = filters.q ?? "";
    for (const one of [...selects, ...texts]) one.show();
    const given = NAMES.filter((name) => filters[name] && name !== "q");
    const close = (/** @type {string} */ name) =>
      h(
        "button",
        { type: "button", onclick: () => set(name, ""), "aria-label": `Remove the filter ${name}` },
        icon("close"),
      );
    fill(
      chips,
      given.map((name) => h("li", { class: "chip" }, `${name}: ${shown(name, filters[name])}`, close(name))),
      given.length > 1 &&
        h("li", {}, h("button", { type: "button", class: "button quiet", onclick: clear }, "Clear all")),
    );
    chips.hidden = given.length === 0;
    fill(toggle, icon("filter"), given.length ? `Filters (${given.length})` : "Filters");
  };
  toggle.setAttribute("aria-expanded", "false");
  toggle.addEventListener("click", () => {
    const open = more.classList.toggle("open");
    toggle.setAttribute("aria-expanded", String(open));
  });
  draw();

  const label = h("label", { class: "sr-only", for: "q" }, "Search transcripts and file names");
  const box = h("div", { class: "search" }, label, icon("search"), search, h("kbd", { "aria-hidden": "true" }, "/"));
  const element = h(
    "form",
    { class: "filters", role: "search" },
    h("div", { class: "filters-first" }, box, toggle),
    more,
    chips,
  );
  element.addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
  return { element, search, clear };
}

/** @param {string} name @param {string} value */
function shown(name, value) {
  if (name === "outcome") return OUTCOMES[value]?.name ?? value;
  if (name === "route") return ROUTES[value] ?? value;
  if (name === "since" && value in SPANS) return SPANS[value].toLowerCase();
  if ((name === "since" || name === "until") && !Number.isNaN(Date.parse(value))) return moment(value);
  return value;
}

/**
 * @param {string} label @param {string} name @param {string[][]} options @param {Filters} filters
 * @param {(name: string, value: string) => void} set
 */
function choice(label, name, options, filters, set) {
  const select = h("select", { id: `filter-${name}`, onchange: () => set(name, select.value) });
  const show = () => {
    const value = filters[name] ?? "";
    const listed = options.map(([key, text]) => h("option", { value: key }, text));
    const other = value && !options.some(([key]) => key === value) && h("option", { value }, shown(name, value));
    fill(select, h("option", { value: "" }, "Any"), listed, other);
    select.value = value;
  };
  return { element: labelled(label, select), show };
}

/**
 * @param {string} label @param {string} name @param {Filters} filters
 * @param {(name: string, value: string) => void} set
 */
function word(label, name, filters, set) {
  const list = h("datalist", { id: `known-${name}` });
  const field = h("input", {
    id: `filter-${name}`,
    list: list.id,
    placeholder: "Any",
    autocomplete: "off",
    spellcheck: "false",
  });
  field.addEventListener("change", () => set(name, field.value.trim()));
  field.addEventListener("focus", () => offer(list, name), { once: true });
  const show = () => {
    field.value = filters[name] ?? "";
  };
  return { element: labelled(label, field, list), show };
}

/** Fill a list with what the last month has seen. @param {HTMLElement} list @param {string} name */
async function offer(list, name) {
  try {
    const { groups } = await stats({ since: "30d", bucket: "1d", group_by: name });
    const known = groups.map((/** @type {{group: string}} */ { group }) => group).filter(Boolean);
    fill(
      list,
      known.map((/** @type {string} */ value) => h("option", { value })),
    );
  } catch {
    // One can still type.
  }
}

/** @param {string} label @param {HTMLElement} field @param {...HTMLElement} more */
function labelled(label, field, ...more) {
  return h("div", { class: "field compact" }, h("label", { for: field.id }, label), field, more);
}
