// Questions before something is done, and short words after it.

import { byId, h, replace } from "./dom.js";
import { t } from "../texts.js";

/** @typedef {import("./dom.js").Child} Child */

/** Milliseconds that a word stays, and one that can be undone. */
const STAY_MS = 5000;
const UNDO_MS = 15_000;

/**
 * Ask whether to do it.
 * @param {Object} question
 * @param {string} question.title
 * @param {Child | Child[]} question.body what will happen
 * @param {string} question.act the word on the button
 * @param {boolean} [question.danger]
 * @returns {Promise<boolean>}
 */
export function confirm({ title, body, act, danger = false }) {
  return new Promise((resolve) => {
    /** @type {HTMLDialogElement} */
    const dialog = /** @type {HTMLDialogElement} */ (h("dialog", { "aria-labelledby": "dialog-title" }));
    replace(
      dialog,
      h("h2", { id: "dialog-title" }, title),
      h("div", body),
      h(
        "div.buttons",
        h("button", { type: "button", autofocus: true, onclick: () => dialog.close("") }, t("cancel")),
        h("button", { type: "button", class: danger ? "danger" : "primary", onclick: () => dialog.close("yes") }, act),
      ),
    );
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target instanceof HTMLInputElement) dialog.close("yes");
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * Say something in passing.
 * @param {string} text
 * @param {"good" | "bad"} [kind]
 * @param {(() => Promise<void>) | null} [undo]
 */
export function say(text, kind = "good", undo = null) {
  const word = h("div", { class: `toast ${kind}`, role: kind === "bad" ? "alert" : "status" }, h("span", text));
  const timer = setTimeout(() => word.remove(), undo ? UNDO_MS : STAY_MS);
  const dismiss = () => {
    clearTimeout(timer);
    word.remove();
  };
  if (undo) {
    word.append(
      h("button", {
        type: "button",
        onclick: async () => {
          dismiss();
          await attempt(undo, t("undone"));
        },
      }, t("undo")),
    );
  }
  word.append(h("button.quiet", { type: "button", "aria-label": t("dismiss"), onclick: dismiss }, "×"));
  byId("toasts").append(word);
}

/**
 * Do it, and say what came of it.
 * @param {() => Promise<void>} act
 * @param {string} done
 * @param {(() => Promise<void>) | null} [undo]
 * @returns {Promise<boolean>} whether it was done
 */
export async function attempt(act, done, undo = null) {
  try {
    await act();
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), "bad");
    return false;
  }
  say(done, "good", undo);
  return true;
}
