// The time slider: the whole console as of a moment.

import { get, own, past, query } from "../data/api.js";
import { h } from "./dom.js";
import { soon } from "./filter.js";
import { moment } from "./format.js";
import { button, input, trouble } from "./pieces.js";
import { t } from "../texts.js";

/** The slider reaches back this far at most, ms, and moves by a second. */
const REACH_MS = 86_400_000;

/**
 * A button that opens the slider.
 * @param {(ms: number) => void} lookAt Unix ms; 0: now
 */
export function pastBar(lookAt) {
  const bar = h("div.past", { hidden: !past.ms });
  const toggle = h("button", { type: "button", "aria-expanded": String(Boolean(past.ms)), onclick: () => void (bar.hidden ? show() : close()) }, t("past.open"));
  if (past.ms) void show();
  return h("div.pasts", toggle, bar);

  async function show() {
    bar.hidden = false;
    toggle.setAttribute("aria-expanded", "true");
    try {
      const eldest = (await get(own("history") + query({ order: "oldest", limit: "1" }))).events[0];
      slider(eldest ? Date.parse(eldest.at) : Date.now());
    } catch (error) {
      bar.replaceChildren(trouble(error));
    }
  }

  function close() {
    bar.hidden = true;
    toggle.setAttribute("aria-expanded", "false");
    if (past.ms) lookAt(0);
  }

  /** @param {number} eldest Unix ms */
  function slider(eldest) {
    const now = Math.floor(Date.now() / 1000);
    const first = Math.min(now - 1, Math.max(Math.floor(eldest / 1000) + 1, now - REACH_MS / 1000));
    const range = input("moment", "", { type: "range", min: first, max: now, step: 1, "aria-label": t("past.slider"), oninput: say });
    range.value = String(past.ms ? Math.floor(past.ms / 1000) : now);
    const shown = h("output", past.ms ? moment(past.ms) : t("past.now"));
    range.addEventListener("input", soon(() => lookAt(Number(range.value) >= now ? 0 : Number(range.value) * 1000), 300));
    bar.replaceChildren(h("span.muted", moment(first * 1000)), range, shown, button(t("past.back"), () => {
      range.value = String(now);
      close();
    }));

    function say() {
      shown.textContent = Number(range.value) >= now ? t("past.now") : moment(Number(range.value) * 1000);
    }
  }
}
