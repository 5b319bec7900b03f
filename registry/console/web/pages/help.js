// Help: the pages of documentation that come with the registry, and a search in all of them.

import { get, request } from "../data/api.js";
import { h, replace } from "../parts/dom.js";
import { soon, words } from "../parts/filter.js";
import { render } from "../parts/markdown.js";
import { input, trouble } from "../parts/pieces.js";
import { link } from "../router.js";
import { t } from "../texts.js";

/** @typedef {{name: string, title: string}} Page */

/** The page that leads to all others. */
const INDEX = "README.md";
/** Lines shown of one page, and characters of a line. */
const LINES_MAX = 3;
const LETTERS_MAX = 200;

/** @param {HTMLElement} main @param {import("../router.js").Route} route @param {AbortSignal} signal */
export async function show(main, route, signal) {
  const place = h("article.doc");
  const contents = h("p");
  const search = input("text", "", { type: "search", "aria-label": t("help.search"), placeholder: t("help.search"), oninput: soon(() => void find()) });
  replace(main, h("h1", t("page.help")), h("div.filters", search), h("nav", { "aria-label": t("help.pages") }, contents), place);
  /** @type {Page[]} */
  let pages = [];
  try {
    pages = await get("help/pages.json", { signal });
    const name = route.args[0] ?? INDEX;
    if (name !== INDEX) replace(contents, h("a", { href: link("help") }, t("help.index")));
    replace(place, render(await text(name), (page) => link("help", [page])));
  } catch (error) {
    if (!signal.aborted) replace(place, trouble(error));
  }

  /** @param {string} name */
  async function text(name) {
    const response = await request("GET", `help/${encodeURIComponent(name)}`, { signal });
    if (!response.ok) throw new Error(t("help.unknown", { name }));
    return response.text();
  }

  async function find() {
    const wanted = search.value.trim();
    if (signal.aborted) return;
    if (!wanted) {
      replace(place);
      return;
    }
    const passes = words(wanted);
    const all = await Promise.all(pages.map(async (page) => ({ page, lines: (await text(page.name)).split("\n") })));
    if (signal.aborted || wanted !== search.value.trim()) return;
    const found = all.map(({ page, lines }) => ({ page, hits: lines.filter((line) => passes(line.toLowerCase())) })).filter(({ hits }) => hits.length);
    replace(
      place,
      h("p.muted", { role: "status" }, t("help.found", { count: found.length })),
      found.map(({ page, hits }) => h("section", h("h2", h("a", { href: link("help", [page.name]) }, page.title)), hits.slice(0, LINES_MAX).map((line) => h("p", line.slice(0, LETTERS_MAX))))),
    );
  }
}
