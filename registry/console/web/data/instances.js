// Instances of services, fetched when they are looked at, and again when their service has changed.

import { get, query, registry } from "./api.js";
import { store } from "./store.js";

/** @typedef {Record<string, any>} Instance as the API has it */

/** Services whose instances are kept; the ones that were looked at longest ago go. */
const KEPT_MAX = 400;
/** Questions under way at once. */
const ASKING_MAX = 4;

/** What is known of the instances of services. Tells `changed` when it knows more. */
export class Instances extends EventTarget {
  /** @param {AbortSignal} signal ends it */
  constructor(signal) {
    super();
    this._signal = signal;
    /** Those that are known, and whether they are still true. @type {Map<string, {list: Instance[], stale: boolean}>} */
    this._known = new Map();
    /** @type {Set<string>} */
    this._asking = new Set();
    /** @type {string[]} newest wish last */
    this._wanted = [];
    store.addEventListener("changed", (event) => this._note(/** @type {CustomEvent<Set<string>>} */ (event).detail), { signal });
  }

  /** @param {Set<string>} changed */
  _note(changed) {
    for (const id of changed) {
      const known = this._known.get(id);
      if (known) known.stale = true;
    }
  }

  /**
   * The service's instances, perhaps of a moment ago; null: they are being fetched.
   * @param {string} serviceId
   * @returns {Instance[] | null}
   */
  of(serviceId) {
    const known = this._known.get(serviceId);
    if (known) {
      this._known.delete(serviceId);
      this._known.set(serviceId, known);
    }
    if (!known || known.stale) this._want(serviceId);
    return known ? known.list : null;
  }

  /** @param {string} serviceId */
  _want(serviceId) {
    if (this._asking.has(serviceId)) return;
    this._wanted = [...this._wanted.filter((id) => id !== serviceId), serviceId].slice(-KEPT_MAX);
    this._next();
  }

  _next() {
    while (this._asking.size < ASKING_MAX && this._wanted.length && !this._signal.aborted) {
      const id = /** @type {string} */ (this._wanted.pop());
      this._asking.add(id);
      void this._fetch(id);
    }
  }

  /** @param {string} id */
  async _fetch(id) {
    const known = this._known.get(id);
    if (known) known.stale = false;
    try {
      const list = await instancesOf(id, this._signal);
      this._known.set(id, { list, stale: this._known.get(id)?.stale ?? false });
    } catch {
      // It has left, or the registry is away: the store says so, and a change asks again.
      if (!known) this._known.set(id, { list: [], stale: false });
    }
    if (this._known.size > KEPT_MAX) this._known.delete(/** @type {string} */ (this._known.keys().next().value));
    this._asking.delete(id);
    if (this._signal.aborted) return;
    this.dispatchEvent(new CustomEvent("changed", { detail: id }));
    this._next();
  }
}

/**
 * @param {string} serviceId
 * @param {AbortSignal} signal
 * @returns {Promise<Instance[]>}
 */
export async function instancesOf(serviceId, signal) {
  const target = registry("microservices", serviceId, "instances") + query({ noCache: "1" });
  return (await get(target, { signal }))?.instances ?? [];
}
