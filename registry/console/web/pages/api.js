// API: what can be asked of the registry, and a way to try it.

import { get, request, session } from "../data/api.js";
import { h, replace } from "../parts/dom.js";
import { confirm } from "../parts/dialog.js";
import { soon, words } from "../parts/filter.js";
import { field, input, trouble } from "../parts/pieces.js";
import { remember } from "../router.js";
import { t } from "../texts.js";

/** @typedef {Record<string, any>} Json */
/** @typedef {{method: string, path: string, about: Json}} Operation */

/** Characters of an answer that are shown. */
const SHOWN_MAX = 200_000;

/** @param {HTMLElement} main @param {import("../router.js").Route} route @param {AbortSignal} signal */
export async function show(main, route, signal) {
  const list = h("div.operations");
  const search = input("text", route.query.get("text") ?? "", { type: "search", "aria-label": t("api.filter"), placeholder: t("api.filter"), oninput: soon(draw) });
  replace(main, h("h1", t("page.api")), h("p.muted", t("api.explain"), " ", h("a", { href: "/openapi.json" }, "/openapi.json")), h("div.filters", search), list);
  /** @type {Operation[]} */
  const operations = [];
  /** @type {Json} */
  let document = {};
  try {
    document = await get("/openapi.json", { signal });
  } catch (error) {
    if (!signal.aborted) replace(list, trouble(error));
    return;
  }
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, about] of Object.entries(/** @type {Json} */ (methods))) operations.push({ method: method.toUpperCase(), path, about });
  }
  draw();

  function draw() {
    if (signal.aborted) return;
    const passes = words(search.value);
    remember("api", [], { text: search.value });
    const found = operations.filter(({ method, path, about }) => passes(`${method} ${path} ${about.operationId} ${about.summary}`.toLowerCase()));
    replace(list, found.length ? found.map((one) => operation(one, document, signal)) : h("p.empty", t("nothing")));
  }
}

/** @param {Operation} one @param {Json} document @param {AbortSignal} signal */
function operation(one, document, signal) {
  const inside = h("div");
  const details = h(
    "details.operation",
    h("summary", h("span", { class: `method ${one.method.toLowerCase()}` }, one.method), " ", h("code", one.path), " ", h("strong", one.about.operationId.replaceAll("-", " ")), " ", h("span.muted", plain(one.about.summary, one))),
    inside,
  );
  details.addEventListener("toggle", () => {
    if (!inside.childNodes.length) replace(inside, trial(one, document, signal));
  });
  return details;
}

/** Without the route, which stands beside it. @param {string} summary @param {Operation} one */
function plain(summary, one) {
  return summary.replace(/`/g, "").replace(new RegExp(`^${one.method} [^:]*:? ?`), "");
}

/** @param {Operation} one @param {Json} document @param {AbortSignal} signal */
function trial(one, document, signal) {
  const { about } = one;
  /** @type {{where: string, name: string, input: HTMLInputElement}[]} */
  const fields = (about.parameters ?? []).map((/** @type {Json} */ given) => {
    const parameter = given.$ref ? document.components.parameters[given.$ref.split("/").at(-1)] : given;
    const known = /** @type {Record<string, string>} */ ({ project: session.tenant.project })[parameter.name] ?? "";
    return { where: parameter.in, name: parameter.name, input: input(parameter.name, known, { required: parameter.in === "path" }) };
  });
  const shown = fields.filter((one) => one.name !== "X-Domain-Name");
  const body = about.requestBody ? /** @type {HTMLTextAreaElement} */ (h("textarea", { name: "body", rows: 8, spellcheck: "false" })) : null;
  if (body) body.value = JSON.stringify(example(about.requestBody.content["application/json"].schema, document, 0), null, 2);
  const answer = h("div", { "aria-live": "polite" });
  return [
    h(
      "form.fields",
      { onsubmit: submit },
      shown.map((one) => field(`${one.name} (${one.where})`, one.input)),
      body && h("div.span", field(t("schema.body"), body)),
      h("button.primary", { type: "submit" }, t("api.send", { method: one.method })),
    ),
    answer,
  ];

  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault();
    if (one.method !== "GET" && !(await confirm({ title: `${one.method} ${one.path}`, body: h("p", t("api.will")), act: t("api.send", { method: one.method }), danger: one.method === "DELETE" }))) return;
    let target = one.path;
    const search = new URLSearchParams();
    /** @type {Record<string, string>} */
    const headers = {};
    for (const { where, name, input } of fields) {
      if (where === "path") target = target.replace(`{${name}}`, encodeURIComponent(input.value));
      else if (where === "query" && input.value) search.append(name, input.value);
      else if (where === "header" && input.value) headers[name] = input.value;
    }
    const whole = search.size ? `${target}?${search}` : target;
    const began = performance.now();
    try {
      const response = await request(one.method, whole, { headers, signal, text: body?.value });
      const text = await response.text();
      const ms = Math.round(performance.now() - began);
      const names = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
      replace(
        answer,
        h("p", { class: `notice ${response.ok || response.status === 304 ? "good" : "bad"}` }, t("api.answer", { status: response.status, ms, bytes: text.length })),
        h("details", h("summary", t("api.headers")), h("pre", { tabindex: 0 }, names)),
        h("pre", { tabindex: 0 }, pretty(text).slice(0, SHOWN_MAX)),
      );
    } catch (error) {
      replace(answer, trouble(error));
    }
  }
}

/** @param {string} text */
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** Depth to which an example is made. */
const DEPTH_MAX = 4;

/**
 * Something of this shape, to be changed.
 * @param {Json} schema
 * @param {Json} document
 * @param {number} depth
 * @returns {unknown}
 */
function example(schema, document, depth) {
  if (schema.$ref) return example(document.components.schemas[schema.$ref.split("/").at(-1)], document, depth);
  if (schema.anyOf) return example(schema.anyOf[0], document, depth);
  if (schema.default !== undefined && schema.default !== null) return schema.default;
  if (schema.type === "object") {
    if (depth > DEPTH_MAX || !schema.properties) return {};
    const names = depth ? (schema.required ?? Object.keys(schema.properties)) : Object.keys(schema.properties);
    return Object.fromEntries(names.map((/** @type {string} */ name) => [name, example(schema.properties[name], document, depth + 1)]));
  }
  if (schema.type === "array") return [];
  return { string: "", integer: 0, number: 0, boolean: false }[/** @type {"string"} */ (schema.type)] ?? null;
}

