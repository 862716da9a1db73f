/** The settings in force, as a tree; secrets never leave the gateway. */

import { settings } from "./api.js";
import { copyButton } from "./copy.js";
import { fill, h } from "./dom.js";
import { wholeMoment } from "./format.js";
import { failed, loading } from "./states.js";

/** @typedef {import("./types.js").Page} Page */

const HIDDEN = "***";

/** @returns {Page} */
export function settingsPage() {
  const leaving = new AbortController();
  const place = h("div", { class: "page" });
  const load = async () => {
    fill(place, h("div", { class: "card" }, loading(10)));
    try {
      const { settings: tree, file, loaded_at: loaded } = await settings(leaving.signal);
      const from = h(
        "p",
        { class: "muted small" },
        file ? ["From ", h("code", {}, file), ", "] : "Defaults and environment, ",
        `read ${wholeMoment(loaded)}. Secrets are shown as ${HIDDEN}.`,
      );
      const copy = copyButton("Copy as JSON", () => JSON.stringify(tree, null, 2));
      const cards = Object.entries(tree)
        .filter(([, value]) => compound(value))
        .map(([name, value]) => section(name, value));
      const plain = Object.fromEntries(Object.entries(tree).filter(([, value]) => !compound(value)));
      fill(
        place,
        h("div", { class: "page-head" }, from, h("div", { class: "end" }, copy)),
        section("general", plain),
        cards,
      );
    } catch (error) {
      if (!leaving.signal.aborted) fill(place, h("div", { class: "card" }, failed(error, load)));
    }
  };
  load();
  const head = h("div", { class: "page-head" }, h("h1", {}, "Settings"));
  return { title: "Settings", element: h("div", { class: "page" }, head, place), leave: () => leaving.abort() };
}

/** Whether a value has parts of its own. @param {any} value */
function compound(value) {
  return value !== null && typeof value === "object" && Object.keys(value).length > 0;
}

/** @param {string} name @param {any} value */
function section(name, value) {
  const size = Array.isArray(value) ? h("span", { class: "badge mute" }, value.length) : null;
  return h(
    "details",
    { class: "card raw", open: true },
    h("summary", {}, h("h2", { class: "mono" }, name), size),
    tree(value),
  );
}

/** @param {any} value @returns {HTMLElement} */
function tree(value) {
  if (!compound(value)) return leaf(value);
  if (Array.isArray(value)) {
    if (!value.some(compound))
      return h(
        "span",
        { class: "list" },
        value.map((one) => h("span", { class: "item" }, leaf(one))),
      );
    return h(
      "ol",
      { class: "tree-list" },
      value.map((one) => h("li", {}, tree(one))),
    );
  }
  return h(
    "dl",
    { class: "tree" },
    Object.entries(value).map(([name, inner]) =>
      h(
        "div",
        { class: compound(inner) && !flat(inner) ? "deep" : null },
        h("dt", { class: "mono" }, name),
        h("dd", {}, tree(inner)),
      ),
    ),
  );
}

/** A list of plain values fits on a line. @param {any} value */
function flat(value) {
  return Array.isArray(value) && !value.some(compound);
}

/** @param {any} value */
function leaf(value) {
  if (value === HIDDEN) return h("span", { class: "badge mute", title: "a secret" }, HIDDEN);
  if (value === null) return h("span", { class: "muted" }, "none");
  if (typeof value === "object") return h("span", { class: "muted" }, Array.isArray(value) ? "none" : "empty");
  return h("span", { class: `leaf mono ${typeof value}` }, String(value));
}
