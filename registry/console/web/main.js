// The frame: navigation, the tenant, how current everything is; and the page in the middle.

import { past, session } from "./data/api.js";
import { askRights, changePassword, logIn, logOut, may, rights } from "./data/rights.js";
import { store } from "./data/store.js";
import { byId, h, replace } from "./parts/dom.js";
import { attempt, confirm } from "./parts/dialog.js";
import { duration, moment } from "./parts/format.js";
import { pastBar } from "./parts/past.js";
import { button, field, input, trouble } from "./parts/pieces.js";
import { link, parse } from "./router.js";
import { t } from "./texts.js";

/**
 * A page draws itself into `main`; the signal ends it when another one is opened.
 * @typedef {(main: HTMLElement, route: import("./router.js").Route, signal: AbortSignal) => Promise<void> | void} Show
 */

/** Pages in the order of the navigation; those after "" are not in it. They are fetched when they are opened. */
const PAGES = /** @type {Record<string, () => Promise<{show: Show}>>} */ ({
  overview: () => import("./pages/overview.js"),
  services: () => import("./pages/services.js"),
  instances: () => import("./pages/instances.js"),
  topology: () => import("./pages/topology.js"),
  history: () => import("./pages/history.js"),
  find: () => import("./pages/find.js"),
  policies: () => import("./pages/policies.js"),
  tenants: () => import("./pages/tenants.js"),
  accounts: () => import("./pages/accounts.js"),
  settings: () => import("./pages/settings.js"),
  api: () => import("./pages/api.js"),
  help: () => import("./pages/help.js"),
  service: () => import("./pages/service.js"),
  instance: () => import("./pages/instance.js"),
});
/** Pages that are reached from others only, and the one that they belong to. */
const BELOW = /** @type {Record<string, string>} */ ({ service: "services", instance: "instances" });

let leave = new AbortController();

function frame() {
  const hasAccounts = rights.state === "in" && may("account", "get");
  const nav = Object.keys(PAGES).filter((page) => !(page in BELOW) && (page !== "accounts" || hasAccounts));
  replace(
    document.body,
    h("a.skip", { href: "#main", onclick: toMain }, t("skip")),
    h(
      "header.top",
      h("a.brand", { href: link("overview"), "data-page": "overview" }, t("brand")),
      h("button.tenant", { type: "button", id: "tenant", onclick: chooseTenant, title: t("tenant.change") }),
      h("div.live", { id: "live", role: "status" }),
      rights.state === "in" && h("span.account", session.account, " ", button(t("account.password"), () => void ownPassword()), " ", button(t("log-out"), leaveAccount)),
      rights.state !== "out" && pastBar(lookAt),
    ),
    h("nav.side", { "aria-label": t("nav") }, nav.map((page) => h("a", { href: link(page), "data-page": page }, t(`page.${page}`)))),
    h("main", { id: "main", tabindex: -1 }),
    h("div.toasts", { id: "toasts" }),
  );
  showTenant();
  showLive();
}

/** Look at the registry as of this moment. On the way Back there is what was looked at before. @param {number} ms Unix ms; 0: now */
function lookAt(ms) {
  const { page, args, query } = parse(location.hash);
  const address = link(page, args, Object.fromEntries(query), { at: ms });
  // A slider that is moved passes many moments, of which only the last one is a place that somebody was at.
  if (ms && past.ms) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  past.ms = ms;
  startAt();
  void open();
}

/** Begin with the tenant and the moment that are looked at now. */
function startAt() {
  for (const item of document.querySelectorAll("nav.side a, a.brand")) {
    /** @type {HTMLAnchorElement} */ (item).href = link(/** @type {HTMLElement} */ (item).dataset.page ?? "");
  }
  if (rights.state !== "out") store.start();
}

/** Another address was opened, perhaps of another tenant or as of another moment. */
function arrive() {
  const { at, tenant } = parse(location.hash);
  if (at !== past.ms || tenant.domain !== session.tenant.domain || tenant.project !== session.tenant.project) {
    past.ms = at;
    session.tenant = tenant;
    showTenant();
    startAt();
    document.querySelector(".pasts")?.replaceWith(pastBar(lookAt));
  }
  void open(true);
}

/** @param {Event} event */
function toMain(event) {
  event.preventDefault();
  byId("main").focus();
}

/** @param {boolean} [isMoved] another page was there before */
async function open(isMoved = false) {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const route = parse(location.hash);
  const main = byId("main");
  if (rights.state === "out" || route.page === "log-in") {
    logInPage(main);
    return;
  }
  const load = Object.hasOwn(PAGES, route.page) ? PAGES[route.page] : null;
  for (const item of document.querySelectorAll("nav.side a")) {
    const here = /** @type {HTMLElement} */ (item).dataset.page === (BELOW[route.page] ?? route.page);
    if (!here) item.removeAttribute("aria-current");
    else {
      item.setAttribute("aria-current", "page");
      // With the next frame: asked now, the browser would lay the page out once more than it must.
      requestAnimationFrame(() => item.scrollIntoView({ block: "nearest", inline: "nearest" }));
    }
  }
  document.title = load ? `${t(`page.${route.page}`)} – ${t("brand")}` : t("brand");
  if (!load) {
    replace(main, h("h1", t("page.unknown")), h("p", h("a", { href: link("overview") }, t("page.overview"))));
    return;
  }
  try {
    const page = await load();
    if (signal.aborted) return;
    main.replaceChildren();
    if (isMoved) {
      main.scrollTop = 0;
      // Anyone who uses the keyboard, or hears the page, goes on where the new one begins.
      main.focus({ preventScroll: true });
    }
    await page.show(main, route, signal);
  } catch (error) {
    if (!signal.aborted) main.append(trouble(error));
  }
}

