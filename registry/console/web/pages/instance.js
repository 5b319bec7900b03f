// One instance: how it is, how long its lease still lasts, and what can be done to it.

import { changeStatus, deregister, STATUSES } from "../data/actions.js";
import { ApiError, get, own, past, query, registry } from "../data/api.js";
import { may } from "../data/rights.js";
import { store } from "../data/store.js";
import { h, replace } from "../parts/dom.js";
import { duration, moment, ofSeconds } from "../parts/format.js";
import { timeline } from "../parts/timeline.js";
import { button, card, copyButton, facts, pairs, select, statusPill, trouble } from "../parts/pieces.js";
import { link } from "../router.js";
import { t } from "../texts.js";

/** Milliseconds between two questions for the lease. */
const ASK_EVERY_MS = 2000;

/** @typedef {Record<string, any>} Instance */

/** @param {HTMLElement} main @param {import("../router.js").Route} route @param {AbortSignal} signal */
export async function show(main, route, signal) {
  const [serviceId = "", instanceId = ""] = route.args;
  const head = h("div");
  const lease = h("div");
  const body = h("div.grid");
  const story = h("div", h("p.muted", t("loading")));
  /** @type {Instance | null} */
  let instance = null;
  let leftMs = 0;
  let ttlMs = 0;
  let beatMs = 0;
  let through = "";
  let askedMs = 0;
  replace(main, head, lease, body, card(t("history.life"), story));
  store.addEventListener("changed", (event) => {
    if (/** @type {CustomEvent<Set<string>>} */ (event).detail.has(serviceId)) void load();
  }, { signal });
  const tick = setInterval(drawLease, 250);
  signal.addEventListener("abort", () => clearInterval(tick));
  await load();
  while (!signal.aborted) {
    await askLease();
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  }

  async function load() {
    try {
      const now = /** @type {Instance} */ ((await get(registry("microservices", serviceId, "instances", instanceId), { signal })).instance);
      const same = JSON.stringify(now) === JSON.stringify(instance);
      instance = now;
      if (!signal.aborted && !same) {
        drawInstance(now);
        void tell();
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status === 400) drawGone();
      else if (!instance) replace(body, trouble(error));
    }
  }

  async function askLease() {
    if (!instance || past.ms) return;
    try {
      const found = await get(own("leases", serviceId, instanceId), { signal });
      ({ leftMs, ttlMs, lastBeatMs: beatMs, lastBeatThrough: through } = found);
      askedMs = performance.now();
    } catch {
      // The registry's answer to the next question says what there is to say.
    }
  }

  function drawLease() {
    if (!instance || !ttlMs) return;
    const left = Math.max(0, leftMs - (performance.now() - askedMs));
    const meter = /** @type {HTMLMeterElement} */ (h("meter", { min: 0, max: ttlMs, low: ttlMs / 4, "aria-label": t("lease") }));
    meter.value = left;
    const text = left > 0 ? t("lease.left", { left: duration(left), ttl: duration(ttlMs) }) : t("lease.over");
    replace(lease, h("div.lease", h("strong", t("lease")), meter, h("span", text), h("span.muted", t(through ? "lease.beat" : "lease.granted", { at: moment(beatMs), replica: through }))));
  }

  function drawGone() {
    const last = instance;
    instance = null;
    replace(lease);
    const name = last?.hostName || instanceId;
    replace(head, crumbs(), h("h1", name), h("p.notice.bad", { role: "status" }, t(last ? "instance.left" : "instance.unknown")));
    if (!last) replace(body);
    void tell();
  }

  /** Where it is and why, in one sentence, and the events of its life. */
  async function tell() {
    try {
      const found = await get(own("history", "explain") + query({ serviceId, instanceId, at: past.ms ? String(past.ms) : "" }), { signal });
      const title = head.querySelector("h1");
      if (!instance && title && found.content?.hostName) title.textContent = found.content.hostName;
      if (signal.aborted) return;
      const why = inLocalTime(found.sentence);
      // That it has gone and why is one thing to say, at the top.
      if (!instance) head.querySelector(".notice")?.append(" ", why);
      replace(story, instance && h("p", why), timeline(found.events ?? [], false));
    } catch (error) {
      if (!signal.aborted) replace(story, trouble(error));
    }
  }

  function crumbs() {
    const service = store.services.get(serviceId);
    const name = service ? `${service.name} ${service.version}` : serviceId;
    return h("p.crumbs", h("a", { href: link("services") }, t("page.services")), " › ", h("a", { href: link("service", [serviceId]) }, name), " › ");
  }

  /** @param {Instance} one */
  function drawInstance(one) {
    const status = select("status", STATUSES.map((name) => /** @type {[string, string]} */ ([name, name])), one.status, { "aria-label": t("status.new") });
    document.title = `${one.hostName || instanceId} – ${t("brand")}`;
    replace(
      head,
      crumbs(),
      h("h1", one.hostName || instanceId),
      h(
        "div.actions",
        statusPill(one.status),
        may("service", "update") && [status, button(t("status.change"), () => void changeStatus(one, status.value))],
        may("service", "delete") && button(t("deregister"), () => void deregister(one), "danger"),
      ),
    );
    const check = one.healthCheck ?? {};
    const place = one.dataCenterInfo ?? {};
    replace(
      body,
      card(t("instance.endpoints"), endpoints(one.endpoints ?? [])),
      card(
        t("instance.facts"),
        facts([
          [t("instance.id"), [h("code", instanceId), " ", copyButton(instanceId)]],
          [t("instance.host"), one.hostName || "–"],
          [t("version"), one.version || "–"],
          [t("instance.health"), t("instance.check", { mode: check.mode || "push", interval: check.interval ?? 30, times: check.times ?? 0 })],
          [t("instance.place"), [place.name, place.region, place.availableZone].filter(Boolean).join(" / ") || "–"],
          [t("service.registered"), ofSeconds(one.timestamp)],
          [t("service.changed"), ofSeconds(one.modTimestamp)],
        ]),
      ),
      h("div.span", card(t("service.properties"), pairs(one.properties))),
    );
  }
}

/** The registry tells moments in UTC; everything else on the page is in the time of who looks. @param {string} sentence */
function inLocalTime(sentence) {
  return sentence.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (at) => moment(Date.parse(at)));
}

/** @param {string[]} all */
function endpoints(all) {
  if (!all.length) return h("p.empty", t("instance.endpoints.none"));
  return h("ul.plain", all.map((one) => h("li", h("code", one), " ", copyButton(one))));
}
