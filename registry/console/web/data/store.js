// The store: this tab's copy of the tenant's outline, kept current. Pages read it and are told of every change.
//
// What has changed is asked for by position: the answer to "nothing" is 304, and a change costs what changed.

import { ApiError, own, past, query, refusal, request } from "./api.js";

/**
 * @typedef {Object} Service one microservice version
 * @property {string} id
 * @property {string} env
 * @property {string} app
 * @property {string} name
 * @property {string} version
 * @property {Record<string, any>} body as the API has it
 * @property {Record<string, string>} tags
 * @property {Record<string, number>} counts status -> number of instances
 * @property {number} total instances
 * @property {string} text what a filter looks into, in lower case
 */

/** Milliseconds from one question to the next: while people look, while they do not, and after a failure. */
export const ASK_EVERY_MS = 1000;
export const ASK_HIDDEN_MS = 10_000;
export const RETRY_MS = 2000;
/** A large catalog is asked for less often: at most this share of the time is spent on it. */
const BUSY_SHARE = 10;

/** `changed`: ids of services that are new, gone or not as before. */
export class Store extends EventTarget {
  constructor() {
    super();
    /** @type {Map<string, Service>} */
    this.services = new Map();
    this.position = "";
    /** When the newest answer came, Unix ms; 0: there was none. */
    this.heardMs = 0;
    /** Why the registry cannot be asked, or null. @type {ApiError | null} */
    this.trouble = null;
    this.loaded = false;
    /** @type {AbortController} */
    this._stop = new AbortController();
    this._wake = () => {};
  }

  /** Follow the tenant from the beginning. */
  start() {
    this._stop.abort();
    this._stop = new AbortController();
    this.services = new Map();
    this.position = "";
    this.loaded = false;
    this.heardMs = 0;
    this._follow(this._stop.signal);
  }

  stop() {
    this._stop.abort();
    this.trouble = null;
  }

  /** Ask now: something was done. */
  wake() {
    this._wake();
  }

  /** @param {AbortSignal} signal */
  async _follow(signal) {
    while (!signal.aborted) {
      const began = performance.now();
      let pause = document.hidden ? ASK_HIDDEN_MS : ASK_EVERY_MS;
      if (past.ms && this.loaded) {
        // What was then changes no more.
        await this._sleep(ASK_HIDDEN_MS, signal);
        continue;
      }
      try {
        const changed = await this._ask(signal);
        pause = Math.max(pause, (performance.now() - began) * (changed ? BUSY_SHARE : 1));
        this._tell(null, changed);
      } catch (error) {
        if (signal.aborted) return;
        pause = RETRY_MS;
        this._tell(error instanceof ApiError ? error : new ApiError(0, "", String(error), ""), null);
      }
      await this._sleep(pause, signal);
    }
  }

  /**
   * @param {ApiError | null} trouble
   * @param {Set<string> | null} changed
   */
  _tell(trouble, changed) {
    this.trouble = trouble;
    if (!trouble) this.heardMs = Date.now();
    if (changed) this.dispatchEvent(new CustomEvent("changed", { detail: changed }));
    this.dispatchEvent(new Event("heard"));
  }

  /** @param {number} ms @param {AbortSignal} signal */
  _sleep(ms, signal) {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      /** @this {unknown} */
      function done() {
        clearTimeout(timer);
        resolve(undefined);
      }
      this._wake = done;
      signal.addEventListener("abort", done, { once: true });
    });
  }

  /** @param {AbortSignal} signal @returns {Promise<Set<string> | null>} what changed; null: nothing */
  async _ask(signal) {
    if (!this.loaded) return this._load(signal);
    let found;
    try {
      found = await this._pages(this.position, signal);
    } catch (error) {
      // This log does not reach the position: it is another one, or this replica is behind.
      if (error instanceof ApiError && error.status === 500) return this._load(signal);
      throw error;
    }
    if (!found) return null;
    /** @type {Set<string>} */
    const changed = new Set();
    for (const service of found.services) {
      this.services.set(service.id, service);
      changed.add(service.id);
    }
    this.position = found.position;
    return this.services.size === found.total ? changed : this._load(signal);
  }

  /** Everything anew. @param {AbortSignal} signal */
  async _load(signal) {
    const found = await this._pages("", signal);
    if (!found) return null;
    const changed = new Set(this.services.keys());
    this.services = new Map(found.services.map((service) => [service.id, service]));
    for (const id of this.services.keys()) changed.add(id);
    this.position = found.position;
    this.loaded = true;
    return changed;
  }

  /**
   * @param {string} since
   * @param {AbortSignal} signal
   * @returns {Promise<{services: Service[], total: number, position: string} | null>} null: nothing has changed
   */
  async _pages(since, signal) {
    /** @type {Service[]} */
    const services = [];
    let position = "";
    let offset = 0;
    for (;;) {
      const target = own("catalog") + query({ since, offset: offset ? String(offset) : "", withShared: "1" });
      const headers = since ? { "X-Registry-Position": since } : {};
      const response = await request("GET", target, { signal, headers: /** @type {Record<string, string>} */ (headers) });
      if (response.status === 304) return null;
      if (!response.ok) throw await refusal(response);
      const page = await response.json();
      // What changes while the pages are read is told by the next question, which begins at the first page's position.
      position ||= response.headers.get("X-Registry-Position") ?? "";
      for (const row of page.services) services.push(serviceOf(row));
      if (!page.next) return { services, total: page.total, position };
      offset = page.next;
    }
  }
}

/** @param {{service: Record<string, any>, instances?: Record<string, number>, tags?: Record<string, string>}} row */
function serviceOf(row) {
  const body = row.service;
  const counts = row.instances ?? {};
  const tags = row.tags ?? {};
  const pairs = [...Object.entries(body.properties ?? {}), ...Object.entries(tags)].map(([k, v]) => `${k}=${v}`);
  const parts = [body.serviceName, body.alias, body.appId, body.environment, body.version, body.serviceId, ...pairs];
  return {
    id: body.serviceId,
    env: body.environment ?? "",
    app: body.appId ?? "",
    name: body.serviceName ?? "",
    version: body.version ?? "",
    body,
    tags,
    counts,
    total: Object.values(counts).reduce((sum, count) => sum + count, 0),
    text: parts.filter(Boolean).join("\n").toLowerCase(),
  };
}

/** The one store of this tab. */
export const store = new Store();
