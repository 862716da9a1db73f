/** The recording to send: dropped, chosen or spoken. */

import { fill, h, icon } from "./dom.js";
import { bytes, position } from "./format.js";
import { record, whyNotRecord } from "./recorder.js";

const TYPES = "audio/*,video/mp4,video/webm,.flac,.m4a,.mp3,.mp4,.mpeg,.mpga,.oga,.ogg,.wav,.webm";

/** @param {(file: File | null) => void} chosen */
export function audioField(chosen) {
  const input = h("input", { id: "file", type: "file", accept: TYPES, class: "sr-only" });
  const zone = h("label", { for: "file", class: "drop" });
  const player = h("audio", { controls: true, hidden: true, "aria-label": "Listen to the recording" });
  const mic = h("button", { type: "button", class: "button" });
  const said = h("p", { class: "small muted", role: "status" });
  const cannot = whyNotRecord();
  /** @type {Awaited<ReturnType<typeof record>> | null} */
  let running = null;
  let [ticking, began, address] = [0, 0, ""];

  /** @param {File | null} file */
  const take = (file) => {
    if (address) URL.revokeObjectURL(address);
    address = file ? URL.createObjectURL(file) : "";
    player.hidden = !file;
    if (file) player.src = address;
    else player.removeAttribute("src");
    draw(file);
    chosen(file);
  };
  /** @param {File | null} file */
  const draw = (file) => {
    zone.classList.toggle("full", Boolean(file));
    fill(
      zone,
      icon("file"),
      file
        ? [h("strong", {}, file.name), h("span", { class: "muted" }, `${bytes(file.size)} · choose another`)]
        : [h("strong", {}, "Drop a recording here"), h("span", { class: "muted" }, "or click to choose a file")],
    );
  };
  const drawMic = () => {
    mic.classList.toggle("recording", running !== null);
    fill(
      mic,
      icon(running ? "stop" : "mic"),
      running ? `Stop, ${position((performance.now() - began) / 1000)}` : "Record",
    );
  };
  const stop = async () => {
    const recorder = running;
    running = null;
    clearInterval(ticking);
    drawMic();
    if (recorder) take(await recorder.stop());
  };
  mic.addEventListener("click", async () => {
    if (running) return stop();
    said.textContent = "";
    try {
      running = await record();
      began = performance.now();
      ticking = setInterval(drawMic, 100);
    } catch (error) {
      said.textContent = `No recording: ${/** @type {Error} */ (error).message}`;
    }
    drawMic();
  });
  input.addEventListener("change", () => take(input.files?.[0] ?? null));
  zone.addEventListener("dragover", (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const file = event.dataTransfer?.files[0];
    if (file) take(file);
  });
  if (cannot) {
    mic.disabled = true;
    said.textContent = cannot;
  }
  draw(null);
  drawMic();
  return {
    element: h(
      "div",
      { class: "audio-field" },
      h("div", { class: "drop-slot" }, input, zone),
      h("div", { class: "row" }, mic, player),
      said,
    ),
    close() {
      clearInterval(ticking);
      running?.cancel();
      if (address) URL.revokeObjectURL(address);
    },
  };
}
