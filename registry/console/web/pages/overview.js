// Overview: what one looks at first. How much there is, how it is, what is wrong, and what to do about it.

import { admin, call, get, own, query } from "../data/api.js";
import { may } from "../data/rights.js";
import { store } from "../data/store.js";
import { h, replace } from "../parts/dom.js";
import { attempt } from "../parts/dialog.js";
import { bytes, duration, number, rate } from "../parts/format.js";
import { button, card, counts, facts, figure, trouble } from "../parts/pieces.js";
import { shortTable } from "../parts/table.js";
import { link } from "../router.js";
import { known, t } from "../texts.js";
import { churnChart } from "./history.js";

/** Milliseconds between two questions to the replicas. */
const ASK_EVERY_MS = 2000;
/** The chart of the last hour is drawn anew so often, ms. */
const CHART_EVERY_MS = 15_000;
const HOUR_MS = 3_600_000;

/** @typedef {Record<string, any>} Presence */

/** @param {HTMLElement} main @param {unknown} _route @param {AbortSignal} signal */
export async function show(main, _route, signal) {
  const numbers = h("div.figures");
  const alarms = h("div");
  const changes = h("div", h("p.muted", t("loading")));
  const replicas = h("div");
  const keeper = h("div");
  replace(
    main,
    h("h1", t("page.overview")),
    numbers,
    h("div.grid", card(t("alarms"), alarms), card(t("changes"), changes), h("div.span", card(t("replicas"), replicas)), h("div.span", card(t("store"), keeper))),
  );
  const rates = new Rates();
  let chartMs = 0;
  const drawNumbers = () => replace(numbers, numberFigures(rates));
  store.addEventListener("changed", drawNumbers, { signal });
  drawNumbers();
  while (!signal.aborted) {
    await Promise.all([
      part(replicas, async () => {
        const found = /** @type {Presence[]} */ ((await get(admin("replicas"), { signal })).replicas);
        rates.hear(found);
        drawNumbers();
        return replicaTable(found);
      }),
      Date.now() - chartMs > CHART_EVERY_MS && part(changes, drawChart),
      part(alarms, async () => alarmList((await get(admin("alarms"), { signal })).alarms ?? [])),
      part(keeper, async () => storeFacts(await get(admin("store"), { signal }))),
    ]);
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  }

  async function drawChart() {
    chartMs = Date.now();
    const found = await get(own("history", "churn") + query({ from: String(chartMs - HOUR_MS), to: String(chartMs), step: "1m" }), { signal });
    return churnChart(found, chartMs - HOUR_MS, chartMs);
  }

  /** @param {HTMLElement} place @param {() => Promise<import("../parts/dom.js").Child | import("../parts/dom.js").Child[]>} draw */
  async function part(place, draw) {
    try {
      const drawn = await draw();
      if (!signal.aborted) replace(place, drawn);
    } catch (error) {
      if (!signal.aborted) replace(place, trouble(error));
    }
  }
}

/** What the replicas do per second, from what they said before and say now. */
class Rates {
  constructor() {
    /** @type {Map<string, Presence>} */
    this._before = new Map();
    /** @type {Map<string, {heartbeats: number, finds: number}>} */
    this._rates = new Map();
  }

  /** @param {Presence[]} found */
  hear(found) {
    for (const name of [...this._rates.keys()]) if (!found.some((one) => one.name === name)) this._rates.delete(name);
    for (const now of found) {
      const before = this._before.get(now.name);
      this._before.set(now.name, now);
      if (!before || now.atMs <= before.atMs) continue;
      const s = (now.atMs - before.atMs) / 1000;
      this._rates.set(now.name, { heartbeats: (now.heartbeats - before.heartbeats) / s, finds: (now.finds - before.finds) / s });
    }
  }

  /** @param {"heartbeats" | "finds"} kind @returns {string} */
  of(kind) {
    if (!this._rates.size) return "–";
    return rate([...this._rates.values()].reduce((sum, one) => sum + one[kind], 0));
  }
}

