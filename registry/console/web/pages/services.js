// Services: every microservice version, filtered as one types.

import { store } from "../data/store.js";
import { h, replace } from "../parts/dom.js";
import { soon, words } from "../parts/filter.js";
import { number } from "../parts/format.js";
import { counts, input, select } from "../parts/pieces.js";
import { LongTable } from "../parts/table.js";
import { link, remember } from "../router.js";
import { t } from "../texts.js";

/** @typedef {import("../data/store.js").Service} Service */

/** @type {Record<string, (a: Service, b: Service) => number>} */
const ORDERS = {
  name: (a, b) => compare(a.name, b.name) || compare(a.app, b.app) || compare(a.version, b.version),
  instances: (a, b) => b.total - a.total || compare(a.name, b.name),
  newest: (a, b) => Number(b.body.timestamp ?? 0) - Number(a.body.timestamp ?? 0) || compare(a.name, b.name),
};

/** @type {Record<string, (service: Service) => boolean>} */
const HEALTH = {
  "": () => true,
  good: (service) => service.total > 0 && (service.counts.UP ?? 0) === service.total,
  some: (service) => service.total > 0 && (service.counts.UP ?? 0) < service.total,
  empty: (service) => service.total === 0,
};

/** @param {string} a @param {string} b */
export function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** @param {HTMLElement} main @param {import("../router.js").Route} route @param {AbortSignal} signal */
export function show(main, route, signal) {
  const { query } = route;
  const redraw = soon(draw);
  const text = input("text", query.get("text") ?? "", { type: "search", "aria-label": t("services.filter"), placeholder: t("services.filter.hint"), oninput: redraw });
  const health = select("health", [["", t("health.any")], ["good", t("health.good")], ["some", t("health.some")], ["empty", t("health.empty")]], query.get("health") ?? "", { "aria-label": t("health"), onchange: draw });
  const order = select("order", [["name", t("order.name")], ["instances", t("order.instances")], ["newest", t("order.newest")]], query.get("order") || "name", { "aria-label": t("order"), onchange: draw });
  const app = select("app", [["", t("app.any")]], "", { "aria-label": t("app"), onchange: draw });
  const env = select("env", [["", t("env.any")]], "", { "aria-label": t("env"), onchange: draw });
  const found = h("p.muted", { role: "status" });
  /** @type {LongTable<Service>} */
  const table = new LongTable({
    label: t("services"),
    empty: t("services.none"),
    href: (service) => link("service", [service.id]),
    signal,
    columns: [
      { title: t("service.name"), width: "minmax(0, 2fr)", cell: (service) => [service.name, service.body.alias && service.body.alias !== service.name && h("span.muted", ` ${service.body.alias}`)] },
      { title: t("version"), width: "minmax(4rem, 0.7fr)", cell: (service) => service.version },
      { title: t("app"), cell: (service) => service.app, wide: true },
      { title: t("env"), cell: (service) => service.env || h("span.muted", t("env.none")), wide: true },
      { title: t("instances"), width: "minmax(0, 2fr)", cell: (service) => counts(service.counts) },
    ],
  });
  replace(main, h("h1", t("page.services")), h("div.filters", text, health, app, env, order), found, table.element);
  main.classList.add("fills");
  signal.addEventListener("abort", () => main.classList.remove("fills"));
  store.addEventListener("changed", draw, { signal });
  offer(app, query.get("app") ?? "", (service) => service.app, t("app.any"));
  offer(env, query.get("env") ?? "", (service) => service.env || "-", t("env.any"));
  draw();

  function draw() {
    if (signal.aborted) return;
    offer(app, app.value, (service) => service.app, t("app.any"));
    offer(env, env.value, (service) => service.env || "-", t("env.any"));
    const passes = words(text.value);
    const rows = [...store.services.values()].filter(
      (service) =>
        passes(service.text) &&
        HEALTH[health.value](service) &&
        (!app.value || service.app === app.value) &&
        (!env.value || (service.env || "-") === env.value),
    );
    rows.sort(ORDERS[order.value] ?? ORDERS.name);
    found.textContent = store.loaded ? t("services.found", { count: number(rows.length), of: number(store.services.size) }) : t("loading");
    remember("services", [], { text: text.value, health: health.value, app: app.value, env: env.value, order: order.value === "name" ? "" : order.value });
    table.show(rows.length, (index) => rows[index] ?? null);
  }
}

/** Options that there may be in one list. */
const OFFERED_MAX = 500;

/**
 * Offer what there is to choose from; what is chosen stays.
 * @param {HTMLSelectElement} list
 * @param {string} chosen
 * @param {(service: Service) => string} of
 * @param {string} any
 */
function offer(list, chosen, of, any) {
  const values = new Set([...store.services.values()].map(of));
  if (chosen) values.add(chosen);
  const sorted = [...values].sort(compare).slice(0, OFFERED_MAX);
  if (list.dataset.offered !== sorted.join("\n")) {
    list.dataset.offered = sorted.join("\n");
    replace(list, h("option", { value: "" }, any), sorted.map((value) => h("option", { value }, value === "-" ? t("env.none") : value)));
  }
  list.value = chosen;
}
