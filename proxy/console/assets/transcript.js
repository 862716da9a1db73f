/** What was said: as a text, or in segments with their times. */

import { copyButton } from "./copy.js";
import { h } from "./dom.js";
import { position } from "./format.js";

/** @typedef {import("./types.js").RequestRecord} RequestRecord @typedef {import("./types.js").Segment} Segment */

const MOST = 2000; // segments that are laid out: an hour and a half of speech; the text is whole

/** @param {RequestRecord} record @param {string} kept what the settings keep: `full`, `redacted` or `off` */
export function transcriptCard(record, kept) {
  const said = record.transcript;
  const copy = said ? copyButton("Copy", () => said) : null;
  const head = h(
    "div",
    { class: "card-head" },
    h("h2", {}, record.route === "speech" ? "Text" : "Transcript"),
    h("div", { class: "end" }, copy),
  );
  return h(
    "section",
    { class: "card transcript", "aria-label": "Transcript" },
    head,
    body(record, kept),
    notes(record, kept),
  );
}

/** @param {RequestRecord} record @param {string} kept */
function body(record, kept) {
  if (record.transcript === null) return h("p", { class: "muted" }, whyNone(record, kept));
  if (record.transcript === "")
    return h("p", { class: "muted" }, "The upstream heard nothing: the transcript is empty.");
  const segments = record.segments ?? [];
  if (segments.length < 2 && !segments[0]?.speaker) return h("p", { class: "said", dir: "auto" }, record.transcript);
  return segmentList(segments);
}

/** @param {Segment[]} segments */
export function segmentList(segments) {
  return h("ol", { class: "segments" }, segments.slice(0, MOST).map(line));
}

/** @param {Segment} segment */
function line({ start, end, text, speaker }) {
  const when =
    start === null
      ? null
      : h(
          "span",
          { class: "when mono", title: end === null ? null : `${position(start)} to ${position(end)}` },
          position(start),
        );
  return h(
    "li",
    {},
    when,
    speaker && h("span", { class: "speaker" }, speaker),
    h("span", { class: "said", dir: "auto" }, text),
  );
}

/** @param {RequestRecord} record @param {string} kept */
function notes(record, kept) {
  const segments = record.segments ?? [];
  const said = [
    record.transcript &&
      kept === "redacted" &&
      "Addresses, numbers and keys are replaced: records.transcripts is “redacted”.",
    record.transcript_cut && "More was said than is kept: the end is missing here.",
    segments.length > MOST && `Only the first ${MOST} segments are shown. Copy has the whole text.`,
  ].filter(Boolean);
  return said.map((text) => h("p", { class: "muted small" }, text));
}

/** @param {RequestRecord} record @param {string} kept */
function whyNone(record, kept) {
  if (record.outcome !== "ok") return "There is none: the request did not succeed.";
  if (record.route !== "transcriptions" && record.route !== "translations") return "This route has no transcript.";
  if (kept === "off") return "Not kept: records.transcripts is “off” in the settings.";
  return "Not kept: the request asked for that (x-portkey-debug: false), or the reply is in no form that is read.";
}
