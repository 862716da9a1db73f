/** One upload to the playground: its progress, its reply as it grows, and the record that it leaves. */

import { requests } from "./api.js";
import { eventReader } from "./sse.js";

/** @typedef {import("./types.js").RequestRecord} RequestRecord @typedef {import("./types.js").Segment} Segment */
/** @typedef {{text: string, segments: Segment[] | null, verbatim: boolean}} Heard verbatim: subtitles, as they came */

const LOOKS = 20; // times that the record is asked for
const LOOK_EVERY = 250; // milliseconds: the store writes four times a second

/**
 * Send a form. Returns a function that gives up.
 * @param {{path: string, headers: Record<string, string>, form: FormData}} what
 * @param {{progress: (share: number) => void, uploaded: () => void, heard: (heard: Heard) => void,
 *   done: (status: number, heard: Heard | null, error: string | null) => void}} told
 */
export function send({ path, headers, form }, told) {
  const sending = new XMLHttpRequest(); // and not fetch: it tells how far an upload has come
  let taken = 0;
  const growing = growingText(told.heard);
  const streams = () => (sending.getResponseHeader("Content-Type") ?? "").startsWith("text/event-stream");
  const grow = () => {
    if (sending.status !== 200 || !streams()) return;
    growing.feed(sending.responseText.slice(taken));
    taken = sending.responseText.length;
  };
  sending.upload.addEventListener("progress", (event) =>
    told.progress(event.lengthComputable ? event.loaded / event.total : 0),
  );
  sending.upload.addEventListener("load", () => told.uploaded());
  sending.addEventListener("progress", grow);
  sending.addEventListener("load", () => {
    grow();
    if (sending.status !== 200) return told.done(sending.status, null, errorIn(sending.responseText, sending.status));
    told.done(200, streams() ? growing.heard() : read(sending.responseText), growing.error());
  });
  sending.addEventListener("error", () => told.done(0, null, "The connection broke before the reply was whole."));
  sending.addEventListener("abort", () => told.done(0, null, "Given up."));
  sending.open("POST", path);
  for (const [name, value] of Object.entries(headers)) sending.setRequestHeader(name, value);
  sending.send(form);
  return () => sending.abort();
}

/** Wait for a request's record; null when none comes. @param {string} trace @returns {Promise<RequestRecord | null>} */
export async function recordOf(trace) {
  for (let look = 0; look < LOOKS; look += 1) {
    const { items } = await requests({ trace, limit: 1 });
    if (items.length) return items[0];
    await new Promise((done) => setTimeout(done, LOOK_EVERY));
  }
  return null;
}

/** A trace id that nobody else has. */
export function newTrace() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `playground-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** The transcript in a stream of events, as it grows. @param {(heard: Heard) => void} told */
function growingText(told) {
  let text = "";
  /** @type {string | null} */
  let wrong = null;
  const heard = () => ({ text, segments: null, verbatim: false });
  const reader = eventReader((data) => {
    if (data === "[DONE]") return;
    /** @type {any} */
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return; // not for us: some servers send words of their own
    }
    if (event.type === "transcript.text.delta") text += event.delta ?? "";
    else if (event.type === "transcript.text.done") text = event.text ?? text;
    else if (event.type === "error" || event.error)
      wrong = event.error?.message ?? event.message ?? "The upstream sent an error.";
    else if (typeof event.text === "string" && event.type === undefined) text += event.text;
    told(heard());
  });
  return { feed: reader.feed, heard, error: () => wrong };
}

/** @param {string} body @returns {Heard} */
function read(body) {
  try {
    const { text, segments } = JSON.parse(body);
    if (typeof text === "string")
      return { text, segments: Array.isArray(segments) ? segments.map(segment) : null, verbatim: false };
  } catch {
    // Plain text, or subtitles.
  }
  return { text: body.trimEnd(), segments: null, verbatim: true };
}

/** @param {any} given @returns {Segment} */
function segment(given) {
  return {
    start: given.start ?? null,
    end: given.end ?? null,
    text: String(given.text ?? "").trim(),
    speaker: given.speaker ?? null,
  };
}

/** @param {string} body @param {number} status */
function errorIn(body, status) {
  try {
    const answer = JSON.parse(body);
    return answer.error?.message ?? answer.message ?? `Status ${status}`;
  } catch {
    return body.trim().slice(0, 500) || `Status ${status}`;
  }
}
