// Instances of all services, service by service. Only those that are seen are fetched. What is typed is looked for in
// what is known of the services, and by the registry in what instances tell of themselves: host, address, id.

import { get, own, query } from "../data/api.js";
import { Instances } from "../data/instances.js";
import { store } from "../data/store.js";
import { h, replace } from "../parts/dom.js";
import { soon, words } from "../parts/filter.js";
import { number, ofSeconds } from "../parts/format.js";
import { input, select, statusPill } from "../parts/pieces.js";
import { LongTable } from "../parts/table.js";
import { link, remember } from "../router.js";
import { t } from "../texts.js";
import { compare } from "./services.js";

/** @typedef {import("../data/store.js").Service} Service */
/** @typedef {{service: Service, instance: import("../data/instances.js").Instance}} Row */

/** Letters from which on the registry is asked, and ms between two questions while something changes. */
const LETTERS_MIN = 2;
const ASK_EVERY_MS = 3000;

/** @param {HTMLElement} main @param {import("../router.js").Route} route @param {AbortSignal} signal */
export function show(main, route, signal) {
  const instances = new Instances(signal);
  const text = input("text", route.query.get("text") ?? "", { type: "search", "aria-label": t("instances.filter"), placeholder: t("instances.filter.hint"), oninput: soon(look) });
  const statuses = ["UP", "DOWN", "STARTING", "OUTOFSERVICE", "TESTING"];
  const status = select("status", [["", t("status.any")], ...statuses.map((name) => /** @type {[string, string]} */ ([name, name]))], route.query.get("status") ?? "", { "aria-label": t("status"), onchange: look });
  const found = h("p.muted", { role: "status" });
  /** @type {LongTable<Row>} */
  const table = new LongTable({
    label: t("instances"),
    empty: t("instances.nothing"),
    href: (row) => link("instance", [row.service.id, row.instance.instanceId]),
    signal,
    columns: instanceColumns(true),
  });
  /** Services with instances to show, and the number of rows before each. @type {Service[]} */
  let services = [];
  /** @type {number[]} */
  let before = [];
  /** Those that the registry has found, by the id of their service, and how many more there are. */
  let told = { asked: "", of: /** @type {Map<string, Row["instance"][]>} */ (new Map()), more: 0 };
  let asking = new AbortController();
  let askAgain = 0;
  replace(main, h("h1", t("page.instances")), h("div.filters", text, status), found, table.element);
  main.classList.add("fills");
  signal.addEventListener("abort", () => main.classList.remove("fills"));
  store.addEventListener("changed", () => {
    draw();
    askAgain ||= setTimeout(() => {
      askAgain = 0;
      void ask();
    }, ASK_EVERY_MS);
  }, { signal });
  signal.addEventListener("abort", () => clearTimeout(askAgain));
  instances.addEventListener("changed", () => table.draw(), { signal });
  look();

  function look() {
    draw();
    void ask();
  }

  function asked() {
    return `${text.value.trim()}\n${status.value}`;
  }

  /** Ask the registry who tells the words of itself. */
  async function ask() {
    asking.abort();
    if (signal.aborted || text.value.trim().length < LETTERS_MIN) return;
    asking = new AbortController();
    const now = asked();
    try {
      const target = own("instances") + query({ text: text.value.trim(), status: status.value, withShared: "1" });
      const answer = await get(target, { signal: AbortSignal.any([signal, asking.signal]) });
      /** @type {typeof told.of} */
      const of = new Map();
      for (const one of answer.instances) of.set(one.serviceId, [...(of.get(one.serviceId) ?? []), one]);
      told = { asked: now, of, more: answer.total - answer.instances.length };
      draw();
    } catch {
      // The registry is away, which the store says; or the words have changed meanwhile.
    }
  }

  function draw() {
    if (signal.aborted) return;
    if (told.asked !== asked()) told = { asked: "", of: new Map(), more: 0 };
    const passes = words(text.value);
    // All instances of a service that has the words itself, and of the others those that have been found.
    services = [...store.services.values()].filter((service) => {
      if (passes(service.text)) told.of.delete(service.id);
      return told.of.has(service.id) || (passes(service.text) && of(service) > 0);
    });
    services.sort((a, b) => compare(a.name, b.name) || compare(a.id, b.id));
    let rows = 0;
    before = services.map((service) => {
      rows += of(service);
      return rows - of(service);
    });
    const more = told.more ? ` ${t("instances.more", { count: number(told.more) })}` : "";
    found.textContent = store.loaded ? t("instances.found", { count: number(rows), services: number(services.length) }) + more : t("loading");
    remember("instances", [], { text: text.value, status: status.value });
    table.show(rows, row);
  }

  /** @param {Service} service */
  function of(service) {
    const those = told.of.get(service.id);
    if (those) return those.length;
    return status.value ? (service.counts[status.value] ?? 0) : service.total;
  }

  /** @param {number} index @returns {Row | null} */
  function row(index) {
    let low = 0;
    let high = services.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (before[middle] <= index) low = middle;
      else high = middle - 1;
    }
    const service = services[low];
    const those = service && told.of.get(service.id);
    const list = those ?? (service && instances.of(service.id));
    if (!list) return null;
    const shown = status.value ? list.filter((instance) => instance.status === status.value) : list;
    const instance = shown[index - before[low]];
    return instance ? { service, instance } : null;
  }
}

/** @param {boolean} withService @returns {import("../parts/table.js").Column<Row>[]} */
export function instanceColumns(withService) {
  /** @type {import("../parts/table.js").Column<Row>[]} */
  const service = withService ? [{ title: t("service"), cell: (row) => [`${row.service.name} ${row.service.version}`, h("small.under", row.instance.hostName || row.instance.instanceId)] }] : [];
  return [
    ...service,
    { title: t("instance.host"), cell: (row) => row.instance.hostName || row.instance.instanceId, wide: withService },
    { title: t("status"), width: "9.5rem", cell: (row) => statusPill(row.instance.status) },
    { title: t("instance.endpoints"), width: "minmax(0, 1.6fr)", cell: (row) => (row.instance.endpoints ?? []).join(", "), wide: true },
    { title: t("instance.changed"), width: "minmax(0, 0.9fr)", cell: (row) => ofSeconds(row.instance.modTimestamp), wide: true },
  ];
}
