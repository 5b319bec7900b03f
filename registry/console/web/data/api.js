// The public API, as this console asks it: with the tenant, the token, and errors in the API's shape.

import { t } from "../texts.js";

/** @typedef {{domain: string, project: string}} Tenant */

/** An answer that is no success. `status` 0: there was none. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} message
   * @param {string} detail
   */
  constructor(status, code, message, detail) {
    super(detail ? `${message}: ${detail}` : message);
    this.status = status;
    this.code = code;
    this.detail = detail;
  }
}

/** Milliseconds that an answer may take. */
export const TIMEOUT_MS = 15_000;
const TOKEN = "registry.token";
const ACCOUNT = "registry.account";

/** What every request needs to know. The token is kept for this tab only. */
export const session = {
  /** @returns {string} */
  get token() {
    return sessionStorage.getItem(TOKEN) ?? "";
  },
  set token(value) {
    if (value) sessionStorage.setItem(TOKEN, value);
    else sessionStorage.removeItem(TOKEN);
  },
  /** Whose token it is. */
  get account() {
    return sessionStorage.getItem(ACCOUNT) ?? "";
  },
  set account(value) {
    sessionStorage.setItem(ACCOUNT, value);
  },
  /** The one that is looked at, which the address names. @type {Tenant} */
  tenant: { domain: "default", project: "default" },
};

/** The moment that is looked at, which the address names. */
export const past = {
  /** Unix ms; 0: now. */
  ms: 0,
};

/** What can be read as of a moment. */
const OF_THE_PAST = /^\/(v4\/[^/]+\/(registry|govern)\/|v1\/[^/]+\/(catalog|instances|find|schemas|gov)\b)/;

/** @param {string} method @param {string} target */
function asOf(method, target) {
  if (!past.ms || method !== "GET" || !OF_THE_PAST.test(target)) return target;
  return `${target}${target.includes("?") ? "&" : "?"}asOf=${past.ms}`;
}

/** @param {...string} segments of a path, each percent-encoded */
export function path(...segments) {
  return segments.map(encodeURIComponent).join("/");
}

/** Below `/v4/{project}/registry`. @param {...string} segments */
export function registry(...segments) {
  return `/v4/${path(session.tenant.project)}/registry/${path(...segments)}`;
}

/** Below `/v1/{project}`. @param {...string} segments */
export function own(...segments) {
  return `/v1/${path(session.tenant.project)}/${path(...segments)}`;
}

/** Below `/v4/{project}/admin`. @param {...string} segments */
export function admin(...segments) {
  return `/v4/${path(session.tenant.project)}/admin/${path(...segments)}`;
}

/** @param {Record<string, string>} parameters those that are blank are left out */
export function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

/** @returns {Record<string, string>} */
function ownHeaders() {
  // A header is Latin-1: the domain's UTF-8 bytes are sent as they are.
  const domain = String.fromCharCode(...new TextEncoder().encode(session.tenant.domain));
  const token = session.token;
  return { "X-Domain-Name": domain, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
}

/**
 * One request, whatever its answer.
 * @param {string} method
 * @param {string} target
 * @param {{body?: unknown, text?: string, headers?: Record<string, string>, signal?: AbortSignal}} [more]
 * @returns {Promise<Response>}
 */
export async function request(method, target, more = {}) {
  const body = more.text ?? (more.body === undefined ? undefined : JSON.stringify(more.body));
  const limits = [AbortSignal.timeout(TIMEOUT_MS), ...(more.signal ? [more.signal] : [])];
  try {
    const headers = { ...ownHeaders(), ...(body === undefined ? {} : { "Content-Type": "application/json" }) };
    return await fetch(asOf(method, target), {
      method,
      body,
      headers: { ...headers, ...more.headers },
      signal: AbortSignal.any(limits),
      cache: "no-store",
      credentials: "omit",
    });
  } catch (error) {
    if (more.signal?.aborted) throw error;
    throw new ApiError(0, "", t("trouble.no-answer"), "");
  }
}

/**
 * The answer as it comes, without an end.
 * @param {string} target
 * @param {string} accept its type
 * @param {AbortSignal} signal
 */
export async function open(target, accept, signal) {
  const headers = { ...ownHeaders(), Accept: accept };
  let response;
  try {
    response = await fetch(target, { headers, signal, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError(0, "", t("trouble.no-answer"), "");
  }
  if (!response.ok || !response.body) throw await refusal(response);
  return response.body.getReader();
}

/**
 * One request that must succeed.
 * @param {string} method
 * @param {string} target
 * @param {Parameters<typeof request>[2]} [more]
 * @returns {Promise<any>} the JSON of its answer, null when there is none
 */
export async function call(method, target, more) {
  const response = await request(method, target, more);
  if (!response.ok) throw await refusal(response);
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

/** @param {string} target @param {Parameters<typeof request>[2]} [more] */
export function get(target, more) {
  return call("GET", target, more);
}

/** @param {Response} response @returns {Promise<ApiError>} */
export async function refusal(response) {
  const text = await response.text();
  try {
    const error = JSON.parse(text);
    return new ApiError(response.status, error.errorCode ?? "", error.errorMessage ?? text, error.detail ?? "");
  } catch {
    return new ApiError(response.status, "", text.trim() || response.statusText, "");
  }
}
