/** A few things of which one is chosen: buttons side by side. */

import { h } from "./dom.js";

/**
 * Return buttons of which one is pressed.
 * @param {string} label @param {{name: string, label: string}[]} options
 * @param {() => string} current @param {(name: string) => void} choose
 */
export function choices(label, options, current, choose) {
  const buttons = options.map((one) => h("button", { type: "button", onclick: () => choose(one.name) }, one.label));
  const element = h("div", { class: "choices", role: "group", "aria-label": label }, buttons);
  const show = () =>
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(options[at].name === current())));
  show();
  return { element, show };
}
