// Markdown, as our pages of documentation use it, into elements. Text stays text; links lead to pages, or to the web.

import { h } from "./dom.js";

/** @typedef {import("./dom.js").Child} Child */

/**
 * @param {string} text
 * @param {(page: string) => string} pageLink the address of another page
 * @returns {HTMLElement[]}
 */
export function render(text, pageLink) {
  const lines = text.replace(/\r/g, "").split("\n");
  /** @type {HTMLElement[]} */
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (!line.trim()) at += 1;
    else if (line.startsWith("```")) at = code(lines, at, blocks);
    else if (/^#{1,6} /.test(line)) at = heading(lines, at, blocks, pageLink);
    else if (line.startsWith("|")) at = table(lines, at, blocks, pageLink);
    else if (ITEM.test(line)) at = list(lines, at, blocks, pageLink);
    else if (line.startsWith(">")) at = quote(lines, at, blocks, pageLink);
    else at = paragraph(lines, at, blocks, pageLink);
  }
  return blocks;
}

const ITEM = /^(\s*)([-*]|\d+\.) +(.*)$/;

/** @typedef {(page: string) => string} PageLink */

/** @param {string[]} lines @param {number} at @param {HTMLElement[]} blocks */
function code(lines, at, blocks) {
  const body = [];
  let next = at + 1;
  while (next < lines.length && !lines[next].startsWith("```")) body.push(lines[next++]);
  blocks.push(h("pre", { tabindex: 0 }, h("code", body.join("\n"))));
  return next + 1;
}

/** @param {string[]} lines @param {number} at @param {HTMLElement[]} blocks @param {PageLink} pageLink */
function heading(lines, at, blocks, pageLink) {
  const [, marks, text] = /** @type {RegExpMatchArray} */ (lines[at].match(/^(#+) (.*)$/));
  blocks.push(h(`h${marks.length}`, { id: anchor(text) }, inline(text, pageLink)));
  return at + 1;
}

/** What a heading is called in links to it. @param {string} text */
export function anchor(text) {
  return text.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").trim().replace(/ /g, "-");
}

/** @param {string} line */
function cells(line) {
  // A bar in code, or behind a backslash, does not part cells.
  const parts = line.trim().replace(/^\|/, "").replace(/\|$/, "").match(/(?:`[^`]*`|\\\||[^|`]|`)+|(?<=\|)(?=\||$)/g) ?? [];
  return parts.map((part) => part.trim().replace(/\\\|/g, "|"));
}

/** @param {string[]} lines @param {number} at @param {HTMLElement[]} blocks @param {PageLink} pageLink */
function table(lines, at, blocks, pageLink) {
  const rows = [];
  let next = at;
  while (next < lines.length && lines[next].startsWith("|")) rows.push(cells(lines[next++]));
  const [head, ...rest] = rows;
  // Several tables of a page may have the same columns: the heading above tells them apart.
  const above = blocks.findLast((block) => /^H\d$/.test(block.tagName))?.textContent;
  const body = rest.filter((row, place) => place > 0 || !row.every((cell) => /^:?-+:?$/.test(cell)));
  blocks.push(
    h(
      "div.scroll",
      { tabindex: 0, role: "region", "aria-label": [above, ...head].filter(Boolean).join(", ") },
      h("table", h("thead", h("tr", head.map((cell) => h("th", { scope: "col" }, inline(cell, pageLink))))), h("tbody", body.map((row) => h("tr", row.map((cell) => h("td", inline(cell, pageLink))))))),
    ),
  );
  return next;
}

/** @param {string[]} lines @param {number} at @param {HTMLElement[]} blocks @param {PageLink} pageLink */
function list(lines, at, blocks, pageLink) {
  const first = /** @type {RegExpMatchArray} */ (lines[at].match(ITEM));
  const made = h(/\d/.test(first[2]) ? "ol" : "ul");
  const depth = first[1].length;
  let next = at;
  while (next < lines.length) {
    const found = lines[next].match(ITEM);
    if (!found || found[1].length < depth) break;
    if (found[1].length > depth) {
      /** @type {HTMLElement[]} */
      const inner = [];
      next = list(lines, next, inner, pageLink);
      made.lastElementChild?.append(...inner);
      continue;
    }
    let text = found[3];
    next += 1;
    while (next < lines.length && lines[next].trim() && !ITEM.test(lines[next]) && /^\s/.test(lines[next])) text += ` ${lines[next++].trim()}`;
    made.append(h("li", inline(text, pageLink)));
    if (next + 1 < lines.length && !lines[next].trim() && ITEM.test(lines[next + 1])) next += 1;
  }
  blocks.push(made);
  return next;
}

/** @param {string[]} lines @param {number} at @param {HTMLElement[]} blocks @param {PageLink} pageLink */
function quote(lines, at, blocks, pageLink) {
  const body = [];
  let next = at;
  while (next < lines.length && lines[next].startsWith(">")) body.push(lines[next++].replace(/^> ?/, ""));
  blocks.push(h("blockquote", render(body.join("\n"), pageLink)));
  return next;
}

/** @param {string[]} lines @param {number} at @param {HTMLElement[]} blocks @param {PageLink} pageLink */
function paragraph(lines, at, blocks, pageLink) {
  const body = [lines[at].trim()];
  let next = at + 1;
  while (next < lines.length && lines[next].trim() && !/^(#{1,6} |```|\||>)/.test(lines[next]) && !ITEM.test(lines[next])) body.push(lines[next++].trim());
  blocks.push(h("p", inline(body.join(" "), pageLink)));
  return next;
}

const INLINE = /(`+)(.+?)\1|\*\*(.+?)\*\*|(?<![\w*])\*([^*\s][^*]*)\*|!\[([^\]]*)\]\(([^)\s]+)\)|\[([^\]]+)\]\(([^)\s]+)\)|<?(https?:\/\/[^\s<>)`]+)>?/;

/** @param {string} text @param {PageLink} pageLink @returns {Child[]} */
function inline(text, pageLink) {
  /** @type {Child[]} */
  const parts = [];
  let left = text;
  for (let found = left.match(INLINE); found; found = left.match(INLINE)) {
    parts.push(left.slice(0, found.index));
    left = left.slice((found.index ?? 0) + found[0].length);
    const [, , code, strong, weak, picture, source, words, target, address] = found;
    if (code !== undefined) parts.push(h("code", code.trim()));
    else if (strong !== undefined) parts.push(h("strong", inline(strong, pageLink)));
    else if (weak !== undefined) parts.push(h("em", inline(weak, pageLink)));
    else if (source !== undefined) parts.push(image(picture, source));
    else if (target !== undefined) parts.push(anchorTo(words, target, pageLink));
    else parts.push(h("a", { href: address, rel: "noreferrer", target: "_blank" }, address));
  }
  return [...parts, left];
}

/** Only our own pictures are shown. @param {string} words @param {string} source */
function image(words, source) {
  return /^images\/[\w.-]+$/.test(source) ? h("img", { src: `help/${source}`, alt: words }) : words;
}

/** @param {string} words @param {string} target @param {PageLink} pageLink */
function anchorTo(words, target, pageLink) {
  const page = target.match(/^(?:\.\/|\.\.\/decisions\/)?([\w-]+\.md)(?:#.*)?$/);
  if (page) return h("a", { href: pageLink(page[1]) }, inline(words, pageLink));
  if (/^https?:\/\//.test(target)) return h("a", { href: target, rel: "noreferrer", target: "_blank" }, inline(words, pageLink));
  return h("span", inline(words, pageLink));
}
