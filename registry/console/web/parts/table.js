// Tables. A long one draws only the rows that are seen, so that a hundred thousand scroll as smoothly as ten.

import { h, replace } from "./dom.js";
import { t } from "../texts.js";

/** @typedef {import("./dom.js").Child} Child */
/**
 * @template T
 * @typedef {Object} Column
 * @property {string} title
 * @property {(item: T) => Child | Child[]} cell
 * @property {string} [width] as CSS grid has it, `1fr` when absent
 * @property {boolean} [wide] only where there is room
 * @property {boolean} [end] of numbers: at the right
 */

/** Pixels; `style.css` has the same. */
const ROW = 40;
/** Rows drawn above and below what is seen. */
const SPARE = 8;
const NARROW = matchMedia("(max-width: 760px)");

/** @template T */
export class LongTable {
  /**
   * @param {Object} options
   * @param {string} options.label what the table is, for those who cannot see it
   * @param {Column<T>[]} options.columns
   * @param {(item: T) => string} options.href where a row leads, "" nowhere
   * @param {string} options.empty what is said when there are no rows
   * @param {AbortSignal} options.signal ends it
   * @param {boolean} [options.short] it is as high as its rows, until that is too much
   */
  constructor({ label, columns, href, empty, signal, short = false }) {
    this._short = short;
    this._columns = columns;
    this._href = href;
    this._empty = empty;
    this._count = 0;
    /** @type {(index: number) => T | null} */
    this._item = () => null;
    this._active = -1;
    this._head = h("div.tr.th", { role: "row", "aria-rowindex": 1 });
    this._rows = h("div.rows", { role: "rowgroup" });
    this._none = h("p.empty", { hidden: true }, empty);
    this.element = h(
      "div",
      { class: short ? "table short" : "table", role: "grid", "aria-label": label, tabindex: 0, onkeydown: (/** @type {KeyboardEvent} */ e) => this._key(e) },
      h("div.thead", { role: "rowgroup" }, this._head),
      this._rows,
      this._none,
    );
    this.element.addEventListener("scroll", () => this._soon(), { passive: true });
    this.element.addEventListener("focus", () => this._active < 0 && this._count > 0 && this._activate(0));
    NARROW.addEventListener("change", () => this.draw(), { signal });
    const watch = new ResizeObserver(() => this._soon());
    watch.observe(this.element);
    signal.addEventListener("abort", () => watch.disconnect());
    this._drawing = 0;
  }

  /**
   * Show these rows; where the table stands does not move.
   * @param {number} count
   * @param {(index: number) => T | null} item null: it is not known yet
   */
  show(count, item) {
    this._count = count;
    this._item = item;
    this._active = Math.min(this._active, count - 1);
    this.draw();
  }

  _soon() {
    if (!this._drawing) {
      this._drawing = requestAnimationFrame(() => {
        this._drawing = 0;
        this.draw();
      });
    }
  }

  draw() {
    const columns = this._columns.filter((column) => !(column.wide && NARROW.matches));
    const grid = columns.map((column) => column.width ?? "minmax(0, 1fr)").join(" ");
    this.element.setAttribute("aria-rowcount", String(this._count + 1));
    this._head.style.gridTemplateColumns = grid;
    replace(this._head, columns.map((column) => h("div", { role: "columnheader", class: column.end && "end" }, column.title)));
    this._none.hidden = this._count > 0;
    this._rows.style.height = `${this._count * ROW}px`;
    if (this._short) this.element.style.height = `${(this._count || 1) * ROW + ROW + 6}px`;
    const top = Math.max(0, Math.floor(this.element.scrollTop / ROW) - SPARE);
    const bottom = Math.min(this._count, Math.ceil((this.element.scrollTop + this.element.clientHeight) / ROW) + SPARE);
    const drawn = [];
    for (let index = top; index < bottom; index += 1) drawn.push(this._row(index, columns, grid));
    this._rows.replaceChildren(...drawn);
    const active = this._active >= top && this._active < bottom ? this._id(this._active) : null;
    if (active) this.element.setAttribute("aria-activedescendant", active);
    else this.element.removeAttribute("aria-activedescendant");
  }

  /** @param {number} index */
  _id(index) {
    return `row-${index}`;
  }

  /**
   * @param {number} index
   * @param {Column<T>[]} columns
   * @param {string} grid
   */
  _row(index, columns, grid) {
    const item = this._item(index);
    const href = item ? this._href(item) : "";
    const row = h("div.tr", {
      role: "row",
      id: this._id(index),
      "aria-rowindex": index + 2,
      onclick: (/** @type {MouseEvent} */ event) => {
        const inner = /** @type {Element} */ (event.target).closest("a, button");
        if (href && !inner && !String(getSelection())) location.hash = href;
      },
    });
    if (index === this._active) row.classList.add("active");
    if (href) row.classList.add("leads");
    row.style.gridTemplateColumns = grid;
    row.style.transform = `translateY(${index * ROW}px)`;
    for (const [place, column] of columns.entries()) {
      const content = item ? column.cell(item) : place === 0 ? t("loading") : "";
      const inner = place === 0 && href ? h("a", { href, tabindex: -1 }, content) : content;
      row.append(h("div", { role: "gridcell", class: column.end && "end" }, inner));
    }
    return row;
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    if (event.target !== this.element || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW) - 2);
    /** @type {Record<string, number>} */
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in moves && this._count) {
      event.preventDefault();
      this._activate(Math.min(this._count - 1, Math.max(0, this._active + moves[event.key])));
    } else if (event.key === "Enter" && this._active >= 0) {
      const item = this._item(this._active);
      if (item && this._href(item)) location.hash = this._href(item);
    }
  }

  /** @param {number} index */
  _activate(index) {
    this._active = index;
    const top = index * ROW;
    const room = this.element.clientHeight - ROW;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    else if (top + ROW > this.element.scrollTop + room) this.element.scrollTop = top + ROW - room;
    this.draw();
  }
}

/**
 * A short table, drawn whole.
 * @template T
 * @param {string} label
 * @param {Column<T>[]} columns
 * @param {Iterable<T>} items
 * @param {string} [empty] what is said when there are none
 */
export function shortTable(label, columns, items, empty = t("nothing")) {
  const rows = [...items];
  if (!rows.length) return h("p.empty", empty);
  /** @param {Column<T>} column */
  const kind = (column) => [column.wide && "wide", column.end && "end"].filter(Boolean).join(" ") || false;
  return h(
    "div.scroll",
    { tabindex: 0, role: "region", "aria-label": label },
    h(
      "table",
      h("thead", h("tr", columns.map((column) => h("th", { scope: "col", class: kind(column) }, column.title)))),
      h(
        "tbody",
        rows.map((item) => h("tr", columns.map((column) => h("td", { class: kind(column) }, column.cell(item))))),
      ),
    ),
  );
}
