/** The way in, when the ops listener has a token. */

import { logIn } from "./api.js";
import { h } from "./dom.js";

/** @typedef {import("./types.js").Page} Page */

/** Return the page that asks for the token. @param {() => void} entered called when it was right @returns {Page} */
export function loginPage(entered) {
  const field = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true });
  const wrong = h("p", { class: "error-text", id: "token-error", role: "alert" });
  const button = h("button", { type: "submit", class: "button primary" }, "Log in");
  const form = h(
    "form",
    { class: "card login" },
    h("h1", {}, "Log in"),
    h("p", { class: "muted" }, "This gateway's operations are behind a token."),
    h("div", { class: "field" }, h("label", { for: "token" }, "Token"), field, wrong),
    button,
    h("p", { class: "muted small" }, "It is ", h("code", {}, "ops.token"), " in the gateway's settings."),
  );
  form.addEventListener("submit", async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    button.disabled = true;
    wrong.textContent = "";
    try {
      await logIn(field.value);
      entered();
    } catch (error) {
      wrong.textContent = /** @type {Error} */ (error).message;
      field.setAttribute("aria-invalid", "true");
      field.setAttribute("aria-describedby", "token-error");
      field.select();
    } finally {
      button.disabled = false;
    }
  });
  return { title: "Log in", element: form, shown: () => field.focus() };
}
