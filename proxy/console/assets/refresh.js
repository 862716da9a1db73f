/** Data that is asked for again and again while somebody looks. */

/**
 * Call `ask` now and every so many milliseconds, never twice at once, and not while the page is hidden.
 * @param {(signal: AbortSignal) => Promise<void>} ask
 * @param {number} every
 */
export function refresh(ask, every) {
  let ended = new AbortController();
  let timer = 0;
  const round = async () => {
    clearTimeout(timer);
    const mine = ended.signal;
    if (!document.hidden) await ask(mine);
    if (!mine.aborted) timer = setTimeout(round, every);
  };
  const seen = () => {
    if (!document.hidden && !ended.signal.aborted) round();
  };
  const stop = () => {
    ended.abort();
    clearTimeout(timer);
  };
  document.addEventListener("visibilitychange", seen);
  round();
  return {
    /** Ask now; what is under way is given up. */
    now() {
      stop();
      ended = new AbortController();
      round();
    },
    close() {
      stop();
      document.removeEventListener("visibilitychange", seen);
    },
  };
}
