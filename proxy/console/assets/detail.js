/** One request: what was said, what it cost and why, how long everything took, and all else that is known. */

import { request } from "./api.js";
import { copyButton } from "./copy.js";
import { fill, h, icon } from "./dom.js";
import { UNKNOWN, bytes, count, milliseconds, money, seconds, wholeMoment } from "./format.js";
import { listAddress, neighbours } from "./requests.js";
import { cameFromInside, navigate } from "./router.js";
import { callOf, curl } from "./snippets.js";
import { failed, loading } from "./states.js";
import { transcriptCard } from "./transcript.js";
import { waterfallCard } from "./waterfall.js";
import { BASIS, REPLAY, SOURCES, USAGE, attemptTone, ending, model, outcome, route } from "./words.js";

/** @typedef {import("./types.js").RequestRecord} RequestRecord @typedef {import("./types.js").Page} Page */
/** @typedef {import("./api.js").Session} Session */

const AUDIO_ROUTES = new Set(["transcriptions", "translations", "speech"]);

/** @param {string} id @param {Session} session @returns {Page} */
export function detailPage(id, session) {
  const leaving = new AbortController();
  const element = h("div", { class: "page" });
  const load = async () => {
    fill(element, top(id), h("div", { class: "card" }, loading()));
    try {
      const record = await request(id, leaving.signal);
      fill(element, top(id), ...parts(record, session));
    } catch (error) {
      if (!leaving.signal.aborted) fill(element, top(id), h("div", { class: "card" }, failed(error, load)));
    }
  };
  /** @param {KeyboardEvent} event */
  const pressed = (event) => {
    if (/** @type {HTMLElement} */ (event.target).matches("input, select, textarea")) return;
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    const { newer, older } = neighbours(id);
    if (event.key === "Escape") back();
    else if (event.key === "k" && newer) navigate(`/requests/${newer}`, { replace: true });
    else if (event.key === "j" && older) navigate(`/requests/${older}`, { replace: true });
  };
  document.addEventListener("keydown", pressed);
  load();
  return {
    title: `Request ${id.slice(-8)}`,
    element,
    leave: () => {
      leaving.abort();
      document.removeEventListener("keydown", pressed);
    },
  };
}

function back() {
  if (cameFromInside()) history.back();
  else navigate(listAddress());
}

/** The way back, and to the neighbours. @param {string} id */
function top(id) {
  const { newer, older } = neighbours(id);
  const home = h("a", { class: "button quiet", href: listAddress() }, icon("arrow"), "Requests");
  home.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    if (!cameFromInside() || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    back();
  });
  /** @param {string | null} other @param {string} text @param {string} key */
  const side = (other, text, key) => {
    if (!other) return null;
    const link = h(
      "a",
      {
        class: "button quiet",
        href: `/requests/${other}`,
        title: `${text} request (${key})`,
        "aria-keyshortcuts": key,
      },
      text,
    );
    link.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      navigate(`/requests/${other}`, { replace: true });
    });
    return link;
  };
  return h(
    "div",
    { class: "crumbs" },
    home,
    h("div", { class: "end" }, side(newer, "Newer", "k"), side(older, "Older", "j")),
  );
}

/** @param {RequestRecord} record @param {Session} session */
function parts(record, session) {
  const main = h(
    "div",
    { class: "column" },
    transcriptCard(record, session.transcripts),
    waterfallCard(record),
    attemptsCard(record),
    rawCard(record),
  );
  const side = h(
    "div",
    { class: "column" },
    costCard(record),
    audioCard(record),
    requestCard(record),
    metadataCard(record),
  );
  return [heading(record, session), figures(record), h("div", { class: "split" }, main, side)];
}

/** @param {RequestRecord} record @param {Session} session */
function heading(record, session) {
  const { name, tone } = outcome(record.outcome);
  const badge = h(
    "span",
    { class: `badge large ${tone}` },
    record.status === null ? "" : `${record.status} `,
    h("span", { class: "badge-word" }, record.error_code ?? name),
  );
  const title = [route(record.route), record.audio.filename].filter(Boolean).join(" · ");
  const copyCurl =
    AUDIO_ROUTES.has(record.route) && copyButton("Copy as curl", () => curl(callOf(record, session.gateway)));
  const copyId = copyButton("Copy the id", () => record.id, { iconOnly: true });
  return h(
    "header",
    { class: "page-head detail-head" },
    h(
      "div",
      { class: "titles" },
      h("h1", {}, title),
      h(
        "p",
        { class: "muted small" },
        h("time", { datetime: record.time }, wholeMoment(record.time)),
        " · ",
        h("span", { class: "mono id" }, record.id),
        copyId,
      ),
    ),
    badge,
    h("div", { class: "end" }, copyCurl),
  );
}

/** @param {RequestRecord} record */
function figures(record) {
  const { timing_ms: timing, audio } = record;
  const factor =
    audio.seconds && timing.total ? `${factorOf(audio.seconds / (timing.total / 1000))} × real time` : null;
  return h(
    "dl",
    { class: "figures" },
    figure(
      "Latency",
      milliseconds(timing.total),
      timing.overhead === null ? null : `gateway ${milliseconds(timing.overhead)}`,
    ),
    figure("Audio", seconds(audio.seconds), factor),
    figure("Cost", money(record.cost_usd), record.cost_usd === null ? "not known" : perHour(record)),
    figure("First byte", milliseconds(timing.ttfb_upstream), "from the upstream"),
    figure(
      "Overlap saved",
      milliseconds(timing.overlap_saved),
      timing.upload === null ? null : `of ${milliseconds(timing.upload)} upload`,
    ),
  );
}

/** @param {number} factor */
const factorOf = (factor) => (factor < 9.95 ? factor.toFixed(1) : count(factor));