/** @param {Rates} rates */
function numberFigures(rates) {
  /** @type {Record<string, number>} */
  const all = {};
  const names = new Set();
  for (const service of store.services.values()) {
    names.add(`${service.env}\n${service.app}\n${service.name}`);
    for (const [status, count] of Object.entries(service.counts)) all[status] = (all[status] ?? 0) + count;
  }
  const total = Object.values(all).reduce((sum, count) => sum + count, 0);
  return [
    figure(t("services"), h("a", { href: link("services") }, number(names.size)), t("services.versions", { count: number(store.services.size) })),
    figure(t("instances"), h("a", { href: link("instances") }, number(total)), counts(all)),
    figure(t("heartbeats"), rates.of("heartbeats"), t("per.second")),
    figure(t("finds"), rates.of("finds"), t("per.second")),
  ];
}

/** @param {Presence[]} found */
function replicaTable(found) {
  const most = Math.max(...found.map((one) => one.lag));
  return [
    shortTable(
      t("replicas"),
      [
        { title: t("replica.address"), cell: (one) => [h("strong", one.address), " ", h("span.muted", one.name)] },
        { title: t("replica.state"), cell: (one) => state(one) },
        { title: t("replica.lag"), cell: (one) => (one.lag < 0 ? "?" : number(one.lag)), end: true },
        { title: t("replica.position"), cell: (one) => h("code", one.position), wide: true },
        { title: t("replica.agreement"), cell: (one) => (one.differing ? h("span.pill.bad", t("replica.differs", { count: one.differing })) : t("yes")) },
        { title: t("replica.memory"), cell: (one) => bytes(one.memoryBytes), end: true, wide: true },
        { title: t("replica.since"), cell: (one) => duration(one.atMs - one.startedMs), end: true, wide: true },
        { title: t("version"), cell: (one) => one.version, wide: true },
      ],
      found,
    ),
    found.length === 1 && h("p.muted", t("replicas.alone")),
    most > 1000 && h("p.notice.wait", t("replicas.behind")),
  ];
}

/** @param {Presence} one */
function state(one) {
  return one.notReady ? [h("span.pill.bad", t("replica.not-ready")), ` ${one.notReady}`] : h("span.pill.good", t("replica.ready"));
}

/** @param {{id: string, status: string, fields?: Record<string, string>}[]} alarms */
function alarmList(alarms) {
  if (!alarms.length) return h("p.empty.fine", t("alarms.none"));
  return [
    h(
      "ul.alarms",
      alarms.map((alarm) => {
        const active = alarm.status === "ACTIVATED";
        return h(
          "li",
          { class: active ? "bad" : "past" },
          h("strong", alarm.id),
          " ",
          h("span", { class: active ? "pill bad" : "pill off" }, active ? t("alarm.active") : t("alarm.over")),
          h("p", alarm.fields?.detail ?? ""),
          known(`alarm.${alarm.id}`) && h("p.advice", t(`alarm.${alarm.id}`)),
        );
      }),
    ),
    h("p", h("a", { href: link("help", ["alarms.md"]) }, t("alarm.more"))),
    may("ops", "delete") && button(t("alarms.clear"), () => void attempt(() => call("DELETE", admin("alarms")), t("alarms.cleared"))),
  ];
}

/** @param {Record<string, any>} about */
function storeFacts(about) {
  const memory = about.limitBytes ? `${bytes(about.usedBytes)} / ${bytes(about.limitBytes)}` : bytes(about.usedBytes);
  return facts([
    [t("store.program"), `${about.program} ${about.version}`],
    [t("store.mode"), about.mode === "server" ? t("store.standalone") : `${about.mode}, ${about.servers}`],
    [t("store.memory"), memory],
    [t("store.persistence"), about.persistence],
    [t("store.replicas"), String(about.replicas)],
  ]);
}
