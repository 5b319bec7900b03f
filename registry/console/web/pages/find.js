// What would a client see? The answer to a find, and why each candidate is in it or not. Nothing is recorded.

import { get, own, query } from "../data/api.js";
import { store } from "../data/store.js";
import { h, replace } from "../parts/dom.js";
import { number } from "../parts/format.js";
import { card, counts, facts, field, input, trouble } from "../parts/pieces.js";
import { shortTable } from "../parts/table.js";
import { link, remember } from "../router.js";
import { t } from "../texts.js";

/** Choices that are offered while one types. */
const OFFERED_MAX = 1000;

/** @typedef {{serviceId: string, environment?: string, appId: string, serviceName: string, version: string, against?: string[], instances?: Record<string, number>}} Candidate */

/** @param {HTMLElement} main @param {import("../router.js").Route} route @param {AbortSignal} signal */
export async function show(main, route, signal) {
  const given = (/** @type {string} */ name) => route.query.get(name) ?? "";
  const fields = {
    consumer: input("consumer", given("consumer"), { list: "consumers" }),
    app: input("app", given("app"), { list: "apps", required: true }),
    name: input("name", given("name"), { list: "names", required: true }),
    version: input("version", given("version"), { placeholder: "1.0.0+" }),
    env: input("env", given("env")),
    tags: input("tags", given("tags")),
  };
  const answer = h("div", { "aria-live": "polite" });
  const form = h(
    "form.fields",
    { onsubmit: submit },
    field(t("find.app"), fields.app),
    field(t("find.name"), fields.name, t("find.name.hint")),
    field(t("find.version"), fields.version, t("find.version.hint")),
    field(t("find.consumer"), fields.consumer, t("find.consumer.hint")),
    field(t("env"), fields.env, t("find.env.hint")),
    field(t("find.tags"), fields.tags, t("find.tags.hint")),
    h("button.primary", { type: "submit" }, t("find.ask")),
  );
  const lists = ["consumers", "apps", "names"].map((id) => h("datalist", { id }));
  replace(main, h("h1", t("page.find")), h("p.muted", t("find.explain")), form, lists, answer);
  offer();
  store.addEventListener("changed", offer, { signal });
  if (fields.app.value && fields.name.value) await ask();

  function offer() {
    const services = [...store.services.values()];
    const wanted = [
      services.map((one) => /** @type {[string, string]} */ ([one.id, `${one.name} ${one.version} (${one.app}${one.env ? `, ${one.env}` : ""})`])),
      unique(services.map((one) => one.app)),
      unique(services.map((one) => one.name)),
    ];
    wanted.forEach((options, place) => replace(lists[place], options.slice(0, OFFERED_MAX).map(([value, label]) => h("option", { value }, label))));
  }

  /** @param {Event} event */
  function submit(event) {
    event.preventDefault();
    void ask();
  }

  async function ask() {
    const values = Object.fromEntries(Object.entries(fields).map(([name, one]) => [name, one.value.trim()]));
    remember("find", [], values);
    const { consumer, app, name, version, env, tags } = values;
    // A plus in a query is a space: URLSearchParams encodes it.
    const target = own("find", "explain") + query({ appId: app, serviceName: name, version, env, tags });
    try {
      const found = await get(target, { signal, headers: consumer ? { "X-ConsumerId": consumer } : {} });
      if (!signal.aborted) replace(answer, answered(found));
    } catch (error) {
      if (!signal.aborted) replace(answer, trouble(error));
    }
  }
}

/** @param {string[]} values @returns {[string, string][]} */
function unique(values) {
  return [...new Set(values)].sort().map((value) => [value, value]);
}

/** @param {{environment: string, candidates: Candidate[], rev?: string, answer?: {instances?: Record<string, any>[]}, refused?: Record<string, string>, more?: number}} found */
function answered(found) {
  const instances = found.answer?.instances ?? [];
  const verdict = found.refused
    ? h("p.notice.bad", t("find.refused", { code: found.refused.errorCode, why: found.refused.detail || found.refused.errorMessage }))
    : h("p.notice.good", t("find.answered", { count: number(instances.length), env: found.environment || t("env.none") }));
  return [
    card(
      t("find.answer"),
      verdict,
      found.rev && facts([["rev", h("code", found.rev)]]),
      instances.length > 0 &&
        shortTable(
          t("instances"),
          [
            { title: t("instance.host"), cell: (one) => h("a", { href: link("instance", [one.serviceId, one.instanceId]) }, one.hostName || one.instanceId) },
            { title: t("version"), cell: (one) => one.version },
            { title: t("status"), cell: (one) => one.status },
            { title: t("instance.endpoints"), cell: (one) => (one.endpoints ?? []).join(", "), wide: true },
          ],
          instances.slice(0, OFFERED_MAX),
        ),
      instances.length > 0 && h("p.muted", t("find.clients")),
    ),
    card(
      t("find.candidates"),
      shortTable(
        t("find.candidates"),
        [
          { title: t("service.name"), cell: (one) => h("a", { href: link("service", [one.serviceId]) }, one.serviceName) },
          { title: t("version"), cell: (one) => one.version },
          { title: t("app"), cell: (one) => one.appId },
          { title: t("env"), cell: (one) => one.environment || t("env.none") },
          { title: t("find.verdict"), cell: verdictOf },
          { title: t("instances"), cell: (one) => counts(one.instances ?? {}), wide: true },
        ],
        found.candidates,
        t("find.candidates.none"),
      ),
      Boolean(found.more) && h("p.muted", t("find.more", { count: number(found.more ?? 0) })),
    ),
  ];
}

/** @param {Candidate} one */
function verdictOf(one) {
  const against = one.against ?? [];
  if (!against.length) return h("span.pill.good", t("find.in"));
  return [h("span.pill.bad", t("find.out")), " ", against.map((reason) => t(`against.${reason}`)).join("; ")];
}
