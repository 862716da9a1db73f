/** Text that one may want elsewhere: a button that copies it, or a box that shows it. */

import { announce, h, icon } from "./dom.js";

const SHOWN = 1600; // milliseconds that a button says "Copied": long enough to be read

/**
 * Return a button that copies what `text` returns.
 * @param {string} label
 * @param {() => string} text
 * @param {{iconOnly?: boolean}} [options]
 * @returns {HTMLButtonElement}
 */
export function copyButton(label, text, { iconOnly = false } = {}) {
  const words = h("span", { class: iconOnly ? "sr-only" : null }, label);
  const picture = h("span", { class: "icon-slot" }, icon("copy"));
  const kind = iconOnly ? "button quiet icon-only" : "button";
  const button = h("button", { type: "button", class: kind, title: iconOnly ? label : null }, picture, words);
  let timer = 0;
  button.addEventListener("click", async () => {
    const done = await put(text());
    words.textContent = done ? "Copied" : "Could not copy";
    picture.replaceChildren(icon(done ? "check" : "warn"));
    announce(words.textContent);
    clearTimeout(timer);
    timer = setTimeout(() => {
      words.textContent = label;
      picture.replaceChildren(icon("copy"));
    }, SHOWN);
  });
  return button;
}

/** Return a box of code with its title and a button to copy it. @param {string} title @param {string} text */
export function snippet(title, text) {
  const copy = copyButton(`Copy: ${title}`, () => text, { iconOnly: true });
  const code = h("pre", { tabindex: "0", "aria-label": title }, h("code", {}, text));
  return h("figure", { class: "snippet" }, h("figcaption", {}, h("span", {}, title), copy), code);
}

/** @param {string} text */
async function put(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return putByHand(text); // no permission, or a page that came by plain HTTP from another machine
  }
}

/** @param {string} text */
function putByHand(text) {
  const field = h("textarea", { class: "sr-only", readonly: true });
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}
