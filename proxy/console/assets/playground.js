/** Try it: a recording goes through the gateway as any client's would, and one sees what comes of it. */

import { playground } from "./api.js";
import { audioField } from "./audiofile.js";
import { snippet } from "./copy.js";
import { fill, h, icon } from "./dom.js";
import { milliseconds } from "./format.js";
import { choices } from "./overview.js";
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
  /** @type {{element: HTMLElement, close: () => void} | null} */
  let bench = null;
  const load = async () => {
    try {
      bench = workbench(await playground(leaving.signal), session);
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

/** @param {Options} options @param {Session} session */
function workbench(options, session) {
  /** @type {File | null} */
  let file = null;
  let route = "transcriptions";
  /** @type {(() => void) | null} */
  let giveUp = null;
  const audio = audioField((given) => {
    file = given;
    draw();
  });
  const target = targetSelect(options.targets);
  const models = h("datalist", { id: "models" });
  const model = h("input", {
    id: "model",
    list: "models",
    value: "whisper-1",
    autocomplete: "off",
    spellcheck: "false",
  });
  const format = h(
    "select",
    { id: "format" },
    options.formats.map((name) => h("option", { value: name }, name)),
  );
  const language = h("input", {
    id: "language",
    placeholder: "found by the model",
    autocomplete: "off",
    maxlength: 20,
  });
  const stream = h("input", { id: "stream", type: "checkbox" });
  const key = h("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false" });
  const keyField = field("", key);
  const ways = choices(
    "What to do",
    ROUTES,
    () => route,
    (name) => {
      route = name;
      ways.show();
      draw();
    },
  );
  const button = h("button", { type: "submit", class: "button primary" });
  const view = outcomeView();
  const code = h("div", { class: "codes" });

  const chosen = () => /** @type {Target | undefined} */ (options.targets[Number(target.value)]);
  const provider = () =>
    (chosen()?.kind === "virtual_key" ? chosen()?.note : chosen()?.kind === "provider" ? chosen()?.name : null) ?? null;
  const headers = () => {
    const kind = chosen()?.kind;
    return kind ? { [`x-portkey-${kind.replace("_", "-")}`]: chosen()?.name ?? "" } : {};
  };
  const needsKey = () => options.keys_needed || (chosen()?.kind === "provider" && chosen()?.note === "needs its key");
  /** @returns {[string, string][]} */
  const fields = () => {
    /** @type {[string, string][]} */
    const given = [
      ["model", model.value.trim()],
      ["response_format", format.value],
    ];
    if (language.value.trim() && route === "transcriptions") given.push(["language", language.value.trim()]);
    if (stream.checked) given.push(["stream", "true"]);
    return given;
  };

  function draw() {
    keyField.hidden = !needsKey();
    const name = options.keys_needed ? "Gateway key" : `Key for ${provider() ?? "the provider"}`;
    fill(/** @type {Element} */ (keyField.querySelector("label")), name);
    language.disabled = route === "translations";
    const known = options.models.filter((one) => provider() === null || one.provider === provider());
    const listed = new Set((known.length ? known : options.models).map((one) => one.model));
    fill(
      models,
      [...listed].map((value) => h("option", { value })),
    );
    button.disabled = !giveUp && !file;
    fill(
      button,
      icon(giveUp ? "stop" : "play"),
      giveUp ? "Give up" : route === "translations" ? "Translate" : "Transcribe",
    );
    const variable = !needsKey() ? null : options.keys_needed ? "AUDIOGATE_API_KEY" : keyName(provider());
    const call = {
      gateway: session.gateway,
      route,
      headers: headers(),
      key: variable,
      fields: fields(),
      file: file?.name ?? "speech.wav",
    };
    fill(code, snippet("curl", curl(call)), snippet("Python", python(call)));
  }

  function begin() {
    if (!file) return;
    const form = new FormData();
    for (const [name, value] of fields()) form.append(name, value);
    form.append("file", file, file.name); // last: what routes it comes first, so that its bytes flow at once
    const trace = newTrace();
    const began = performance.now();
    view.begin();
    giveUp = send(
      {
        path: `/api/playground/${route}`,
        headers: {
          ...headers(),
          "x-portkey-trace-id": trace,
          ...(key.value && needsKey() ? { Authorization: `Bearer ${key.value}` } : {}),
        },
        form,
      },
      {
        progress: view.progress,
        uploaded: view.uploaded,
        heard: view.heard,
        done: async (status, heard, error) => {
          giveUp = null;
          draw();
          view.done(status, heard, error, milliseconds(performance.now() - began));
          view.recorded(await recordOf(trace).catch(() => null));
        },
      },
    );
    draw();
  }

  const form = h(
    "form",
    { class: "card form" },
    audio.element,
    ways.element,
    field("Target", target),
    keyField,
    h("div", { class: "pair" }, field("Model", model, models), field("Format", format)),
    field("Language", language),
    h("div", { class: "check" }, stream, h("label", { for: "stream" }, "Stream the transcript while it is made")),
    h("div", { class: "row" }, button),
  );
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    if (giveUp) giveUp();
    else begin();
  });
  form.addEventListener("input", draw);
  draw();
  return {
    element: h(
      "div",
      { class: "page" },
      h("div", { class: "bench" }, form, view.element),
      h(
        "section",
        { class: "card", "aria-label": "The same request" },
        h("div", { class: "card-head" }, h("h2", {}, "The same request")),
        code,
      ),
    ),
    close() {
      audio.close();
      giveUp?.();
    },
  };
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
