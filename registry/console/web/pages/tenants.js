// Tenants: who else is here, and how much each holds.

import { get, session } from "../data/api.js";
import { h, replace } from "../parts/dom.js";
import { soon, words } from "../parts/filter.js";
import { bytes, number } from "../parts/format.js";
import { input, trouble } from "../parts/pieces.js";
import { shortTable } from "../parts/table.js";
import { link } from "../router.js";
import { t } from "../texts.js";

/** The default tenant is told of all of them, whatever tenant is looked at. */
const TENANTS = "/v4/default/admin/tenants";
/** Rows drawn at once. */
const SHOWN_MAX = 500;

/** @param {HTMLElement} main @param {unknown} _route @param {AbortSignal} signal */
export async function show(main, _route, signal) {
  const list = h("div");
  const search = input("text", "", { type: "search", "aria-label": t("tenants.filter"), placeholder: t("tenants.filter"), oninput: soon(draw) });
  replace(main, h("h1", t("page.tenants")), h("p.muted", t("tenants.explain")), h("div.filters", search), list);
  /** @type {Record<string, any>[]} */
  let tenants = [];
  try {
    tenants = (await get(TENANTS, { signal, headers: { "X-Domain-Name": "default" } })).tenants;
  } catch (error) {
    if (!signal.aborted) replace(list, trouble(error));
    return;
  }
  draw();

  function draw() {
    if (signal.aborted) return;
    const passes = words(search.value);
    const found = tenants.filter((one) => passes(`${one.domain}/${one.project}`.toLowerCase()));
    const here = session.tenant;
    replace(
      list,
      shortTable(
        t("page.tenants"),
        [
          {
            title: t("tenant"),
            cell: (one) => [
              h("a", { href: link("tenants", [], {}, { tenant: { domain: one.domain, project: one.project } }) }, `${one.domain}/${one.project}`),
              one.domain === here.domain && one.project === here.project && h("span.pill.good", t("tenant.here")),
              one.setAside && h("span.pill.bad", t("tenant.aside")),
            ],
          },
          { title: t("services"), cell: (one) => number(one.services), end: true },
          { title: t("instances"), cell: (one) => number(one.instances), end: true },
          { title: t("page.policies"), cell: (one) => number(one.policies), end: true, wide: true },
          { title: t("tenant.size"), cell: (one) => bytes(one.bytes), end: true },
          { title: t("replica.position"), cell: (one) => h("code", one.position), wide: true },
        ],
        found.slice(0, SHOWN_MAX),
      ),
      found.length > SHOWN_MAX && h("p.muted", t("tenants.more", { count: number(found.length - SHOWN_MAX) })),
    );
  }
}
