// A schema, readable: the operations of an OpenAPI document, or the text as it is.

import { h } from "./dom.js";
import { facts } from "./pieces.js";
import { shortTable } from "./table.js";
import { t } from "../texts.js";

/** @typedef {Record<string, any>} Json */

const METHODS = ["get", "put", "post", "delete", "patch", "head", "options"];

/** @param {{summary?: string, schema: string, document?: unknown, problem?: string}} found */
export function schemaView(found) {
  const raw = h("details", h("summary", t("schema.text")), h("pre", { tabindex: 0 }, found.schema || t("schema.empty")));
  const document = found.document;
  if (!isObject(document) || !isObject(document.paths)) {
    return h("div", found.problem && h("p.muted", t("schema.unreadable", { why: found.problem })), h("pre", { tabindex: 0 }, found.schema || t("schema.empty")));
  }
  const info = isObject(document.info) ? document.info : {};
  return h(
    "div.schema",
    facts([
      [t("schema.title"), text(info.title)],
      [t("version"), text(info.version)],
      [t("schema.base"), text(document.basePath)],
    ]),
    info.description && h("p", text(info.description)),
    operations(document.paths),
    types(document),
    raw,
  );
}

/** @param {unknown} value @returns {value is Json} */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param {unknown} value */
function text(value) {
  return value === undefined || value === null ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** @param {Json} paths */
function operations(paths) {
  const rows = [];
  for (const [path, item] of Object.entries(paths)) {
    if (!isObject(item)) continue;
    for (const method of METHODS) {
      const operation = item[method];
      if (isObject(operation)) rows.push({ path, method: method.toUpperCase(), operation });
    }
  }
  return shortTable(
    t("schema.operations"),
    [
      { title: t("schema.method"), cell: (row) => h("strong", row.method) },
      { title: t("schema.path"), cell: (row) => h("code", row.path) },
      { title: t("schema.what"), cell: (row) => text(row.operation.summary ?? row.operation.operationId ?? row.operation.description) },
      { title: t("schema.parameters"), cell: (row) => parameters(row.operation), wide: true },
      { title: t("schema.answers"), cell: (row) => (isObject(row.operation.responses) ? Object.keys(row.operation.responses).join(", ") : "–"), wide: true },
    ],
    rows,
  );
}

/** @param {Json} operation */
function parameters(operation) {
  const given = Array.isArray(operation.parameters) ? operation.parameters.filter(isObject) : [];
  const names = given.map((one) => `${text(one.name ?? one.$ref)} (${[one.in, one.type ?? one.schema?.type].filter(Boolean).map(text).join(", ")})`);
  if (operation.requestBody) names.push(t("schema.body"));
  return names.join(", ") || "–";
}

/** @param {Json} document */
function types(document) {
  const found = isObject(document.definitions) ? document.definitions : isObject(document.components?.schemas) ? document.components.schemas : {};
  const rows = Object.entries(found).filter(([, one]) => isObject(one));
  if (!rows.length) return null;
  return shortTable(
    t("schema.types"),
    [
      { title: t("schema.type"), cell: ([name]) => h("code", name) },
      { title: t("schema.members"), cell: ([, one]) => (isObject(one.properties) ? Object.entries(one.properties).map(([name, member]) => `${name}: ${kind(member)}`).join(", ") : text(one.type)) },
    ],
    rows,
  );
}

/** @param {unknown} member @returns {string} */
function kind(member) {
  if (!isObject(member)) return text(member);
  const target = String(member.$ref ?? "").split("/").at(-1);
  return target || (member.type === "array" ? `${kind(member.items)}[]` : text(member.type));
}
