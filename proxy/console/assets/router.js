/** Real paths by the History API: which page a path is, and what happens between two of them. */

/** @typedef {import("./types.js").Page} Page */

/**
 * @typedef {{pattern: RegExp, name: string, make: (match: RegExpExecArray, query: URLSearchParams) => Page}} Route
 */

/** @type {Route[]} */
let routes = [];
/** @type {Page | null} */
let page = null;
/** @type {(page: Page, name: string) => void} */
let show = () => {};

/** Begin: show the page of the present address, and follow links. @param {Route[]} known @param {typeof show} shower */
export function start(known, shower) {
  routes = known;
  show = shower;
  history.scrollRestoration = "manual";
  addEventListener("popstate", () => render());
  document.addEventListener("click", follow);
  render();
}

/** Go to a path of this site. @param {string} url @param {{replace?: boolean}} [options] */
export function navigate(url, { replace = false } = {}) {
  if (replace) history.replaceState(history.state, "", url);
  else history.pushState({ inside: true }, "", url);
  render();
}

/** Change the query without another page: what the page shows is what the address says. @param {string} url */
export function rewrite(url) {
  history.replaceState(history.state, "", url);
}

/** Whether "back" leads to another page of this console. */
export function cameFromInside() {
  return Boolean(history.state?.inside);
}

/** Show the present address anew. */
export function render() {
  const query = new URLSearchParams(location.search);
  for (const { pattern, name, make } of routes) {
    const match = pattern.exec(location.pathname);
    if (!match) continue;
    page?.leave?.();
    page = make(match, query);
    show(page, name);
    page.shown?.();
    return;
  }
}

/** @param {MouseEvent} event */
function follow(event) {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
    return;
  const link = /** @type {Element} */ (event.target).closest?.("a[href]");
  if (!(link instanceof HTMLAnchorElement) || link.target || link.hasAttribute("download")) return;
  if (link.origin !== location.origin || !routes.some(({ pattern }) => pattern.test(link.pathname))) return;
  if (link.hash) return;
  event.preventDefault();
  navigate(link.pathname + link.search);
}
