/** What became of a request from the playground: progress, transcript, figures, and the way to its record. */

import { copyButton } from "./copy.js";
import { announce, fill, h } from "./dom.js";
import { milliseconds, money, seconds, share } from "./format.js";
import { segmentList } from "./transcript.js";

/** @typedef {import("./types.js").RequestRecord} RequestRecord @typedef {import("./send.js").Heard} Heard */

export function outcomeView() {
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Upload" });
  const step = h("p", { class: "small muted", role: "status" });
  const said = h("div", { class: "said-slot", "aria-live": "off" });
  const tools = h("div", { class: "end" });
  const figures = h("dl", { class: "numbers" });
  const link = h("div", { class: "row" });
  const idle = h("p", { class: "muted" }, "The transcript shows up here, with what it cost and how long it took.");
  const element = h(
    "section",
    { class: "card outcome", "aria-label": "Result" },
    h("div", { class: "card-head" }, h("h2", {}, "Result"), tools),
    bar,
    step,
    said,
    figures,
    link,
  );
  bar.hidden = true;
  fill(said, idle);

  /** @param {Heard} heard @param {boolean} growing */
  const draw = (heard, growing) => {
    if (heard.verbatim && /-->/.test(heard.text))
      return fill(said, h("pre", { tabindex: "0", "aria-label": "Subtitles" }, heard.text));
    if ((heard.segments?.length ?? 0) > 1) return fill(said, segmentList(heard.segments ?? []));
    const text = heard.text || (growing ? "" : "(nothing was heard)");
    return fill(said, h("p", { class: `said${growing ? " growing" : ""}`, dir: "auto" }, text));
  };

  return {
    element,
    begin() {
      fill(said);
      fill(tools);
      fill(figures);
      fill(link);
      bar.hidden = false;
      bar.value = 0;
      step.textContent = "Uploading …";
    },
    /** @param {number} part */
    progress(part) {
      bar.value = part;
      step.textContent = `Uploading … ${share(part)}`;
    },
    uploaded() {
      bar.removeAttribute("value"); // under way, for nobody knows how long
      step.textContent = "Uploaded. Waiting for the upstream …";
    },
    /** @param {Heard} heard */
    heard(heard) {
      step.textContent = "Listening to the upstream …";
      draw(heard, true);
    },
    /** @param {number} status @param {Heard | null} heard @param {string | null} error @param {string} took */
    done(status, heard, error, took) {
      bar.hidden = true;
      if (heard) draw(heard, false);
      if (error) {
        said.append(
          h("p", { class: "error-text", role: "alert" }, status > 0 && status !== 200 ? `${status}: ${error}` : error),
        );
        step.textContent = "";
        return;
      }
      step.textContent = `Done in ${took}, as this page saw it.`;
      announce(`Done: ${heard?.text.slice(0, 500) ?? ""}`);
      if (heard)
        fill(
          tools,
          copyButton("Copy", () => heard.text),
        );
    },
    /** @param {RequestRecord | null} record */
    recorded(record) {
      if (!record)
        return fill(
          link,
          h("p", { class: "muted small" }, "There is no record of it: the store keeps none, or is behind."),
        );
      const numbers = [
        ["Latency", milliseconds(record.timing_ms.total)],
        ["Audio", seconds(record.audio.seconds)],
        ["Cost", money(record.cost_usd)],
        ["Overlap saved", milliseconds(record.timing_ms.overlap_saved)],
      ];
      fill(
        figures,
        numbers.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
      );
      return fill(link, h("a", { class: "button", href: `/requests/${record.id}` }, "Open its record"));
    },
  };
}
