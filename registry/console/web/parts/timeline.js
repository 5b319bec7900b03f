// Events of the log, as lines that people read: when, what, by whom, and what it changed.

import { h } from "./dom.js";
import { duration, moment } from "./format.js";
import { link } from "../router.js";
import { known, t } from "../texts.js";

/**
 * @typedef {Object} Told as the API has it
 * @property {string} position
 * @property {string} at
 * @property {string} kind
 * @property {string} effect
 * @property {{address?: string, account?: string, userAgent?: string}} [actor]
 * @property {string} replica
 * @property {string} [errorCode]
 * @property {string} [detail]
 * @property {string} [mergedInto]
 * @property {string} [serviceId]
 * @property {string} [instanceId]
 * @property {{env?: string, appId?: string, serviceName?: string, version?: string}} [service]
 * @property {{field: string, from?: unknown, to?: unknown}[]} [changes]
 * @property {number} [changesLeftOut]
 * @property {Record<string, any>} [evidence]
 */

/** Changes that one line shows, and letters of a value. */
const CHANGES_MAX = 6;
const LETTERS_MAX = 80;

/**
 * @param {Told[]} events
 * @param {boolean} [withSubject] say what each is about
 */
export function timeline(events, withSubject = true) {
  if (!events.length) return h("p.empty", t("history.none"));
  return h("ol.timeline", events.map((event) => line(event, withSubject)));
}

/** @param {Told} event @param {boolean} withSubject */
function line(event, withSubject) {
  const bad = event.kind === "instance-expired" || event.effect === "refused";
  return h(
    "li",
    { class: bad ? "bad" : event.effect },
    h("time", { datetime: event.at, title: event.at }, moment(Date.parse(event.at))),
    " ",
    h("strong", kindName(event.kind)),
    " ",
    withSubject && subject(event),
    event.effect === "refused" && h("span.pill.bad", `${t("history.refused")} ${event.errorCode ?? ""}`),
    event.effect === "merged" && h("span.pill.off", t("history.merged", { id: event.mergedInto ?? "" })),
    h("div.muted", by(event), evidence(event)),
    changes(event),
  );
}

/** @param {string} kind */
export function kindName(kind) {
  return known(`kind.${kind}`) ? t(`kind.${kind}`) : kind.replaceAll("-", " ");
}

/** @param {Told} event */
function subject(event) {
  const name = event.service ? `${event.service.serviceName ?? ""} ${event.service.version ?? ""}`.trim() : (event.serviceId ?? "");
  const service = event.serviceId && h("a", { href: link("service", [event.serviceId]) }, name || event.serviceId);
  const instance = event.serviceId && event.instanceId && h("a", { href: link("instance", [event.serviceId, event.instanceId]) }, event.instanceId);
  return h("span", service, instance && " / ", instance, " ");
}

/** @param {Told} event */
function by(event) {
  const { account, address, userAgent } = event.actor ?? {};
  const who = [account, address && address !== "registry" ? address : t("history.registry")].filter(Boolean).join(", ");
  return t("history.by", { who: userAgent ? `${who} (${userAgent})` : who, replica: event.replica });
}

/** What is said of each piece of evidence; what is not known here is shown as it is. @type {Record<string, (value: any) => string>} */
const EVIDENCE = {
  leaseMs: (ms) => t("evidence.lease", { length: duration(Number(ms)) }),
  lastRenewal: (at) => t("evidence.renewed", { at: moment(Date.parse(String(at))) }),
  deadline: (at) => t("evidence.ended", { at: moment(Date.parse(String(at))) }),
  pausedMs: (ms) => (Number(ms) ? t("evidence.paused", { length: duration(Number(ms)) }) : ""),
  lateMs: (ms) => t("evidence.late", { ms: String(ms) }),
  replicas: (replicas) => replicas.map(couldWrite).join(", "),
};

/** @param {{replica: string, couldNotWrite: {from?: string, to?: string}[]}} told */
function couldWrite({ replica, couldNotWrite }) {
  if (!couldNotWrite.length) return t("evidence.wrote", { replica });
  return couldNotWrite.map(({ from, to }) => {
    const times = { replica, from: from ? moment(Date.parse(from)) : "", to: to ? moment(Date.parse(to)) : "" };
    if (!from) return t("evidence.unknown", times);
    return t(to ? "evidence.away" : "evidence.silent", times);
  }).join(", ");
}

/** @param {Told} event */
function evidence(event) {
  const given = Object.entries(event.evidence ?? {}).filter(([name]) => name !== "registered");
  return given.length > 0 && h("div", given.map(([name, value]) => (Object.hasOwn(EVIDENCE, name) ? EVIDENCE[name](value) : `${name}: ${short(value)}`)).filter(Boolean).join(", "));
}

/** @param {Told} event */
function changes(event) {
  const all = event.changes ?? [];
  if (!all.length) return null;
  const more = all.length - CHANGES_MAX + (event.changesLeftOut ?? 0);
  return h("ul.changes", all.slice(0, CHANGES_MAX).map(changeLine), more > 0 && h("li.muted", t("history.more", { count: more })));
}

/** @param {{field: string, from?: unknown, to?: unknown}} change */
export function changeLine(change) {
  // A policy is told with its id in front of each member; one event is about one policy.
  const field = change.field.replace(/^policies\.[^.]+\./, "");
  return h("li", h("code", field), ": ", "from" in change && h("del", short(change.from)), "from" in change && "to" in change && " → ", "to" in change && h("ins", short(change.to)));
}

/** @param {unknown} value */
function short(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > LETTERS_MAX ? `${text.slice(0, LETTERS_MAX)}…` : text;
}
