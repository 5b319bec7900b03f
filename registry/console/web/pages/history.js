// History: what happened, by whom; how much, when; and what is not the same at two moments.

import { get, own, query } from "../data/api.js";
import { h, replace } from "../parts/dom.js";
import { local, moment, number } from "../parts/format.js";
import { barChart, button, card, field, input, select, trouble } from "../parts/pieces.js";
import { changeLine, kindName, timeline } from "../parts/timeline.js";
import { link, remember } from "../router.js";
import { t } from "../texts.js";

/** @typedef {import("../parts/timeline.js").Told} Told */

const KINDS = [
  "instance-registered", "instance-unregistered", "instance-expired", "instance-status-set", "instance-properties-set", "service-registered",
  "service-unregistered", "service-properties-set", "tags-replaced", "tag-set", "tags-deleted", "schema-put", "schemas-replaced", "schema-deleted",
  "dependencies-added", "dependencies-replaced", "policy-saved", "policy-deleted", "history-resumed",
];
/** How far back the chart reaches, and the step of it. @type {Record<string, {ms: number, step: string}>} */
const SPANS = { "1h": { ms: 3_600_000, step: "1m" }, "6h": { ms: 21_600_000, step: "5m" }, "24h": { ms: 86_400_000, step: "20m" }, "7d": { ms: 604_800_000, step: "2h" } };
const PAGE = 50;
/** Differences of one kind that are shown. */
const DIFFERENCES_MAX = 200;

/** @param {HTMLElement} main @param {import("../router.js").Route} route @param {AbortSignal} signal */
export async function show(main, route, signal) {
  const given = (/** @type {string} */ name) => route.query.get(name) ?? "";
  const fields = {
    kind: select("kind", [["", t("history.kind.any")], ...KINDS.map((kind) => /** @type {[string, string]} */ ([kind, kindName(kind)]))], given("kind"), { "aria-label": t("history.kind"), onchange: () => void ask() }),
    serviceName: input("serviceName", given("serviceName"), { placeholder: t("history.service"), "aria-label": t("history.service"), onchange: () => void ask() }),
    instanceId: input("instanceId", given("instanceId"), { placeholder: t("history.instance"), "aria-label": t("history.instance"), onchange: () => void ask() }),
    actor: input("actor", given("actor"), { placeholder: t("history.actor"), "aria-label": t("history.actor"), onchange: () => void ask() }),
  };
  const span = select("span", Object.keys(SPANS).map((one) => [one, t("history.span", { span: one })]), given("span") || "1h", { "aria-label": t("history.back"), onchange: () => void draw() });
  const chart = h("div", h("p.muted", t("loading")));
  const events = h("div", h("p.muted", t("loading")));
  const differences = h("div", { "aria-live": "polite" });
  const from = input("from", local(Date.now() - SPANS["1h"].ms), { type: "datetime-local", step: 1 });
  const to = input("to", "", { type: "datetime-local", step: 1 });
  replace(
    main,
    h("h1", t("page.history")),
    h("div.filters", ...Object.values(fields), span),
    card(t("history.chart"), chart),
    card(t("history.events"), events),
    card(
      t("history.difference"),
      h("p.muted", t("history.difference.explain")),
      h("form.fields", { onsubmit: compare }, field(t("history.from"), from), field(t("history.to"), to, t("history.to.hint")), h("button.primary", { type: "submit" }, t("history.compare"))),
      differences,
    ),
  );
  await ask();

  function chosen() {
    return Object.fromEntries(Object.entries(fields).map(([name, one]) => [name, one.value.trim()]));
  }

  async function ask() {
    remember("history", [], { ...chosen(), span: span.value === "1h" ? "" : span.value });
    await Promise.all([draw(), list()]);
  }

  async function draw() {
    const { ms, step } = SPANS[span.value] ?? SPANS["1h"];
    const until = Date.now();
    try {
      const found = await get(own("history", "churn") + query({ ...chosen(), from: String(until - ms), to: String(until), step }), { signal });
      if (!signal.aborted) replace(chart, churnChart(found, until - ms, until));
    } catch (error) {
      if (!signal.aborted) replace(chart, trouble(error));
    }
  }

  async function list(before = "") {
    try {
      const found = await get(own("history") + query({ ...chosen(), before, limit: String(PAGE) }), { signal });
      if (signal.aborted) return;
      const more = found.next ? button(t("history.older"), () => void older(found.next)) : h("p.muted", t("history.begin", { at: moment(Date.parse(found.keptSince)) }));
      if (!before) replace(events, timeline(found.events), more);
      else events.append(timeline(found.events), more);
    } catch (error) {
      if (!signal.aborted) replace(events, trouble(error));
    }
  }

  /** @param {string} before */
  async function older(before) {
    events.querySelector(":scope > button")?.remove();
    await list(before);
  }

  /** @param {Event} event */
  async function compare(event) {
    event.preventDefault();
    const moments = { from: unix(from.value), to: to.value ? unix(to.value) : "" };
    const { serviceName, instanceId } = chosen();
    try {
      const found = await get(own("history", "diff") + query({ ...moments, serviceName, instanceId }), { signal });
      if (!signal.aborted) replace(differences, differencesOf(found));
    } catch (error) {
      if (!signal.aborted) replace(differences, trouble(error));
    }
  }
}

