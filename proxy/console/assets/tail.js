/** The live tail: each new record as it is kept, by server-sent events. */

import { requests } from "./api.js";

/** @typedef {import("./types.js").RequestRecord} RequestRecord */

const AGAIN = 3000; // milliseconds until a stream that the browser has given up is asked for anew

/**
 * Listen for new records until `close` is called.
 * @param {{record: (record: RequestRecord) => void, opened: () => void, lost: () => void}} told
 *   `opened` is called each time the stream (again) tells of what is new from now on
 */
export function listen(told) {
  /** @type {EventSource | null} */
  let source = null;
  let timer = 0;
  let ended = false;
  const again = async () => {
    await requests({ limit: 1 }).catch(() => null); // says so if one is no longer logged in
    if (!ended) open();
  };
  const open = () => {
    source = new EventSource("/api/requests/stream");
    source.addEventListener("open", told.opened);
    source.addEventListener("message", (event) => told.record(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      told.lost();
      if (source?.readyState === EventSource.CLOSED) timer = setTimeout(again, AGAIN); // it was refused
    });
  };
  open();
  return {
    close() {
      ended = true;
      clearTimeout(timer);
      source?.close();
    },
  };
}