// -- who looks --------------------------------------------------------------------------------------------------------

/** @param {HTMLElement} main */
function logInPage(main) {
  document.title = `${t("log-in")} – ${t("brand")}`;
  const name = input("name", session.account, { autocomplete: "username", required: true });
  const password = input("password", "", { type: "password", autocomplete: "current-password", required: true });
  const complaint = h("p.complaint", { role: "alert" });
  const form = h(
    "form.login.card",
    {
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        complaint.textContent = "";
        try {
          await logIn(name.value, password.value);
          if (parse(location.hash).page === "log-in") history.replaceState(null, "", link("overview"));
          begin();
        } catch (error) {
          complaint.textContent = error instanceof Error ? error.message : String(error);
        }
      },
    },
    h("h1", t("log-in")),
    h("p.muted", t("log-in.explain")),
    field(t("account.name"), name),
    field(t("account.password"), password),
    complaint,
    h("button.primary", { type: "submit" }, t("log-in")),
  );
  replace(main, form);
  (name.value ? password : name).focus();
}

/** Change the password of the account that is logged in. */
async function ownPassword() {
  const before = input("current", "", { type: "password", autocomplete: "current-password" });
  const next = input("password", "", { type: "password", autocomplete: "new-password" });
  const body = [h("p", t("password.own.will")), field(t("password.current"), before), field(t("password.new"), next, t("account.password.hint"))];
  if (!(await confirm({ title: t("password.own", { name: session.account }), body, act: t("save") }))) return;
  await attempt(async () => {
    // The token counts no more as soon as the password is another one.
    store.stop();
    await changePassword(before.value, next.value).finally(begin);
  }, t("password.own.done"));
}

function leaveAccount() {
  logOut();
  store.stop();
  begin();
}

/** Draw everything for the account that is logged in now. */
function begin() {
  frame();
  if (rights.state !== "out") store.start();
  void open();
}

// -- the tenant -------------------------------------------------------------------------------------------------------

function showTenant() {
  const { domain, project } = session.tenant;
  replace(byId("tenant"), h("span.muted", `${t("tenant")} `), `${domain}/${project}`);
}

async function chooseTenant() {
  const { domain, project } = session.tenant;
  const fields = [input("domain", domain), input("project", project)];
  const body = [h("p", t("tenant.explain")), field(t("tenant.domain"), fields[0]), field(t("tenant.project"), fields[1])];
  if (!(await confirm({ title: t("tenant.change"), body, act: t("tenant.open") }))) return;
  const chosen = { domain: fields[0].value.trim() || "default", project: fields[1].value.trim() || "default" };
  const { page } = parse(location.hash);
  location.hash = link(BELOW[page] ?? page, [], {}, { tenant: chosen });
}

// -- how current it is ------------------------------------------------------------------------------------------------

function showLive() {
  const live = byId("live");
  const age = Date.now() - store.heardMs;
  const { trouble } = store;
  if (rights.state === "out") {
    live.className = "live wait";
    replace(live, t("log-in.needed"));
  } else if (trouble && trouble.status >= 400 && trouble.status < 500) {
    live.className = "live bad";
    replace(live, h("span.dot"), trouble.message);
  } else if (past.ms && store.loaded) {
    live.className = "live past";
    replace(live, h("span.dot"), h("strong", t("past.shown", { at: moment(past.ms) })));
  } else if (!store.heardMs) {
    live.className = trouble ? "live bad" : "live wait";
    replace(live, h("span.dot"), trouble ? trouble.message : t("live.starting"));
  } else if (trouble) {
    live.className = "live bad";
    replace(live, h("span.dot"), h("span", t("live.away", { why: trouble.message, age: duration(age) })));
  } else {
    live.className = "live good";
    replace(live, h("span.dot"), h("span", t("live.yes")), h("span.muted", ` ${moment(store.heardMs)}`));
  }
}

document.addEventListener("keydown", (event) => {
  const inField = /** @type {Element} */ (event.target).closest("input, textarea, select, dialog");
  if (event.key === "/" && !inField && !event.ctrlKey && !event.metaKey) {
    const filter = /** @type {HTMLElement | null} */ (document.querySelector("main input[type=search]"));
    if (filter) event.preventDefault();
    filter?.focus();
  }
});

/** The token has ended, or its account. */
function heard() {
  if (store.trouble?.status === 401 && rights.state !== "out") {
    logOut();
    store.stop();
    begin();
  }
  showLive();
}

({ at: past.ms, tenant: session.tenant } = parse(location.hash));
frame();
try {
  await askRights();
} catch {
  // The registry does not answer yet; the store says so, and goes on asking.
}
store.addEventListener("heard", heard);
setInterval(showLive, 1000);
addEventListener("hashchange", arrive);
begin();

