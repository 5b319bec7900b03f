// Small parts that many pages are made of.

import { h, svg } from "./dom.js";
import { number } from "./format.js";
import { say } from "./dialog.js";
import { t } from "../texts.js";

/** @typedef {import("./dom.js").Child} Child */

/** What a status means for colours; one that nobody knows is neutral. */
const KINDS = /** @type {Record<string, string>} */ ({
  UP: "good",
  DOWN: "bad",
  STARTING: "wait",
  OUTOFSERVICE: "off",
  TESTING: "wait",
});

/** @param {string} status */
export function statusPill(status) {
  return h("span.pill", { class: `pill ${KINDS[status] ?? "off"}` }, status || t("status.none"));
}

/** Instances by status, as a bar with its numbers. @param {Record<string, number>} counts */
export function counts(counts) {
  const given = Object.entries(counts).sort(([a], [b]) => order(a) - order(b));
  if (!given.length) return h("span.muted", t("instances.none"));
  return h("span.counts", given.map(([status, count]) => [h("span", { class: `pill ${KINDS[status] ?? "off"}`, title: status }, `${number(count)} ${status}`)]).flat());
}

/** @param {string} status */
function order(status) {
  const place = ["UP", "STARTING", "TESTING", "OUTOFSERVICE", "DOWN"].indexOf(status);
  return place < 0 ? 9 : place;
}

/** @param {string} title @param {...(Child | Child[])} children */
export function card(title, ...children) {
  return h("section.card", h("h2", title), children.flat());
}

/** A number with what it is. @param {string} label @param {Child} value @param {Child} [note] */
export function figure(label, value, note) {
  return h("div.figure", h("div.value", value), h("div.label", label), note && h("div.note", note));
}

/** Names and values. @param {[string, Child | Child[]][]} pairs */
export function facts(pairs) {
  return h("dl.facts", pairs.map(([name, value]) => h("div", h("dt", name), h("dd", value))));
}

/** What was sent as names and values, each of them anybody's words. @param {Record<string, string> | undefined} values */
export function pairs(values) {
  const given = Object.entries(values ?? {});
  return given.length ? facts(given.map(([name, value]) => [name, String(value)])) : h("p.empty", t("nothing"));
}

/** @param {string} label @param {() => void} act @param {string} [kind] `primary`, `danger` or none */
export function button(label, act, kind = "") {
  return h("button", { type: "button", class: kind, onclick: act }, label);
}

/** A button that copies. @param {string} text */
export function copyButton(text) {
  return h("button.quiet", {
    type: "button",
    "aria-label": `${t("copy")} ${text}`,
    onclick: async () => {
      try {
        await navigator.clipboard.writeText(text);
        say(t("copied"));
      } catch {
        say(t("copy.failed"), "bad");
      }
    },
  }, t("copy"));
}

/**
 * A labelled field.
 * @param {string} label
 * @param {HTMLElement} input
 * @param {string} [hint]
 */
export function field(label, input, hint) {
  return h("label.field", h("span", label), input, hint && h("small", hint));
}

/**
 * @param {string} name
 * @param {string} value
 * @param {Record<string, unknown>} [more]
 * @returns {HTMLInputElement}
 */
export function input(name, value, more = {}) {
  const made = h("input", { type: "text", name, autocomplete: "off", spellcheck: "false", ...more });
  const found = /** @type {HTMLInputElement} */ (made);
  found.value = value;
  return found;
}

/**
 * @param {string} name
 * @param {[string, string][]} options value and label
 * @param {string} value
 * @param {Record<string, unknown>} [more]
 * @returns {HTMLSelectElement}
 */
export function select(name, options, value, more = {}) {
  const made = h("select", { name, ...more }, options.map(([key, label]) => h("option", { value: key }, label)));
  const found = /** @type {HTMLSelectElement} */ (made);
  found.value = value;
  return found;
}

/** Something that cannot be shown, and why. @param {unknown} error */
export function trouble(error) {
  return h("p.notice.bad", { role: "alert" }, error instanceof Error ? error.message : String(error));
}

/**
 * Bars over time, eldest first.
 * @param {string} label
 * @param {{title: string, value: number}[]} bars
 */
export function barChart(label, bars) {
  const most = Math.max(1, ...bars.map((bar) => bar.value));
  const width = 100 / Math.max(1, bars.length);
  return h(
    "div.chart",
    { role: "img", "aria-label": label },
    svg(
      "svg",
      { viewBox: "0 0 100 40", preserveAspectRatio: "none", "aria-hidden": "true" },
      bars.map((bar, place) => {
        const tall = bar.value ? Math.max(1, (bar.value / most) * 39) : 0.3;
        const at = { x: place * width + width * 0.1, y: 40 - tall, width: width * 0.8, height: tall };
        return svg("rect", { ...at, class: bar.value ? "bar" : "bar none" }, svg("title", bar.title));
      }),
    ),
    h("span.most", number(most)),
  );
}
