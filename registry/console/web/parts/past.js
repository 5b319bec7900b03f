// The time slider: the whole console as of a moment.

import { get, own, past, query } from "../data/api.js";
import { h } from "./dom.js";
import { soon } from "./filter.js";
import { local, moment } from "./format.js";
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
    const shown = past.ms ? Math.floor(past.ms / 1000) : now;
    const range = input("slider", "", { type: "range", min: first, max: now, step: 1, "aria-label": t("past.slider") });
    range.value = String(shown);
    // For those who know the moment, or have no mouse: an hour back is one key in it.
    const exact = input("moment", local(shown * 1000), { type: "datetime-local", step: 1, "aria-label": t("past.exact") });
    const go = soon(() => {
      const ms = new Date(exact.value).getTime();
      if (Number.isFinite(ms)) lookAt(ms >= now * 1000 ? 0 : ms);
    }, 300);
    range.addEventListener("input", () => {
      exact.value = local(Number(range.value) * 1000);
      go();
    });
    exact.addEventListener("input", () => {
      range.value = String(Math.floor(new Date(exact.value).getTime() / 1000));
      go();
    });
    bar.replaceChildren(h("span.muted", moment(first * 1000)), range, exact, button(t("past.back"), close));
  }
}
