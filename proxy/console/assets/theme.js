/** Light, dark, or as the system has it; the choice is kept in this browser. */

import { h, icon } from "./dom.js";

const KEY = "audiogate-theme";
/** @type {{name: string, label: string, icon: string}[]} */
const CHOICES = [
  { name: "system", label: "Theme: as the system", icon: "contrast" },
  { name: "light", label: "Theme: light", icon: "sun" },
  { name: "dark", label: "Theme: dark", icon: "moon" },
];

/** Return the button that goes from one theme to the next. @returns {HTMLButtonElement} */
export function themeButton() {
  const button = h("button", { type: "button", class: "button quiet icon-only" });
  const show = () => {
    const choice = CHOICES.find((one) => one.name === current()) ?? CHOICES[0];
    button.replaceChildren(icon(choice.icon));
    button.setAttribute("aria-label", `${choice.label}. Change it`);
    button.title = choice.label;
  };
  button.addEventListener("click", () => {
    const at = CHOICES.findIndex((one) => one.name === current());
    choose(CHOICES[(at + 1) % CHOICES.length].name);
    show();
  });
  show();
  return button;
}

/** Call back whenever other colours are shown. @param {() => void} changed */
export function onThemeChange(changed) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", changed);
  document.addEventListener("audiogate:theme", changed);
  return () => {
    system.removeEventListener("change", changed);
    document.removeEventListener("audiogate:theme", changed);
  };
}

/** Return the colour that a token stands for now, as the canvas wants it. @param {string} token */
export function colour(token) {
  const probe = h("span", { class: "sr-only" });
  probe.style.color = `var(${token})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function current() {
  return document.documentElement.dataset.theme ?? "system";
}

/** @param {string} name */
function choose(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  try {
    if (name === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, name);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  document.dispatchEvent(new Event("audiogate:theme"));
}
