/** The record's own words, put so that nobody has to look them up. */

/** @typedef {import("./types.js").RequestRecord} RequestRecord @typedef {import("./types.js").Attempt} Attempt */

/** Outcomes: their name, and how bad that is. @type {Record<string, {name: string, tone: string}>} */
export const OUTCOMES = {
  ok: { name: "OK", tone: "ok" },
  client_error: { name: "Client error", tone: "warn" },
  upstream_error: { name: "Upstream error", tone: "bad" },
  gateway_error: { name: "Gateway error", tone: "bad" },
  client_left: { name: "Client left", tone: "warn" },
};

/** @type {Record<string, string>} */
export const ROUTES = {
  transcriptions: "Transcription",
  translations: "Translation",
  speech: "Speech",
  passthrough: "Pass-through",
  _unmatched: "Unknown path",
};

/** @type {Record<string, string>} */
export const BASIS = {
  reported: "The provider itself reported this sum.",
  tokens: "The tokens that the provider reported, at its price per token.",
  seconds: "The length of the audio, at the provider's price per second.",
  characters: "The characters of the input, at the provider's price per character.",
  free: "This upstream is free of charge.",
  unknown: "Not known: nothing was charged that we know of, or this model has no price in the table.",
};

/** @type {Record<string, string>} */
export const SOURCES = {
  reported: "as the provider reported it",
  header: "from the file's own header",
  walked: "measured frame by frame, as the bytes passed",
  bytes: "from the bytes that came, at the header's rate",
  unknown: "not known",
};

/** @type {Record<string, string>} */
export const USAGE = {
  input_tokens: "Input tokens",
  output_tokens: "Output tokens",
  audio_tokens: "Audio tokens",
  total_tokens: "All tokens",
  seconds: "Seconds used",
  characters: "Characters",
};

/** @type {Record<string, string>} */
export const REPLAY = {
  off: "not kept: there was no second target",
  memory: "kept in memory for a second attempt",
  disk: "kept on disk for a second attempt",
  exhausted: "too large to be kept for a second attempt",
};

/** @type {Record<string, string>} */
const FAILURES = {
  connect_failed: "could not be reached",
  refused: "refused it",
  upstream_timed_out: "did not answer in time",
  upstream_broke: "broke off",
  client_left: "the client left",
  gateway_refused: "the gateway refused",
};

/** @param {string} outcome */
export const outcome = (outcome) => OUTCOMES[outcome] ?? { name: outcome, tone: "warn" };
/** @param {string} route */
export const route = (route) => ROUTES[route] ?? route;

/** How an attempt ended. @param {Attempt} attempt */
export function ending(attempt) {
  if (attempt.failure === null) return attempt.status === null ? "ended" : `answered ${attempt.status}`;
  const words = FAILURES[attempt.failure] ?? attempt.failure;
  const status = attempt.status === null ? "" : ` (${attempt.status})`;
  return `${words}${attempt.cause === "tls" ? ", because of its certificate" : ""}${status}`;
}

/** How bad an attempt's end is. @param {Attempt} attempt */
export function attemptTone(attempt) {
  if (attempt.failure === null) return "ok";
  return attempt.failure === "client_left" || (attempt.hedged && attempt.status === null) ? "warn" : "bad";
}

/** The model that did the work, else the one that was asked for. @param {RequestRecord} record */
export const model = (record) => record.model_used ?? record.model_requested;

/** Provider and model in one. @param {RequestRecord} record */
export function target(record) {
  return [record.provider, model(record)].filter(Boolean).join(" · ");
}