/** @param {string} value of a field for moments, local time @returns {string} Unix ms */
function unix(value) {
  const ms = new Date(value).getTime();
  return Number.isFinite(ms) ? String(ms) : "";
}

/**
 * @param {{step: number, steps: {at: string, kinds?: Record<string, number>}[]}} found
 * @param {number} from
 * @param {number} until
 */
export function churnChart(found, from, until) {
  const places = Math.max(1, Math.ceil((until - from) / found.step));
  const bars = Array.from({ length: places }, (_, place) => ({ title: "", value: 0, at: from + place * found.step }));
  /** @type {Record<string, number>} */
  const kinds = {};
  for (const step of found.steps) {
    const bar = bars[Math.min(places - 1, Math.max(0, Math.floor((Date.parse(step.at) - from) / found.step)))];
    for (const [kind, count] of Object.entries(step.kinds ?? {})) {
      bar.value += count;
      kinds[kind] = (kinds[kind] ?? 0) + count;
    }
  }
  for (const bar of bars) bar.title = `${moment(bar.at)}: ${number(bar.value)}`;
  const total = Object.values(kinds).reduce((sum, count) => sum + count, 0);
  const text = t("history.total", { count: number(total), from: moment(from), to: moment(until) });
  const most = Object.entries(kinds).sort((a, b) => b[1] - a[1]);
  return [barChart(text, bars), h("p.muted", text), h("p", most.map(([kind, count]) => `${kindName(kind)}: ${number(count)}`).join(" · "))];
}

/** @typedef {{serviceId: string, instanceId?: string, service?: {serviceName?: string, version?: string}, changes?: {field: string}[], before?: {hostName?: string}, after?: {hostName?: string}}} Different */

/** @param {Record<"services" | "instances", Record<"added" | "removed" | "changed", Different[]>>} found */
function differencesOf(found) {
  const parts = [];
  for (const what of /** @type {const} */ (["services", "instances"])) {
    for (const how of /** @type {const} */ (["added", "removed", "changed"])) {
      const list = found[what][how];
      if (!list.length) continue;
      parts.push(h("h3", `${t(what)}: ${t(`history.${how}`)} (${number(list.length)})`), h("ul", list.slice(0, DIFFERENCES_MAX).map((one) => h("li", different(one), how === "changed" && h("ul.changes", (one.changes ?? []).map(changeLine))))));
    }
  }
  return parts.length ? parts : h("p.empty", t("history.same"));
}

/** @param {Different} one */
function different(one) {
  const service = `${one.service?.serviceName ?? one.serviceId} ${one.service?.version ?? ""}`;
  if (!one.instanceId) return h("a", { href: link("service", [one.serviceId]) }, service);
  const host = one.after?.hostName ?? one.before?.hostName;
  return [`${service}: `, h("a", { href: link("instance", [one.serviceId, one.instanceId]) }, host || one.instanceId)];
}
