/** Numbers with their units, as people read them. Unknown is a dash, never zero. */

export const UNKNOWN = "–";

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const YEAR = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** @typedef {number | null | undefined} Maybe */

/** A count: `12,345`. @param {Maybe} value */
export function count(value) {
  return value === null || value === undefined ? UNKNOWN : WHOLE.format(value);
}

/** A number with three digits that matter: `1.24`, `56.3`, `812`. @param {number} value */
function three(value) {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

/** Milliseconds: `0.4 ms`, `496 ms`, `1.24 s`, `2 min 05 s`. @param {Maybe} value */
export function milliseconds(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value >= 999.5) return seconds(value / 1000);
  if (value >= 9.95 || value === 0) return `${value.toFixed(0)} ms`;
  return `${value.toFixed(1)} ms`;
}

/** Seconds: `3.00 s`, `56.3 s`, `2 min 05 s`, `1 h 02 min`. @param {Maybe} value */
export function seconds(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value < 59.95) return `${three(value)} s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  const minutes = Math.round(whole / 60);
  return `${count(Math.floor(minutes / 60))} h ${pad(minutes % 60)} min`;
}

/** A place in a recording: `0:07.5`, `12:30.0`. @param {Maybe} value */
export function position(value) {
  if (value === null || value === undefined) return UNKNOWN;
  const tenths = Math.round(value * 10);
  const minutes = Math.floor(tenths / 600);
  return `${minutes}:${pad(Math.floor((tenths % 600) / 10))}.${tenths % 10}`;
}

/** Hours of audio in a unit that fits: `42.0 s`, `12.5 min`, `1,204 h`. @param {Maybe} value seconds */
export function audio(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value < 60) return `${three(value)} s`;
  if (value < 3600) return `${three(value / 60)} min`;
  return value < 360_000 ? `${three(value / 3600)} h` : `${count(value / 3600)} h`;
}

/** Bytes: `812 B`, `225 kB`, `3.40 MB`. @param {Maybe} value */
export function bytes(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value < 1000) return `${value} B`;
  const steps = ["kB", "MB", "GB", "TB"];
  let at = 0;
  let size = value / 1000;
  while (size >= 999.5 && at < steps.length - 1) {
    size /= 1000;
    at += 1;
  }
  return `${three(size)} ${steps[at]}`;
}

/** Dollars, three digits that matter: `$12.40`, `$0.00285`, `$0`. @param {string | number | null | undefined} value */
export function money(value) {
  if (value === null || value === undefined) return UNKNOWN;
  const amount = Number(value);
  if (amount === 0) return "$0";
  if (amount >= 1000) return `$${count(amount)}`;
  if (amount >= 1) return `$${amount.toFixed(2)}`;
  const places = Math.min(12, 2 - Math.floor(Math.log10(amount)));
  return `$${amount.toFixed(places).replace(/(\.\d\d\d*?)0+$/, "$1")}`;
}

/** A share of one: `0 %`, `0.4 %`, `12 %`. @param {Maybe} value */
export function share(value) {
  if (value === null || value === undefined) return UNKNOWN;
  const percent = value * 100;
  return `${percent > 0 && percent < 9.95 ? percent.toFixed(1) : percent.toFixed(0)} %`;
}

/** A count with its noun: `1 request`, `12 requests`. @param {number} value @param {string} noun */
export function many(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** When something was, in the reader's own zone; the day is left out when it is today. @param {string} moment */
export function moment(moment) {
  const when = new Date(moment);
  return when.toDateString() === new Date().toDateString()
    ? CLOCK.format(when)
    : `${DAY.format(when)}, ${CLOCK.format(when)}`;
}

/** A moment in full: `21 Nov 2026, 07:58:19.300`. @param {string} moment */
export function wholeMoment(moment) {
  const when = new Date(moment);
  return `${YEAR.format(when)}, ${CLOCK.format(when)}.${String(when.getMilliseconds()).padStart(3, "0")}`;
}

/** A bucket's beginning: minutes on a day, or days. @param {number} epoch seconds @param {number} bucket seconds */
export function bucketStart(epoch, bucket) {
  const when = new Date(epoch * 1000);
  return bucket >= 86_400 ? DAY.format(when) : `${DAY.format(when)}, ${MINUTE.format(when)}`;
}

/** @param {number} value */
function pad(value) {
  return String(value).padStart(2, "0");
}
