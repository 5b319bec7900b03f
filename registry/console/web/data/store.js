// The store: this tab's copy of the tenant's outline, kept current. Pages read it and are told of every change.
//
// The registry's feed tells that something has happened; what has changed since the position that is held is then asked
// for, which costs what changed. A window that nobody sees has no feed: a browser has few connections for all of them.

import { t } from "../texts.js";
import { ApiError, open, own, past, query, refusal, request } from "./api.js";

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

/** Milliseconds after which a lost connection is tried again. */
export const RETRY_MS = 1500;
/** Milliseconds between two questions while something happens all the time; a large catalog is asked for less often:
 * at most this share of the time is spent on it. */
const GAP_MS = 150;
const BUSY_SHARE = 10;
/** The feed says every 15 s that it is there. After this silence, ms, it is given up. */
export const SILENT_MAX_MS = 40_000;

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
      try {
        this._tell(null, await this._ask(signal));
        if (past.ms) return; // what was then changes no more
        if (document.hidden) await once(document, "visibilitychange", signal);
        else await this._listen(signal);
      } catch (error) {
        if (signal.aborted) return;
        this._tell(error instanceof ApiError ? error : new ApiError(0, "", String(error), ""), null);
        await sleep(RETRY_MS, signal);
      }
    }
  }

  /** Follow the feed until the window is hidden. Throws ApiError when it ends. @param {AbortSignal} signal */
  async _listen(signal) {
    const stop = new AbortController();
    const hide = () => document.hidden && stop.abort();
    document.addEventListener("visibilitychange", hide, { signal: stop.signal });
    let watch = setTimeout(() => stop.abort(), SILENT_MAX_MS);
    /** @type {unknown} */
    let failure = null;
    const look = this._looking(AbortSignal.any([signal, stop.signal]), (error) => {
      failure = error;
      stop.abort();
    });
    this._wake = look;
    try {
      const target = own("events") + query({ after: this.position });
      const reader = await open(target, "text/event-stream", AbortSignal.any([signal, stop.signal]));
      const decoder = new TextDecoder();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        clearTimeout(watch);
        watch = setTimeout(() => stop.abort(), SILENT_MAX_MS);
        this._tell(null, null);
        if (/^data:/m.test(decoder.decode(part.value, { stream: true }))) look();
      }
    } catch (error) {
      if (failure) throw failure;
      if (document.hidden) return;
      if (stop.signal.aborted && !signal.aborted) throw new ApiError(0, "", t("trouble.silent"), "");
      throw error;
    } finally {
      clearTimeout(watch);
      stop.abort();
    }
    throw new ApiError(0, "", t("trouble.ended"), "");
  }

  /**
   * What asks for the changes, one question at a time, however often it is called.
   * @param {AbortSignal} signal
   * @param {(error: unknown) => void} failed
   */
  _looking(signal, failed) {
    let busy = false;
    let again = false;
    const look = async () => {
      again = true;
      if (busy) return;
      busy = true;
      while (again && !signal.aborted) {
        again = false;
        const began = performance.now();
        try {
          this._tell(null, await this._ask(signal));
        } catch (error) {
          if (!signal.aborted) failed(error);
        }
        await sleep(Math.max(GAP_MS, (performance.now() - began) * BUSY_SHARE), signal);
      }
      busy = false;
    };
    return () => void look();
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

/** @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
function sleep(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
    function done() {
      clearTimeout(timer);
      resolve();
    }
  });
}

/** @param {EventTarget} target @param {string} type @param {AbortSignal} signal @returns {Promise<void>} */
function once(target, type, signal) {
  return new Promise((resolve) => {
    target.addEventListener(type, () => resolve(), { once: true, signal });
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** @param {{service: Record<string, any>, instances?: Record<string, number>, tags?: Record<string, string>}} row */
function serviceOf(row) {
  const body = row.service;
  const counts = row.instances ?? {};
  const tags = row.tags ?? {};
  const pairs = [...Object.entries(body.properties ?? {}), ...Object.entries(tags)].map(([k, v]) => `${k}=${v}`);
  const names = [body.serviceName, body.alias, body.appId, body.environment, body.version, body.serviceId];
  const parts = [...names, ...pairs, ...Object.keys(counts)];
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
