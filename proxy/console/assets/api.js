/** The ops API: JSON in and out, and one kind of error for all that can go wrong. */

/** What went wrong, in words for people. `status` is 0 when nobody answered. */
export class ApiError extends Error {
  /** @param {number} status @param {string} code @param {string} message */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * Ask the API. A 401 is also announced as `audiogate:logged-out`, whoever asked.
 * @param {string} path
 * @param {{method?: string, body?: any, signal?: AbortSignal}} [options]
 * @returns {Promise<any>} the answer's JSON; null when there is no body
 */
export async function ask(path, { method = "GET", body, signal } = {}) {
  /** @type {Response} */
  let reply;
  try {
    const headers = {
      Accept: "application/json",
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
    };
    const data = body === undefined ? undefined : JSON.stringify(body);
    reply = await fetch(path, { method, headers, body: data, signal, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(
      0,
      "unreachable",
      "The gateway does not answer. It may be starting again, or have been stopped.",
    );
  }
  const document_ = reply.status === 204 ? null : await read(reply);
  if (reply.ok) return document_;
  const error = new ApiError(
    reply.status,
    document_?.error?.code ?? "",
    document_?.message ?? `Status ${reply.status}`,
  );
  if (reply.status === 401 && !path.startsWith("/api/session")) {
    document.dispatchEvent(new Event("audiogate:logged-out"));
  }
  throw error;
}

/** @param {Response} reply */
async function read(reply) {
  try {
    return await reply.json();
  } catch {
    if (!reply.ok) return null;
    throw new ApiError(
      reply.status,
      "not_json",
      "The answer is not JSON. Does something stand between you and the gateway?",
    );
  }
}

/** Return a path with the parameters that have a value. @param {string} path @param {Record<string, any>} parameters */
export function withQuery(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** @typedef {{token_needed: boolean, logged_in: boolean, version: string, store: string, transcripts: string,
 *   gateway: string}} Session */

/** @returns {Promise<Session>} */
export const session = () => ask("/api/session");
/** @param {string} token */
export const logIn = (token) => ask("/api/session", { method: "POST", body: { token } });
export const logOut = () => ask("/api/session", { method: "DELETE" });
/** @param {Record<string, any>} filters @param {AbortSignal} [signal] */
export const requests = (filters, signal) => ask(withQuery("/api/requests", filters), { signal });
/** @param {string} id @param {AbortSignal} [signal] */
export const request = (id, signal) => ask(`/api/requests/${encodeURIComponent(id)}`, { signal });
/** @param {Record<string, any>} question @param {AbortSignal} [signal] */
export const stats = (question, signal) => ask(withQuery("/api/stats", question), { signal });
/** @param {AbortSignal} [signal] */
export const upstreams = (signal) => ask("/api/upstreams", { signal });
/** @param {AbortSignal} [signal] */
export const settings = (signal) => ask("/api/config", { signal });
/** @param {AbortSignal} [signal] */
export const playground = (signal) => ask("/api/playground", { signal });
