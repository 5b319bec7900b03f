// Who is logged in, where there are accounts, and what that allows. The registry decides; this only keeps from offering
// what it would refuse.

import { ApiError, call, get, past, path, session } from "./api.js";

/** @typedef {{resources: {type: string, labels?: Record<string, string>}[], verbs: string[]}} Permission */

/** `off`: there are no accounts. `out`: nobody is logged in. */
export const rights = {
  /** @type {"off" | "out" | "in"} */
  state: "off",
  /** @type {Permission[]} */
  perms: [],
};

/** What the one who is logged in may do. Without a token nobody is asked: a registry with accounts says so by itself. */
export async function askRights() {
  rights.state = "off";
  rights.perms = [];
  if (!session.token) return;
  try {
    rights.perms = (await get("/v4/self-perms")).perms;
    rights.state = "in";
  } catch (error) {
    if (!(error instanceof ApiError) || (error.status !== 404 && error.status !== 401)) throw error;
    // The token is one of the past: of another registry, or it has ended.
    session.token = "";
    rights.state = error.status === 404 ? "off" : "out";
  }
}

/**
 * Whether it may be done, somewhere at least, and now: the past cannot be changed.
 * @param {string} resource
 * @param {"get" | "create" | "update" | "delete"} verb
 */
export function may(resource, verb) {
  if (past.ms && verb !== "get") return false;
  if (rights.state === "off") return true;
  return rights.perms.some(
    (one) => (one.verbs.includes(verb) || one.verbs.includes("*")) && one.resources.some(({ type }) => type === resource || type === "*"),
  );
}

/** @param {string} name @param {string} password */
export async function logIn(name, password) {
  session.token = "";
  session.token = (await call("POST", "/v4/token", { body: { name, password } })).token;
  session.account = name;
  await askRights();
}

/** One's own; this window goes on with a new token. @param {string} currentPassword @param {string} password */
export async function changePassword(currentPassword, password) {
  const name = session.account;
  await call("POST", `/v4/accounts/${path(name)}/password`, { body: { currentPassword, password } });
  await logIn(name, password);
}

export function logOut() {
  session.token = "";
  session.account = "";
  rights.perms = [];
  rights.state = "out";
}
