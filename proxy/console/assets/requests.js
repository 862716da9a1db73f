/** The page of requests. Its list is kept while one looks at a request, and shown again as it was left. */

import { withQuery } from "./api.js";
import { filtersFrom } from "./filters.js";
import { RequestList } from "./requestlist.js";

/** @typedef {import("./types.js").Page} Page @typedef {import("./api.js").Session} Session */

/** @type {RequestList | null} */
let kept = null;

/** @param {URLSearchParams} query @param {Session} session @returns {Page} */
export function requestsPage(query, session) {
  const filters = filtersFrom(query);
  const again = kept !== null && withQuery("", kept.filters) === withQuery("", filters);
  const list = again && kept ? kept : new RequestList(filters, session);
  kept = list;
  return {
    title: "Requests",
    element: list.element,
    parked: again,
    leave: () => list.leave(),
    shown: () => list.show(again),
  };
}

/** The ids on both sides of one in the list that is kept: the newer and the older. @param {string} id */
export function neighbours(id) {
  const ids = kept?.ids ?? [];
  const at = ids.indexOf(id);
  return { newer: at > 0 ? ids[at - 1] : null, older: at >= 0 && at + 1 < ids.length ? ids[at + 1] : null };
}

/** Forget the list: somebody else may come to this page. */
export function forgetList() {
  kept = null;
}

/** The list's own address, with its filters. */
export const listAddress = () => withQuery("/requests", kept?.filters ?? {});
