// Policies: traffic rules, written as JSON. The registry checks them, and its complaint is shown beside the field.

import { call, get, own } from "../data/api.js";
import { may } from "../data/rights.js";
import { h, replace } from "../parts/dom.js";
import { attempt, confirm, say } from "../parts/dialog.js";
import { moment } from "../parts/format.js";
import { button, field, input, select, trouble } from "../parts/pieces.js";
import { shortTable } from "../parts/table.js";
import { link } from "../router.js";
import { t } from "../texts.js";

/** Kinds, each with what a new one begins as. @type {Record<string, Record<string, unknown>>} */
const TEMPLATES = {
  "match-group": { alias: "all", matches: [{ name: "rule", apiPath: { prefix: "/" }, method: ["GET"] }] },
  retry: { maxAttempts: 3 },
  "rate-limiting": { rate: "100", limitRefreshPeriod: "1000" },
  loadbalance: { rule: "RoundRobin" },
  "circuit-breaker": { minimumNumberOfCalls: 100, failureRateThreshold: 50 },
  "instance-isolation": { minimumNumberOfCalls: 100, failureRateThreshold: 50 },
  "fault-injection": { percentage: 0 },
  bulkhead: { maxConcurrentCalls: 100 },
};
const KINDS = Object.keys(TEMPLATES);

/** @typedef {{id: string, name: string, kind: string, status?: string, selector?: Record<string, string>, spec?: Record<string, any>, creatTime?: number, updateTime?: number}} Policy */

/** @param {HTMLElement} main @param {import("../router.js").Route} route @param {AbortSignal} signal */
export async function show(main, route, signal) {
  const [kind, id] = route.args;
  if (kind) await edit(main, kind, id ?? "", signal);
  else await list(main, signal);
}

/** @param {HTMLElement} main @param {AbortSignal} signal */
async function list(main, signal) {
  const place = h("div");
  const kind = select("kind", KINDS.map((one) => [one, one]), KINDS[0], { "aria-label": t("policy.kind") });
  replace(
    main,
    h("h1", t("page.policies")),
    h("p.muted", t("policies.explain")),
    may("governance", "create") &&
      h("div.filters", kind, button(t("policy.new"), () => {
        location.hash = link("policies", [kind.value]);
      }, "primary")),
    place,
  );
  try {
    const kinds = await Promise.all(KINDS.map((one) => get(own("gov", one), { signal })));
    if (signal.aborted) return;
    /** @type {Policy[]} */
    const policies = kinds.flat();
    replace(
      place,
      shortTable(
        t("page.policies"),
        [
          { title: t("policy.name"), cell: (one) => h("a", { href: link("policies", [one.kind, one.id]) }, one.name || one.id) },
          { title: t("policy.kind"), cell: (one) => one.kind },
          { title: t("app"), cell: (one) => one.selector?.app ?? "–" },
          { title: t("env"), cell: (one) => one.selector?.environment || t("env.none"), wide: true },
          { title: t("status"), cell: (one) => one.status || "–", wide: true },
          { title: t("service.changed"), cell: (one) => moment((one.updateTime ?? one.creatTime ?? 0) * 1000), wide: true },
        ],
        policies,
        t("policies.none"),
      ),
    );
  } catch (error) {
    if (!signal.aborted) replace(place, trouble(error));
  }
}

/** @param {HTMLElement} main @param {string} kind @param {string} id @param {AbortSignal} signal */
async function edit(main, kind, id, signal) {
  /** @type {Policy} */
  let policy = { id, kind, name: "", selector: { app: "", environment: "" }, spec: TEMPLATES[kind] ?? {} };
  try {
    if (id) policy = await get(own("gov", kind, id), { signal });
  } catch (error) {
    replace(main, h("h1", t("page.policies")), trouble(error));
    return;
  }
  if (signal.aborted) return;
  const name = input("name", policy.name, { required: true });
  const app = input("app", policy.selector?.app ?? "");
  const env = input("environment", policy.selector?.environment ?? "");
  const spec = /** @type {HTMLTextAreaElement} */ (h("textarea", { name: "spec", rows: 16, spellcheck: "false", "aria-describedby": "complaint" }));
  spec.value = JSON.stringify(policy.spec ?? {}, null, 2);
  const complaint = h("p.complaint", { id: "complaint", role: "status" });
  spec.addEventListener("input", () => {
    const problem = read(spec.value).problem;
    complaint.textContent = problem;
    spec.setAttribute("aria-invalid", String(Boolean(problem)));
  });
  replace(
    main,
    h("p.crumbs", h("a", { href: link("policies") }, t("page.policies")), " › ", kind, " › "),
    h("h1", policy.name || t("policy.new")),
    h(
      "form.fields",
      { onsubmit: save },
      field(t("policy.name"), name, kind === "match-group" ? "" : t("policy.name.hint")),
      field(t("app"), app),
      field(t("env"), env),
      h("div.span", field(t("policy.spec"), spec, t("policy.spec.hint")), complaint),
      h("div.buttons", may("governance", id ? "update" : "create") && h("button.primary", { type: "submit" }, t("save")), id && may("governance", "delete") && button(t("delete"), () => void remove(), "danger")),
    ),
  );

  /** @param {Event} event */
  async function save(event) {
    event.preventDefault();
    const { value, problem } = read(spec.value);
    if (problem) {
      spec.focus();
      return;
    }
    const selector = { ...policy.selector, app: app.value.trim(), environment: env.value.trim() };
    const body = { name: name.value.trim(), selector, spec: value, ...(policy.status ? { status: policy.status } : {}) };
    try {
      if (id) await call("PUT", own("gov", kind, id), { body });
      else await call("POST", own("gov", kind), { body });
    } catch (error) {
      complaint.textContent = error instanceof Error ? error.message : String(error);
      return;
    }
    say(t("policy.saved", { name: body.name }));
    location.hash = link("policies");
  }

  async function remove() {
    const body = h("p", t(kind === "match-group" ? "policy.delete.group" : "policy.delete.one", { name: policy.name }));
    if (!(await confirm({ title: t("policy.delete"), body, act: t("delete"), danger: true }))) return;
    const again = async () => {
      await call("POST", own("gov", kind), { body: { name: policy.name, selector: policy.selector, spec: policy.spec } });
    };
    const undo = kind === "match-group" ? null : again;
    if (await attempt(() => call("DELETE", own("gov", kind, id)), t("policy.deleted", { name: policy.name }), undo)) location.hash = link("policies");
  }
}

/** @param {string} text @returns {{value: unknown, problem: string}} */
function read(text) {
  try {
    const value = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? { value, problem: "" } : { value: null, problem: t("policy.not-object") };
  } catch (error) {
    return { value: null, problem: `${t("policy.not-json")}: ${error instanceof Error ? error.message : ""}` };
  }
}

