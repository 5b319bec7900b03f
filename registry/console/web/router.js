// Where one is: `#/page/argument?name=value`. Everything that can be opened has an address of its own.

/**
 * @typedef {Object} Route
 * @property {string} page
 * @property {string[]} args
 * @property {URLSearchParams} query
 */

/** @param {string} hash @returns {Route} */
export function parse(hash) {
  const [place, search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [page, ...args] = place.split("/").map(decode);
  return { page: page || "overview", args, query: new URLSearchParams(search) };
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
 * The address of a page.
 * @param {string} page
 * @param {string[]} [args]
 * @param {Record<string, string>} [query] those that are blank are left out
 */
export function link(page, args = [], query = {}) {
  const place = [page, ...args].map(encodeURIComponent).join("/");
  const given = Object.entries(query).filter(([, value]) => value !== "");
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
