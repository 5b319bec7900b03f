// Where one is: `#/page/argument?name=value`. Everything that can be opened has an address of its own.

import { past, path, session } from "./data/api.js";

/** What the moment and the tenant that are looked at are called in an address. */
const AT = "at";
const TENANT = "tenant";
const DEFAULT = "default";

/**
 * @typedef {Object} Route
 * @property {string} page
 * @property {string[]} args
 * @property {URLSearchParams} query
 * @property {import("./data/api.js").Tenant} tenant
 * @property {number} at the moment to look at, Unix ms; 0: now
 */

/** @param {string} hash @returns {Route} */
export function parse(hash) {
  const [place, search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [page, ...args] = place.split("/").map(decode);
  const query = new URLSearchParams(search);
  const at = Date.parse(query.get(AT) ?? "") || 0;
  const [domain, project] = (query.get(TENANT) ?? "").split("/").map(decode);
  query.delete(AT);
  query.delete(TENANT);
  return { page: page || "overview", args, query, tenant: { domain: domain || DEFAULT, project: project || DEFAULT }, at };
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * The address of a page, of the tenant and as of the moment that are looked at.
 * @param {string} page
 * @param {string[]} [args]
 * @param {Record<string, string>} [query] those that are blank are left out
 * @param {{at?: number, tenant?: import("./data/api.js").Tenant}} [other] another moment, Unix ms (0: now); another tenant
 */
export function link(page, args = [], query = {}, { at = past.ms, tenant = session.tenant } = {}) {
  const place = [page, ...args].map(encodeURIComponent).join("/");
  const moment = at ? new Date(at).toISOString().replace(".000Z", "Z") : "";
  const { domain, project } = tenant;
  const named = domain === DEFAULT && project === DEFAULT ? "" : path(domain, project);
  const given = Object.entries({ ...query, [TENANT]: named, [AT]: moment }).filter(([, value]) => value !== "");
  return `#/${place}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

/**
 * Keep what was chosen in the address, so that it can be sent to somebody, and Back works; nothing is drawn anew.
 * @param {string} page
 * @param {string[]} args
 * @param {Record<string, string>} query
 */
export function remember(page, args, query) {
  history.replaceState(null, "", link(page, args, query));
}
