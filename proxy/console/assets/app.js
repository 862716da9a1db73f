/** The console: who is there, the bar on top, and the page that the address names. */

import { logOut, session as askSession } from "./api.js";
import { detailPage } from "./detail.js";
import { fill, h, icon } from "./dom.js";
import { loginPage } from "./login.js";
import { overviewPage } from "./overview.js";
import { playgroundPage } from "./playground.js";
import { forgetList, requestsPage } from "./requests.js";
import { render, start } from "./router.js";
import { settingsPage } from "./settings.js";
import { failed } from "./states.js";
import { themeButton } from "./theme.js";
import { upstreamsPage } from "./upstreams.js";

/** @typedef {import("./types.js").Page} Page @typedef {import("./api.js").Session} Session */

const NAV = [
  { name: "overview", path: "/", label: "Overview" },
  { name: "requests", path: "/requests", label: "Requests" },
  { name: "upstreams", path: "/upstreams", label: "Upstreams" },
  { name: "playground", path: "/playground", label: "Playground" },
  { name: "settings", path: "/settings", label: "Settings" },
];

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const nav = /** @type {HTMLElement} */ (document.getElementById("nav"));
const tools = /** @type {HTMLElement} */ (document.getElementById("tools"));

/** @type {Session | null} */
let session = null;
let started = false;

/** Ask who we are, and show the page or the way in. */
async function begin() {
  try {
    session = await askSession();
  } catch (error) {
    drawBar("");
    fill(main, failed(error, begin));
    return;
  }
  if (!session?.logged_in) forgetList();
  if (!started) {
    started = true;
    start(ROUTES, show);
  } else {
    render();
  }
}

/** @param {(match: RegExpExecArray, query: URLSearchParams, session: Session) => Page} make */
function guarded(make) {
  /** @param {RegExpExecArray} match @param {URLSearchParams} query */
  return (match, query) => {
    if (session === null) throw new Error("no page before the session is known");
    return session.logged_in ? make(match, query, session) : loginPage(begin);
  };
}

const ROUTES = [
  { name: "overview", pattern: /^\/(?:login)?$/, make: guarded((_, query, who) => overviewPage(query, who)) },
  { name: "requests", pattern: /^\/requests$/, make: guarded((_, query, who) => requestsPage(query, who)) },
  { name: "detail", pattern: /^\/requests\/([^/]+)$/, make: guarded((match, _, who) => detailPage(match[1], who)) },
  { name: "upstreams", pattern: /^\/upstreams$/, make: guarded(() => upstreamsPage()) },
  { name: "playground", pattern: /^\/playground$/, make: guarded((_, __, who) => playgroundPage(who)) },
  { name: "settings", pattern: /^\/settings$/, make: guarded(() => settingsPage()) },
];

/** @param {Page} page @param {string} name */
function show(page, name) {
  document.title = `${page.title} · Audiogate`;
  drawBar(name);
  fill(main, page.element);
  if (!page.parked) {
    scrollTo(0, 0);
    if (shownBefore) main.focus({ preventScroll: true });
  }
  shownBefore = true;
}
let shownBefore = false;

/** @param {string} name of the page that is shown */
function drawBar(name) {
  const inside = session?.logged_in;
  const here = name === "detail" ? "requests" : name;
  const links = NAV.map((one) =>
    h("a", { href: one.path, "aria-current": one.name === here ? "page" : null }, one.label),
  );
  fill(nav, inside ? links : []);
  nav.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  const leave =
    inside &&
    session?.token_needed &&
    h("button", { type: "button", class: "button quiet", onclick: leaveNow }, icon("leave"), "Log out");
  fill(tools, session?.version && h("span", { class: "version" }, `v${session.version}`), themeButton(), leave);
}

async function leaveNow() {
  await logOut().catch(() => null); // whatever it says, this page shows nothing more
  await begin();
}

document.addEventListener("audiogate:logged-out", () => {
  if (session?.logged_in) begin();
});
begin();
