/** Try it: a recording goes through the gateway as any client's would, and one sees what comes of it. */

import { playground } from "./api.js";
import { audioField } from "./audiofile.js";
import { snippet } from "./copy.js";
import { fill, h, icon } from "./dom.js";
import { milliseconds } from "./format.js";
import { choices } from "./choices.js";
import { outcomeView } from "./outcome.js";
import { newTrace, recordOf, send } from "./send.js";
import { curl, keyName, python } from "./snippets.js";
import { failed, loading } from "./states.js";

/** @typedef {import("./types.js").Page} Page @typedef {import("./api.js").Session} Session */
/** @typedef {{kind: string, name: string, note: string}} Target */
/**
 * @typedef {{targets: Target[], keys_needed: boolean, formats: string[],
 *   models: {provider: string, model: string}[]}} Options
 */

const KINDS = { config: "Configs", virtual_key: "Virtual keys", provider: "Providers" };
const ROUTES = [
  { name: "transcriptions", label: "Transcribe" },
  { name: "translations", label: "Translate to English" },
];

/** @param {Session} session @returns {Page} */
export function playgroundPage(session) {
  const leaving = new AbortController();
  const place = h("div", { class: "page" }, h("div", { class: "card" }, loading()));
  /** @type {Workbench | null} */
  let bench = null;
  const load = async () => {
    try {
      bench = new Workbench(await playground(leaving.signal), session);
      fill(place, bench.element);
    } catch (error) {
      if (!leaving.signal.aborted) fill(place, h("div", { class: "card" }, failed(error, load)));
    }
  };
  load();
  const head = h(
    "div",
    { class: "page-head" },
    h("h1", {}, "Playground"),
    h("p", { class: "muted small" }, "What you send goes through the gateway and is recorded like any other request."),
  );
  return {
    title: "Playground",
    element: h("div", { class: "page" }, head, place),
    leave: () => {
      leaving.abort();
      bench?.close();
    },
  };
}

/** A form that makes one request at a time, what became of it, and the same request in code. */
class Workbench {
  /** @type {File | null} */
  #file = null;
  #route = "transcriptions";
  /** @type {(() => void) | null} ends the request that is under way */
  #giveUp = null;
  #view = outcomeView();
  #code = h("div", { class: "codes" });
  #models = h("datalist", { id: "models" });
  #model = h("input", { id: "model", list: "models", value: "whisper-1", autocomplete: "off", spellcheck: "false" });
  #language = h("input", { id: "language", placeholder: "found by the model", autocomplete: "off", maxlength: 20 });
  #stream = h("input", { id: "stream", type: "checkbox" });
  #key = h("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false" });
  #keyField = field("Key", this.#key);
  #button = h("button", { type: "submit", class: "button primary" });

