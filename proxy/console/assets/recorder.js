/** The microphone: speak, stop, and there is a file. */

const KINDS = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];

/** Why this page cannot record, or null when it can. @returns {string | null} */
export function whyNotRecord() {
  if (!globalThis.isSecureContext) return "Browsers give the microphone to pages on this machine or by HTTPS only.";
  if (!navigator.mediaDevices?.getUserMedia || !globalThis.MediaRecorder) return "This browser cannot record.";
  return null;
}

/**
 * Begin to record. Raises when there is no microphone, or it was refused.
 * @returns {Promise<{stop: () => Promise<File>, cancel: () => void}>}
 */
export async function record() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const kind = KINDS.find((one) => MediaRecorder.isTypeSupported(one));
  const recorder = new MediaRecorder(stream, kind ? { mimeType: kind } : {});
  /** @type {Blob[]} */
  const pieces = [];
  recorder.addEventListener("dataavailable", (event) => pieces.push(event.data));
  recorder.start();
  const release = () => stream.getTracks().forEach((track) => track.stop());
  return {
    stop: () =>
      new Promise((done) => {
        recorder.addEventListener("stop", () => {
          release();
          const type = recorder.mimeType.split(";")[0] || "audio/webm";
          done(new File(pieces, `recording.${type.split("/")[1]}`, { type }));
        });
        recorder.stop();
      }),
    cancel: () => {
      if (recorder.state !== "inactive") recorder.stop();
      release();
    },
  };
}
