// One microservice version: its instances, and everything around it.

import { unregister } from "../data/actions.js";
import { get, own, past, query, registry } from "../data/api.js";
import { may } from "../data/rights.js";
import { Instances } from "../data/instances.js";
import { store } from "../data/store.js";
import { h, replace } from "../parts/dom.js";
import { ofSeconds } from "../parts/format.js";
import { button, card, copyButton, counts, facts, pairs, trouble } from "../parts/pieces.js";
import { LongTable, shortTable } from "../parts/table.js";
import { timeline } from "../parts/timeline.js";
import { schemaView } from "../parts/schema.js";
import { link } from "../router.js";
import { t } from "../texts.js";
import { instanceColumns } from "./instances.js";
import { compare } from "./services.js";

/** @typedef {import("../data/store.js").Service} Service */
/** @typedef {Record<string, any>} Body */

/** @param {HTMLElement} main @param {import("../router.js").Route} route @param {AbortSignal} signal */
export async function show(main, route, signal) {
  const id = route.args[0] ?? "";
  const head = h("div");
  const around = h("div.grid");
  const story = h("div", h("p.muted", t("loading")));
  const instances = new Instances(signal);
  /** @type {LongTable<{service: Service, instance: Body}>} */
  const table = new LongTable({
    label: t("instances"),
    empty: t("instances.none.here"),
    href: (row) => link("instance", [id, row.instance.instanceId]),
    signal,
    short: true,
    columns: instanceColumns(false),
  });
  /** @type {Body[]} */
  let consumers = [];
  replace(main, head, card(t("instances"), table.element), around);
  store.addEventListener("changed", (event) => void drawAll(/** @type {CustomEvent<Set<string>>} */ (event).detail), { signal });
  instances.addEventListener("changed", drawInstances, { signal });
  await drawAll(new Set([id]));

  /** @param {Set<string>} changed */
  async function drawAll(changed) {
    const service = store.services.get(id);
    if (!service) {
      if (store.loaded) replace(head, h("h1", t("page.service")), h("p.notice.bad", t("service.gone", { id })), h("a", { href: link("services") }, t("page.services")));
      return;
    }
    drawHead(service);
    drawInstances();
    // Dependencies change without the service: whatever changed, who consumes is asked again.
    if (changed.has(id) || !changed.size) await drawAround(service);
  }

  /** @param {Service} service */
  function drawHead(service) {
    const versions = [...store.services.values()].filter((one) => one.name === service.name && one.app === service.app && one.env === service.env);
    versions.sort((a, b) => compare(b.version, a.version));
    const others = versions.filter((one) => one !== service).map((one) => [h("a", { href: link("service", [one.id]) }, one.version), " "]);
    const { body } = service;
    document.title = `${service.name} ${service.version} – ${t("brand")}`;
    replace(
      head,
      h("p.crumbs", h("a", { href: link("services") }, t("page.services")), " › "),
      h("h1", service.name, " ", h("span.muted", service.version)),
      h(
        "div.actions",
        counts(service.counts),
        h("a.button", { href: link("topology", [], { focus: `${service.env}/${service.app}/${service.name}` }) }, t("service.neighbours")),
        h("a.button", { href: link("find", [], { app: service.app, name: service.name, env: service.env }) }, t("page.find")),
        h("a.button", { href: link("history", [], { serviceName: service.name }) }, t("page.history")),
        may("service", "delete") &&
          button(t("unregister"), async () => {
            if (await unregister(service, consumers.length)) location.hash = link("services");
          }, "danger"),
      ),
      facts([
        [t("app"), service.app],
        [t("env"), service.env || t("env.none")],
        [t("service.alias"), body.alias || "–"],
        [t("service.id"), [h("code", service.id), " ", copyButton(service.id)]],
        [t("service.description"), body.description || "–"],
        [t("service.level"), body.level || "–"],
        [t("service.framework"), [body.framework?.name, body.framework?.version].filter(Boolean).join(" ") || "–"],
        [t("service.registered"), ofSeconds(body.timestamp)],
        [t("service.changed"), ofSeconds(body.modTimestamp)],
        [t("service.versions"), others.length ? others.flat() : t("service.versions.none")],
      ]),
    );
  }

  function drawInstances() {
    const service = store.services.get(id);
    const list = instances.of(id) ?? [];
    if (service) table.show(list.length, (index) => (list[index] ? { service, instance: list[index] } : null));
  }

  /** @param {Service} service */
  async function drawAround(service) {
    try {
      const [schemas, providers, found] = await Promise.all([
        get(registry("microservices", id, "schemas"), { signal }),
        get(registry("microservices", id, "providers") + query({ noSelf: "1" }), { signal }),
        get(registry("microservices", id, "consumers") + query({ noSelf: "1" }), { signal }),
      ]);
      if (signal.aborted) return;
      consumers = found.consumers ?? [];
      replace(
        around,
        card(t("service.consumers"), neighbours(t("service.consumers"), consumers, t("service.consumers.none"))),
        card(t("service.providers"), neighbours(t("service.providers"), providers.providers ?? [], t("service.providers.none"))),
        card(t("service.properties"), pairs(service.body.properties)),
        card(t("service.tags"), pairs(service.tags)),
        h("div.span", card(t("service.story"), story)),
        h("div.span", card(t("service.schemas"), schemaList(schemas.schemas ?? [], service.body.schemas ?? []))),
      );
    } catch (error) {
      if (!signal.aborted) replace(around, trouble(error));
    }
    try {
      const found = await get(own("history") + query({ serviceId: id, limit: "20", to: past.ms ? String(past.ms) : "" }), { signal });
      if (!signal.aborted) replace(story, timeline(found.events));
    } catch (error) {
      if (!signal.aborted) replace(story, trouble(error));
    }
  }

  /**
   * @param {{schemaId: string, summary?: string}[]} held
   * @param {string[]} declared
   */
  function schemaList(held, declared) {
    const ids = [...new Set([...held.map((one) => one.schemaId), ...declared])].sort(compare);
    if (!ids.length) return h("p.empty", t("service.schemas.none"));
    return ids.map((schemaId) => {
      const place = h("div");
      const details = h("details", h("summary", schemaId), place);
      details.addEventListener("toggle", async () => {
        if (place.childNodes.length) return;
        replace(place, h("p.muted", t("loading")));
        try {
          replace(place, schemaView(await get(own("schemas", id, schemaId), { signal })));
        } catch (error) {
          replace(place, trouble(error));
        }
      });
      return details;
    });
  }
}

/**
 * @param {string} label
 * @param {Body[]} services
 * @param {string} none
 */
function neighbours(label, services, none) {
  return shortTable(
    label,
    [
      { title: t("service.name"), cell: (one) => h("a", { href: link("service", [one.serviceId]) }, one.serviceName) },
      { title: t("version"), cell: (one) => one.version },
      { title: t("app"), cell: (one) => one.appId },
    ],
    services,
    none,
  );
}
