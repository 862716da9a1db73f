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

/** The bar of filters. `filters` is what is in force; the bar changes it in place and then says so. */
export class FilterBar {
  /** @type {HTMLInputElement} */
  search = h("input", {
    id: "q",
    type: "search",
    placeholder: "Search transcripts and file names",
    "aria-keyshortcuts": "/",
    autocomplete: "off",
    spellcheck: "false",
  });
  #chips = h("ul", { class: "chips", "aria-label": "Filters in force" });
  #more = h("div", { class: "filters-more", id: "filters-more" });
  #toggle = h("button", { type: "button", class: "button filters-toggle", "aria-controls": "filters-more" });
  #typing = 0;

  /** @param {Filters} filters @param {() => void} changed */
  constructor(filters, changed) {
    this.filters = filters;
    this.changed = changed;
    /** @param {string} name @param {string} value */
    const set = (name, value) => this.#set(name, value);
    const outcomes = Object.entries(OUTCOMES).map(([key, { name }]) => [key, name]);
    this.fields = [
      choice("Time", "since", Object.entries(SPANS), filters, set),
      choice(
        "Status",
        "status",
        STATUSES.map((one) => [one, one]),
        filters,
        set,
      ),
      choice("Outcome", "outcome", outcomes, filters, set),
      choice("Route", "route", Object.entries(ROUTES), filters, set),
      word("Provider", "provider", filters, set),
      word("Model", "model", filters, set),
      word("Key", "key", filters, set),
    ];
    fill(
      this.#more,
      this.fields.map((one) => one.element),
    );
    this.#toggle.setAttribute("aria-expanded", "false");
    this.#toggle.addEventListener("click", () => {
      this.#toggle.setAttribute("aria-expanded", String(this.#more.classList.toggle("open")));
    });
    this.search.addEventListener("input", () => this.#type(TYPING));
    this.search.addEventListener("keydown", (event) => event.key === "Enter" && this.#type(0));
    const label = h("label", { class: "sr-only", for: "q" }, "Search transcripts and file names");
    const key = h("kbd", { "aria-hidden": "true" }, "/");
    const first = h("div", { class: "search" }, label, icon("search"), this.search, key);
    this.element = h(
      "form",
      { class: "filters", role: "search", onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
      h("div", { class: "filters-first" }, first, this.#toggle),
      this.#more,
      this.#chips,
    );
    this.#draw();
  }

  /** Take every filter away. */
  clear() {
    for (const name of NAMES) delete this.filters[name];
    this.#draw();
    this.search.value = "";
    this.changed();
  }

  /** @param {number} pause milliseconds to wait for more letters */
  #type(pause) {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#set("q", this.search.value.trim()), pause);
  }

  /** @param {string} name @param {string} value */
  #set(name, value) {
    if ((this.filters[name] ?? "") === value) return;
    if (value) this.filters[name] = value;
    else delete this.filters[name];
    this.#draw();
    this.changed();
  }

  #draw() {
    if (document.activeElement !== this.search) this.search.value = this.filters.q ?? "";
    for (const one of this.fields) one.show();
    const given = NAMES.filter((name) => this.filters[name] && name !== "q");
    const chips = given.map((name) => h("li", { class: "chip" }, this.#words(name), this.#remover(name)));
    const all = h("button", { type: "button", class: "button quiet", onclick: () => this.clear() }, "Clear all");
    fill(this.#chips, chips, given.length > 1 && h("li", {}, all));
    this.#chips.hidden = given.length === 0;
    fill(this.#toggle, icon("filter"), given.length ? `Filters (${given.length})` : "Filters");
  }

  /** @param {string} name */
  #words(name) {
    return `${name}: ${shown(name, this.filters[name])}`;
  }

  /** @param {string} name */
  #remover(name) {
    const label = `Remove the filter ${name}`;
    return h("button", { type: "button", onclick: () => this.#set(name, ""), "aria-label": label }, icon("close"));
  }
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