  /** @param {Options} options @param {Session} session */
  constructor(options, session) {
    this.options = options;
    this.session = session;
    this.target = targetSelect(options.targets);
    const formats = options.formats.map((name) => h("option", { value: name }, name));
    this.format = h("select", { id: "format" }, formats);
    this.audio = audioField((file) => {
      this.#file = file;
      this.#draw();
    });
    this.ways = choices(
      "What to do",
      ROUTES,
      () => this.#route,
      (name) => {
        this.#route = name;
        this.ways.show();
        this.#draw();
      },
    );
    const form = this.#form();
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      if (this.#giveUp) this.#giveUp();
      else this.#begin();
    });
    form.addEventListener("input", () => this.#draw());
    const same = h("div", { class: "card-head" }, h("h2", {}, "The same request"));
    this.element = h(
      "div",
      { class: "page" },
      h("div", { class: "bench" }, form, this.#view.element),
      h("section", { class: "card", "aria-label": "The same request" }, same, this.#code),
    );
    this.#draw();
  }

  close() {
    this.audio.close();
    this.#giveUp?.();
  }

  #form() {
    return h(
      "form",
      { class: "card form" },
      this.audio.element,
      this.ways.element,
      field("Target", this.target),
      this.#keyField,
      h("div", { class: "pair" }, field("Model", this.#model, this.#models), field("Format", this.format)),
      field("Language", this.#language),
      h(
        "div",
        { class: "check" },
        this.#stream,
        h("label", { for: "stream" }, "Stream the transcript while it is made"),
      ),
      h("div", { class: "row" }, this.#button),
    );
  }

  // What the form says

  /** @returns {Target | undefined} */
  get #chosen() {
    return this.options.targets[Number(this.target.value)];
  }

  /** Whose models and key are meant; a config may mean several. @returns {string | null} */
  get #provider() {
    if (this.#chosen?.kind === "virtual_key") return this.#chosen.note;
    return this.#chosen?.kind === "provider" ? this.#chosen.name : null;
  }

  get #needsKey() {
    const itsOwn = this.#chosen?.kind === "provider" && this.#chosen.note === "needs its key";
    return this.options.keys_needed || itsOwn;
  }

  /** @returns {Record<string, string>} */
  get #headers() {
    const chosen = this.#chosen;
    return chosen ? { [`x-portkey-${chosen.kind.replace("_", "-")}`]: chosen.name } : {};
  }

  /** @returns {[string, string][]} */
  get #fields() {
    /** @type {[string, string][]} */
    const given = [
      ["model", this.#model.value.trim()],
      ["response_format", this.format.value],
    ];
    const language = this.#language.value.trim();
    if (language && this.#route === "transcriptions") given.push(["language", language]);
    if (this.#stream.checked) given.push(["stream", "true"]);
    return given;
  }

  // What is drawn

  #draw() {
    this.#keyField.hidden = !this.#needsKey;
    const whose = this.options.keys_needed ? "Gateway key" : `Key for ${this.#provider ?? "the provider"}`;
    fill(/** @type {Element} */ (this.#keyField.querySelector("label")), whose);
    this.#language.disabled = this.#route === "translations";
    this.#drawModels();
    this.#drawButton();
    this.#drawCode();
  }

  #drawModels() {
    const all = this.options.models;
    const own = all.filter((one) => this.#provider === null || one.provider === this.#provider);
    const names = new Set((own.length ? own : all).map((one) => one.model));
    fill(
      this.#models,
      [...names].map((value) => h("option", { value })),
    );
  }

  #drawButton() {
    const act = this.#route === "translations" ? "Translate" : "Transcribe";
    this.#button.disabled = !this.#giveUp && !this.#file;
    fill(this.#button, icon(this.#giveUp ? "stop" : "play"), this.#giveUp ? "Give up" : act);
  }

  #drawCode() {
    const variable = this.options.keys_needed ? "AUDIOGATE_API_KEY" : keyName(this.#provider);
    const call = {
      gateway: this.session.gateway,
      route: this.#route,
      headers: this.#headers,
      key: this.#needsKey ? variable : null,
      fields: this.#fields,
      file: this.#file?.name ?? "speech.wav",
    };
    fill(this.#code, snippet("curl", curl(call)), snippet("Python", python(call)));
  }

  // The request

  #begin() {
    const file = this.#file;
    if (!file) return;
    const form = new FormData();
    for (const [name, value] of this.#fields) form.append(name, value);
    form.append("file", file, file.name); // last: what routes it comes first, so that its bytes flow at once
    const trace = newTrace();
    /** @type {Record<string, string>} */
    const key = this.#needsKey && this.#key.value ? { Authorization: `Bearer ${this.#key.value}` } : {};
    const headers = { ...this.#headers, ...key, "x-portkey-trace-id": trace };
    const began = performance.now();
    const { progress, uploaded, heard } = this.#view;
    this.#view.begin();
    this.#giveUp = send(
      { path: `/api/playground/${this.#route}`, headers, form },
      {
        progress,
        uploaded,
        heard,
        done: async (status, said, error) => {
          this.#giveUp = null;
          this.#drawButton();
          this.#view.done(status, said, error, milliseconds(performance.now() - began));
          this.#view.recorded(await recordOf(trace).catch(() => null));
        },
      },
    );
    this.#drawButton();
  }
}

/** @param {Target[]} targets */
function targetSelect(targets) {
  const groups = Object.entries(KINDS).map(([kind, label]) => {
    const own = targets.map((one, at) => ({ one, at })).filter(({ one }) => one.kind === kind);
    return (
      own.length &&
      h(
        "optgroup",
        { label },
        own.map(({ one, at }) => h("option", { value: at }, one.note ? `${one.name} (${one.note})` : one.name)),
      )
    );
  });
  const select = h("select", { id: "target" }, groups.filter(Boolean));
  const usual = targets.findIndex((one) => one.note === "the default");
  if (targets.length) select.value = String(Math.max(usual, 0));
  return select;
}

/** @param {string} label @param {HTMLElement} input @param {...HTMLElement} more */
function field(label, input, ...more) {
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input, more);
}
