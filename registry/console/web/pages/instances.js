// Instances of all services, service by service. Only those that are seen are fetched.

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

/** @param {HTMLElement} main @param {import("../router.js").Route} route @param {AbortSignal} signal */
export function show(main, route, signal) {
  const instances = new Instances(signal);
  const text = input("text", route.query.get("text") ?? "", { type: "search", "aria-label": t("services.filter"), placeholder: t("services.filter.hint"), oninput: soon(draw) });
  const statuses = ["UP", "DOWN", "STARTING", "OUTOFSERVICE", "TESTING"];
  const status = select("status", [["", t("status.any")], ...statuses.map((name) => /** @type {[string, string]} */ ([name, name]))], route.query.get("status") ?? "", { "aria-label": t("status"), onchange: draw });
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
  replace(main, h("h1", t("page.instances")), h("div.filters", text, status), found, table.element);
  main.classList.add("fills");
  signal.addEventListener("abort", () => main.classList.remove("fills"));
  store.addEventListener("changed", draw, { signal });
  instances.addEventListener("changed", () => table.draw(), { signal });
  draw();

  function draw() {
    if (signal.aborted) return;
    const passes = words(text.value);
    services = [...store.services.values()].filter((service) => of(service) > 0 && passes(service.text));
    services.sort((a, b) => compare(a.name, b.name) || compare(a.id, b.id));
    let rows = 0;
    before = services.map((service) => {
      rows += of(service);
      return rows - of(service);
    });
    found.textContent = store.loaded ? t("instances.found", { count: number(rows), services: number(services.length) }) : t("loading");
    remember("instances", [], { text: text.value, status: status.value });
    table.show(rows, row);
  }

  /** @param {Service} service */
  function of(service) {
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
    const list = service && instances.of(service.id);
    if (!list) return null;
    const shown = status.value ? list.filter((instance) => instance.status === status.value) : list;
    const instance = shown[index - before[low]];
    return instance ? { service, instance } : null;
  }
}

/** @param {boolean} withService @returns {import("../parts/table.js").Column<Row>[]} */
export function instanceColumns(withService) {
  /** @type {import("../parts/table.js").Column<Row>[]} */
  const service = withService ? [{ title: t("service"), cell: (row) => `${row.service.name} ${row.service.version}` }] : [];
  return [
    ...service,
    { title: t("instance.host"), cell: (row) => row.instance.hostName || row.instance.instanceId },
    { title: t("status"), width: "9.5rem", cell: (row) => statusPill(row.instance.status) },
    { title: t("instance.endpoints"), width: "minmax(0, 1.6fr)", cell: (row) => (row.instance.endpoints ?? []).join(", "), wide: true },
    { title: t("instance.changed"), width: "minmax(0, 0.9fr)", cell: (row) => ofSeconds(row.instance.modTimestamp), wide: true },
  ];
}
