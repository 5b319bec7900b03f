// Accounts, roles and tokens of machines.

import { call, get, path, session } from "../data/api.js";
import { may } from "../data/rights.js";
import { h, replace } from "../parts/dom.js";
import { attempt, confirm } from "../parts/dialog.js";
import { moment, ofSeconds } from "../parts/format.js";
import { button, card, field, input, select, trouble } from "../parts/pieces.js";
import { shortTable } from "../parts/table.js";
import { t } from "../texts.js";

/** @typedef {{name: string, roles: string[], status: string, updateTime: string}} Account */
/** @typedef {{name: string, perms: Record<string, any>[], updateTime: string}} Role */

/** @param {HTMLElement} main @param {unknown} _route @param {AbortSignal} signal */
export async function show(main, _route, signal) {
  const accounts = h("div");
  const roles = h("div");
  const machines = h("div");
  const locks = h("div");
  replace(main, h("h1", t("page.accounts")), card(t("accounts"), accounts), card(t("roles"), roles), card(t("machines"), machines), card(t("locks"), locks));
  await draw();

  async function draw() {
    await Promise.all([
      part(accounts, "/v4/accounts", accountList),
      part(roles, "/v4/roles", roleList),
      part(machines, "/v4/machine-tokens", machineList),
      part(locks, "/v4/account-locks", lockList),
    ]);
  }

  /** @param {HTMLElement} place @param {string} target @param {(data: any[]) => import("../parts/dom.js").Child | import("../parts/dom.js").Child[]} drawn */
  async function part(place, target, drawn) {
    try {
      const found = await get(target, { signal });
      if (!signal.aborted) replace(place, drawn(found.data ?? []));
    } catch (error) {
      if (!signal.aborted) replace(place, trouble(error));
    }
  }

  /** @param {string} method @param {string} target @param {unknown} body @param {string} done */
  async function change(method, target, body, done) {
    if (await attempt(() => call(method, target, { body }), done)) await draw();
  }

  /** @param {Account[]} data */
  function accountList(data) {
    return [
      shortTable(
        t("accounts"),
        [
          { title: t("account.name"), cell: (one) => one.name },
          { title: t("account.roles"), cell: (one) => one.roles.join(", ") },
          { title: t("status"), cell: (one) => h("span", { class: `pill ${one.status === "active" ? "good" : "bad"}` }, one.status) },
          { title: t("service.changed"), cell: (one) => ofSeconds(one.updateTime), wide: true },
          { title: t("account.acts"), cell: accountActs },
        ],
        data,
      ),
      may("account", "create") && button(t("account.new"), () => void newAccount(), "primary"),
    ];
  }

  /** @param {Account} one */
  function accountActs(one) {
    const target = `/v4/accounts/${path(one.name)}`;
    const next = one.status === "active" ? "inactive" : "active";
    // The registry refuses it: root is always there, and one's own account is changed by another one.
    const fixed = one.name === "root" || one.name === session.account;
    return h(
      "span.acts",
      !fixed && may("account", "update") && button(t("account.change-roles"), () => void askRoles(one)),
      !fixed && may("account", "update") && button(t(`account.${next}`), () => void change("PUT", target, { status: next }, t("account.changed", one))),
      may("account", "update") && button(t("account.password"), () => void askPassword(one)),
      !fixed && may("account", "delete") && button(t("delete"), async () => {
        const body = h("p", t("account.delete.will", one));
        if (await confirm({ title: t("account.delete"), body, act: t("delete"), danger: true })) await change("DELETE", target, undefined, t("account.deleted", one));
      }, "danger"),
    );
  }

  async function newAccount() {
    const name = input("name", "");
    const password = input("password", "", { type: "password", autocomplete: "new-password" });
    const roles = input("roles", "developer");
    const body = [field(t("account.name"), name), field(t("account.password"), password, t("account.password.hint")), field(t("account.roles"), roles, t("account.roles.hint"))];
    if (await confirm({ title: t("account.new"), body, act: t("save") })) {
      await change("POST", "/v4/accounts", { name: name.value, password: password.value, roles: names(roles.value) }, t("account.changed", { name: name.value }));
    }
  }

  /** @param {Account} one */
  async function askRoles(one) {
    const roles = input("roles", one.roles.join(", "));
    if (await confirm({ title: one.name, body: field(t("account.roles"), roles, t("account.roles.hint")), act: t("save") })) {
      await change("PUT", `/v4/accounts/${path(one.name)}`, { roles: names(roles.value) }, t("account.changed", one));
    }
  }

  /** @param {Account} one */
  async function askPassword(one) {
    const password = input("password", "", { type: "password", autocomplete: "new-password" });
    const body = [h("p", t("account.password.will")), field(t("account.password"), password, t("account.password.hint"))];
    if (await confirm({ title: one.name, body, act: t("save") })) {
      await change("POST", `/v4/accounts/${path(one.name)}/password`, { password: password.value }, t("account.changed", one));
    }
  }

  /** @param {Role[]} data */
  function roleList(data) {
    return [
      shortTable(
        t("roles"),
        [
          { title: t("account.name"), cell: (one) => one.name },
          { title: t("role.perms"), cell: (one) => h("ul.plain", one.perms.map((perm) => h("li", permission(perm)))) },
          {
            title: t("account.acts"),
            cell: (one) =>
              !["admin", "developer"].includes(one.name) &&
              h(
                "span.acts",
                may("role", "update") && button(t("role.change"), () => void askRole(one)),
                may("role", "delete") && button(t("delete"), async () => {
                  const body = h("p", t("role.delete.will", one));
                  if (await confirm({ title: t("role.delete"), body, act: t("delete"), danger: true })) await change("DELETE", `/v4/roles/${path(one.name)}`, undefined, t("account.deleted", one));
                }, "danger"),
              ),
          },
        ],
        data,
      ),
      may("role", "create") && button(t("role.new"), () => void askRole(null), "primary"),
    ];
  }

  /** @param {Role | null} one */
  async function askRole(one) {
    const name = input("name", one?.name ?? "", { readonly: Boolean(one) });
    const perms = /** @type {HTMLTextAreaElement} */ (h("textarea", { rows: 12, cols: 48, spellcheck: "false" }));
    perms.value = JSON.stringify(one?.perms ?? [{ resources: [{ type: "service", labels: { appId: "shop" } }], verbs: ["get"] }], null, 2);
    const body = [field(t("account.name"), name), field(t("role.perms"), perms, t("role.perms.hint"))];
    if (!(await confirm({ title: one ? t("role.change") : t("role.new"), body, act: t("save") }))) return;
    await change(...roleRequest(one, name.value, perms.value));
  }

  /**
   * @param {Role | null} one
   * @param {string} name
   * @param {string} text
   * @returns {[string, string, unknown, string]}
   */
  function roleRequest(one, name, text) {
    /** @type {unknown} */
    let perms = text;
    try {
      perms = JSON.parse(text);
    } catch {
      // The registry says what is wrong with it.
    }
    const done = t("account.changed", { name });
    return one ? ["PUT", `/v4/roles/${path(name)}`, { name, perms }, done] : ["POST", "/v4/roles", { name, perms }, done];
  }

  /** @param {{name: string, roles: string[], expiresAt: number, createdBy: string}[]} data */
  function machineList(data) {
    return [
      shortTable(
        t("machines"),
        [
          { title: t("account.name"), cell: (one) => one.name },
          { title: t("account.roles"), cell: (one) => one.roles.join(", ") },
          { title: t("machine.until"), cell: (one) => moment(one.expiresAt * 1000) },
          { title: t("machine.by"), cell: (one) => one.createdBy, wide: true },
          {
            title: t("account.acts"),
            cell: (one) =>
              button(t("machine.revoke"), async () => {
                const body = h("p", t("machine.revoke.will", one));
                if (await confirm({ title: t("machine.revoke"), body, act: t("machine.revoke"), danger: true })) await change("DELETE", `/v4/machine-tokens/${path(one.name)}`, undefined, t("account.deleted", one));
              }, "danger"),
          },
        ],
        data,
        t("machines.none"),
      ),
      button(t("machine.new"), () => void newMachine(), "primary"),
    ];
  }

  async function newMachine() {
    const name = input("name", "");
    const roles = input("roles", "developer");
    const span = select("span", [["24h", "24 h"], ["2160h", "90 d"], ["8760h", "365 d"]], "2160h");
    const body = [field(t("account.name"), name), field(t("account.roles"), roles, t("account.roles.hint")), field(t("machine.until"), span)];
    if (!(await confirm({ title: t("machine.new"), body, act: t("save") }))) return;
    let token = "";
    const asked = { name: name.value, roles: names(roles.value), tokenExpirationTime: span.value };
    const done = await attempt(async () => {
      token = (await call("POST", "/v4/machine-tokens", { body: asked })).token;
    }, t("account.changed", { name: name.value }));
    if (!done) return;
    await draw();
    await confirm({ title: t("machine.token"), body: [h("p", t("machine.token.once")), h("pre", token)], act: t("machine.token.kept") });
  }

  /** @param {Record<string, any>[]} data */
  function lockList(data) {
    const names = Object.keys(data[0] ?? {});
    return shortTable(t("locks"), names.map((name) => ({ title: name, cell: (one) => String(one[name]) })), data, t("locks.none"));
  }
}

/** @param {string} text */
function names(text) {
  return text.split(/[\s,]+/).filter(Boolean);
}

/** @param {Record<string, any>} perm */
function permission(perm) {
  const resources = perm.resources.map((/** @type {Record<string, any>} */ one) => {
    const labels = Object.entries(one.labels ?? {}).map(([name, value]) => `${name}=${value}`);
    return labels.length ? `${one.type} (${labels.join(", ")})` : one.type;
  });
  return `${perm.verbs.join(", ")}: ${resources.join(", ")}`;
}
