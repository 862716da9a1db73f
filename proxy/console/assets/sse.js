/** Server-sent events out of a text that grows (WHATWG HTML, 9.2.6). */

/** @param {(data: string) => void} told called with each event's data */
export function eventReader(told) {
  let rest = "";
  return {
    /** Take the next piece of the stream, cut anywhere. @param {string} piece */
    feed(piece) {
      const events = (rest + piece).split(/\r\n\r\n|\n\n|\r\r/);
      rest = events.pop() ?? "";
      for (const event of events) {
        const lines = event.split(/\r\n|\n|\r/).filter((line) => line.startsWith("data:"));
        if (lines.length) told(lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n"));
      }
    },
  };
}
