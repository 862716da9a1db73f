/** What stands where data would: while it comes, when there is none, and when something went wrong. */

import { snippet } from "./copy.js";
import { h, icon } from "./dom.js";
import { firstRequest } from "./snippets.js";

/** Grey lines, for the moment before the data is there. @param {number} [lines] */
export function loading(lines = 6) {
  const bars = Array.from({ length: lines }, () => h("div", { class: "bone" }));
  return h("div", { class: "bones", role: "status" }, h("span", { class: "sr-only" }, "Loading"), bars);
}

/**
 * Nothing is there; say what to do.
 * @param {string} title
 * @param {string} text
 * @param {...any} more
 */
export function empty(title, text, ...more) {
  return h("div", { class: "state" }, h("h2", {}, title), h("p", { class: "muted" }, text), more);
}

/** No request yet: the line that makes one. @param {string} gateway @param {string} text */
export function noRequests(gateway, text) {
  return empty("No requests yet", text, snippet("Send one", firstRequest(gateway)));
}

/**
 * Say what went wrong and offer to try again.
 * @param {any} error
 * @param {(() => void) | null} again
 */
export function failed(error, again) {
  const noStore = error?.status === 503 && /store/.test(`${error.code} ${error.message}`);
  const button = again && h("button", { type: "button", class: "button", onclick: again }, "Try again");
  const how = noStore && snippet("In the settings file", "records:\n  store: sqlite:audiogate.db\n");
  const title = noStore ? "No records here" : error?.status === 0 ? "The gateway does not answer" : "That did not work";
  return h(
    "div",
    { class: "state", role: "alert" },
    h("div", { class: "state-icon" }, icon("warn")),
    h("h2", {}, title),
    h("p", { class: "muted" }, error?.message ?? String(error)),
    how,
    button,
  );
}