/** @param {string} name @param {string} value @param {string | null} note */
function figure(name, value, note) {
  return h(
    "div",
    { class: "figure" },
    h("dt", {}, name),
    h("dd", {}, h("span", { class: "value" }, value), note && h("span", { class: "note" }, note)),
  );
}

/** @param {RequestRecord} record */
function perHour(record) {
  const hours = (record.audio.seconds ?? 0) / 3600;
  return hours && Number(record.cost_usd) ? `${money(Number(record.cost_usd) / hours)} per hour of audio` : null;
}

/** @param {RequestRecord} record */
function attemptsCard(record) {
  if (!record.attempts.length) {
    return card(
      "Attempts",
      h("p", { class: "muted" }, "None: the gateway answered by itself, and no upstream was asked."),
    );
  }
  const names = ["#", "Provider · model", "Ended", "Connect", "Sent", "First byte", "Total", "Bytes"];
  const head = names.map((name, at) => h("th", { scope: "col", class: at > 2 ? "number" : null }, name));
  const lines = record.attempts.map((attempt, at) => {
    const marks = [
      attempt.replayed && "replayed",
      attempt.hedged && "hedged",
      attempt.possibly_billed && "may be billed",
    ].filter(Boolean);
    return h(
      "tr",
      {},
      h("td", {}, at + 1),
      h(
        "td",
        {},
        h("span", { class: "provider" }, attempt.provider),
        " ",
        h("span", { class: "muted" }, attempt.model ?? ""),
      ),
      h(
        "td",
        {},
        h("span", { class: `badge ${attemptTone(attempt)}` }, ending(attempt)),
        marks.map((mark) => h("span", { class: "mark" }, mark)),
      ),
      [attempt.connect_ms, attempt.upload_ms, attempt.ttfb_ms, attempt.total_ms].map((time, place) =>
        h("td", { class: "number" }, place === 0 && time === null ? "open" : milliseconds(time)),
      ),
      h("td", { class: "number" }, bytes(attempt.sent_bytes)),
    );
  });
  const table = h("table", { class: "plain" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, lines));
  return card(
    "Attempts",
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Attempts" }, table),
  );
}

/** @param {RequestRecord} record */
function costCard(record) {
  const usage = Object.entries(record.usage ?? {}).filter(([, value]) => value !== null && value !== undefined);
  return card(
    "Cost",
    facts([
      ["Sum", record.cost_usd === null ? UNKNOWN : `$${record.cost_usd}`],
      [
        "Basis",
        h(
          "span",
          {},
          h("span", { class: "badge mute" }, record.cost_basis),
          h("span", { class: "why" }, BASIS[record.cost_basis] ?? ""),
        ),
      ],
      ...usage.map(
        ([name, value]) =>
          /** @type {[string, any]} */ ([
            USAGE[name] ?? name,
            typeof value === "number" ? exactly(value) : JSON.stringify(value),
          ]),
      ),
    ]),
  );
}

/** @param {number} value */
const exactly = (value) => (Number.isInteger(value) ? count(value) : String(value));

/** @param {RequestRecord} record */
function audioCard({ audio }) {
  const length = audio.seconds === null ? UNKNOWN : `${audio.seconds} s`;
  return card(
    "Audio",
    facts([
      [
        "Length",
        h("span", {}, length, h("span", { class: "why" }, SOURCES[audio.seconds_source] ?? audio.seconds_source)),
      ],
      ["Container", audio.container],
      ["File", audio.filename],
      ["Size", audio.bytes === null ? null : bytes(audio.bytes)],
      ["Ended early", audio.ended_early ? "yes: the file is shorter than it says" : null],
    ]),
  );
}

/** @param {RequestRecord} record */
function requestCard(record) {
  return card(
    "Request",
    facts([
      ["Trace", h("span", { class: "mono" }, record.trace_id)],
      ["Route", `${record.method} · ${record.route}`],
      ["Provider", record.provider],
      [
        "Model",
        record.model_used && record.model_used !== record.model_requested
          ? `${record.model_used}, asked for as ${record.model_requested ?? "none"}`
          : model(record),
      ],
      ["Config", record.config],
      ["Key", record.key_name],
      ["Format", record.response_format],
      ["Language", record.language],
      ["Streamed", record.stream ? "yes" : "no"],
      ["Retries", record.retry_count ? count(record.retry_count) : null],
      ["Upload", REPLAY[record.replay] ?? record.replay],
      ["Bytes", `${bytes(record.bytes_in)} in, ${bytes(record.bytes_out)} out`],
      ["Client", record.client],
      ["Program", record.user_agent],
    ]),
  );
}

/** @param {RequestRecord} record */
function metadataCard({ metadata }) {
  const entries = Object.entries(metadata ?? {});
  if (!entries.length) return null;
  return card(
    "Metadata",
    facts(entries.map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)])),
  );
}

/** @param {RequestRecord} record */
function rawCard(record) {
  const text = () => JSON.stringify(record, null, 2);
  const copy = copyButton("Copy JSON", text);
  const code = h("code", {});
  const card = h(
    "details",
    { class: "card raw" },
    h("summary", {}, h("h2", {}, "Raw record")),
    h("div", { class: "raw-tools" }, copy),
    h("pre", { tabindex: "0", "aria-label": "The record as JSON" }, code),
  );
  card.addEventListener("toggle", () => fill(code, card.open && text())); // a long transcript is not laid out twice
  return card;
}

/** @param {string} title @param {...any} content */
function card(title, ...content) {
  return h(
    "section",
    { class: "card", "aria-label": title },
    h("div", { class: "card-head" }, h("h2", {}, title)),
    content,
  );
}

/** @param {[string, any][]} pairs those without a value are left out */
function facts(pairs) {
  const given = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, given.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]).flat());
}
