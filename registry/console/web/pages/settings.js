// Settings in force of the replica that answers.

import { admin, get } from "../data/api.js";
import { h, replace } from "../parts/dom.js";
import { soon, words } from "../parts/filter.js";
import { input, trouble } from "../parts/pieces.js";
import { shortTable } from "../parts/table.js";
import { t } from "../texts.js";

/** @param {HTMLElement} main @param {unknown} _route @param {AbortSignal} signal */
export async function show(main, _route, signal) {
  const list = h("div");
  const search = input("text", "", { type: "search", "aria-label": t("settings.filter"), placeholder: t("settings.filter"), oninput: soon(draw) });
  replace(main, h("h1", t("page.settings")), h("p.muted", t("settings.explain")), h("div.filters", search), list);
  /** @type {Record<string, any>[]} */
  let settings = [];
  try {
    settings = (await get(admin("settings"), { signal })).settings;
  } catch (error) {
    if (!signal.aborted) replace(list, trouble(error));
    return;
  }
  draw();

  function draw() {
    if (signal.aborted) return;
    const passes = words(search.value);
    const found = settings.filter((one) => passes(`${one.name} ${one.meaning}`.toLowerCase()));
    const changed = found.filter((one) => !one.isDefault);
    replace(
      list,
      h("h2", t("settings.changed")),
      table(t("settings.changed"), changed, t("settings.changed.none")),
      h("h2", t("settings.default")),
      table(t("settings.default"), found.filter((one) => one.isDefault), t("nothing")),
    );
  }
}

/** @param {string} label @param {Record<string, any>[]} settings @param {string} none */
function table(label, settings, none) {
  return shortTable(
    label,
    [
      { title: t("setting.name"), cell: (one) => h("code.nowrap", one.name) },
      { title: t("setting.value"), cell: (one) => h("strong", one.value || t("setting.blank")) },
      { title: t("setting.default"), cell: (one) => one.default || t("setting.blank"), wide: true },
      { title: t("setting.unit"), cell: (one) => one.unit, wide: true },
      { title: t("setting.meaning"), cell: (one) => one.meaning },
    ],
    settings,
    none,
  );
}
