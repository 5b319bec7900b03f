// Topology: who has found whom. Applications first; then one of them, or one service and its neighbours. Also as a table.

import { get, path, session } from "../data/api.js";
import { around, BOX, grouped, layout } from "../data/graph.js";
import { store } from "../data/store.js";
import { h, replace, svg } from "../parts/dom.js";
import { soon, words } from "../parts/filter.js";
import { number } from "../parts/format.js";
import { input, trouble } from "../parts/pieces.js";
import { shortTable } from "../parts/table.js";
import { link, remember } from "../router.js";
import { t } from "../texts.js";

/** @typedef {import("../data/graph.js").Graph} Graph */
/** @typedef {import("../data/graph.js").Node} Node */

/** Up to this number of services all of them are drawn at once. */
const WHOLE_MAX = 40;
/** Nodes in one drawing, and lines in the table, at most. */
const DRAWN_MAX = 300;
const LINES_MAX = 2000;
/** Milliseconds between two looks at the graph while something changes. */
const LOOK_EVERY_MS = 3000;

/** @param {HTMLElement} main @param {import("../router.js").Route} route @param {AbortSignal} signal */
export async function show(main, route, signal) {
  let app = route.query.get("app") ?? "";
  let focus = route.query.get("focus") ?? "";
  const view = h("div");
  const where = h("p.crumbs");
  const matches = h("div.matches");
  const search = input("text", "", { type: "search", "aria-label": t("topology.search"), placeholder: t("topology.search"), oninput: soon(drawMatches) });
  /** @type {Graph} */
  let graph = { nodes: new Map(), edges: [] };
  replace(main, h("h1", t("page.topology")), h("p.muted", t("topology.explain")), h("div.filters", search), matches, where, view);
  await look();
  let lookAgain = 0;
  store.addEventListener("changed", () => {
    lookAgain ||= setTimeout(() => {
      lookAgain = 0;
      void look();
    }, LOOK_EVERY_MS);
  }, { signal });
  signal.addEventListener("abort", () => clearTimeout(lookAgain));

  async function look() {
    try {
      const target = `/v4/${path(session.tenant.project)}/govern/relations`;
      graph = byName(await get(target, { signal }));
      if (!signal.aborted) draw();
    } catch (error) {
      if (!signal.aborted) replace(view, trouble(error));
    }
  }

  function drawMatches() {
    if (signal.aborted) return;
    const passes = words(search.value);
    const found = search.value ? [...graph.nodes.values()].filter((node) => passes(node.key.toLowerCase())).slice(0, 12) : [];
    replace(matches, found.map((node) => h("button", { type: "button", onclick: () => go(node.app, node.key) }, `${node.label} · ${node.app}`)));
  }

  /** @param {string} newApp @param {string} newFocus */
  function go(newApp, newFocus) {
    app = newApp;
    focus = newFocus;
    search.value = "";
    drawMatches();
    draw();
    remember("topology", [], { app: focus ? "" : app, focus });
    where.querySelector("button")?.focus();
  }

  function draw() {
    const focused = graph.nodes.get(focus);
    if (focused) app = focused.app;
    const apps = new Set([...graph.nodes.values()].map((node) => node.app));
    const whole = !app && (graph.nodes.size <= WHOLE_MAX || apps.size < 2);
    replace(
      where,
      app || focused ? h("button.quiet", { type: "button", onclick: () => go("", "") }, t("topology.all")) : t("topology.all"),
      app && [" › ", focused ? h("button.quiet", { type: "button", onclick: () => go(app, "") }, app) : app],
      focused && ` › ${focused.label}`,
    );
    /** @type {Graph} */
    let shown;
    let open = (/** @type {Node} */ node) => go(node.app, node.key);
    if (focused) shown = around(graph, (node) => node === focused);
    else if (app) shown = around(graph, (node) => node.app === app);
    else if (whole) shown = graph;
    else {
      const nodes = appNodes(graph);
      shown = grouped(graph, (node) => /** @type {Node} */ (nodes.get(node.app)));
      open = (node) => go(node.app, "");
    }
    const left = Math.max(0, shown.nodes.size - DRAWN_MAX);
    if (left) shown = largest(shown);
    const drawing = shown.nodes.size ? draws(shown, focus, app, open) : h("p.empty", t("topology.none"));
    replace(
      view,
      left > 0 && h("p.notice.wait", t("topology.left", { count: number(left) })),
      h("div.drawing", { tabindex: 0, role: "region", "aria-label": t("topology.drawing") }, drawing),
      h("h2", t("topology.table")),
      shortTable(
        t("topology.table"),
        [
          { title: t("topology.consumer"), cell: (edge) => name(shown, edge.from) },
          { title: t("topology.provider"), cell: (edge) => name(shown, edge.to) },
          { title: t("topology.count"), cell: (edge) => number(edge.count), end: true },
        ],
        shown.edges.slice(0, LINES_MAX),
        t("topology.none"),
      ),
      focused && h("p", services(focused)),
    );
  }

  /** @param {Graph} shown @param {string} key */
  function name(shown, key) {
    const node = shown.nodes.get(key);
    if (!node) return key;
    return h("button.quiet", { type: "button", onclick: () => go(node.app, graph.nodes.has(key) ? key : "") }, node.label, h("span.muted", node.label === node.app ? "" : ` ${node.app}`));
  }
}

/** The versions behind a node. @param {Node} node */
function services(node) {
  const found = [...store.services.values()].filter((one) => keyOf(one.env, one.app, one.name) === node.key);
  return found.map((one) => [h("a", { href: link("service", [one.id]) }, `${one.name} ${one.version}`), " "]).flat();
}

/** @param {string} env @param {string} app @param {string} name */
function keyOf(env, app, name) {
  return `${env}/${app}/${name}`;
}

/**
 * The graph of names: versions of one microservice are one node.
 * @param {{nodes: {id: string, name: string, appId: string}[] | null, lines: {from: {id: string}, to: {id: string}}[] | null}} found
 * @returns {Graph}
 */
function byName(found) {
  /** @type {Map<string, Node>} */
  const nodes = new Map();
  /** @type {Map<string, string>} */
  const keys = new Map();
  for (const { id, name, appId } of found.nodes ?? []) {
    const service = store.services.get(id);
    const key = keyOf(service?.env ?? "", appId, name);
    keys.set(id, key);
    const before = nodes.get(key);
    const up = (service?.counts.UP ?? 0) + Number(before?.note ?? 0);
    nodes.set(key, { key, label: name, note: String(up), kind: up ? "good" : service?.total || before?.kind === "bad" ? "bad" : "off", app: appId });
  }
  /** @type {Map<string, import("../data/graph.js").Edge>} */
  const edges = new Map();
  for (const { from, to } of found.lines ?? []) {
    const a = keys.get(from.id);
    const b = keys.get(to.id);
    if (a === undefined || b === undefined || a === b) continue;
    const edge = edges.get(`${a}\n${b}`) ?? { from: a, to: b, count: 0 };
    edge.count += 1;
    edges.set(`${a}\n${b}`, edge);
  }
  return { nodes, edges: [...edges.values()] };
}

/** One node for each application. @param {Graph} graph @returns {Map<string, Node>} */
function appNodes(graph) {
  /** @type {Map<string, Node>} */
  const found = new Map();
  for (const { app, kind } of graph.nodes.values()) {
    const before = found.get(app);
    const kinds = [kind, before?.kind];
    const worst = kinds.includes("bad") ? "bad" : kinds.includes("good") ? "good" : "off";
    found.set(app, { key: `app ${app}`, label: app, note: String(Number(before?.note ?? 0) + 1), kind: worst, app });
  }
  return found;
}

/** Those with the most neighbours. @param {Graph} graph @returns {Graph} */
function largest(graph) {
  /** @type {Map<string, number>} */
  const degrees = new Map();
  for (const { from, to } of graph.edges) for (const key of [from, to]) degrees.set(key, (degrees.get(key) ?? 0) + 1);
  const keys = [...graph.nodes.keys()].sort((a, b) => (degrees.get(b) ?? 0) - (degrees.get(a) ?? 0)).slice(0, DRAWN_MAX);
  const kept = new Set(keys);
  return around({ nodes: new Map([...graph.nodes].filter(([key]) => kept.has(key))), edges: graph.edges }, (node) => kept.has(node.key), false);
}

/** How much smaller a drawing may be shown, to fit. */
const SMALLEST = 0.7;
/** Letters of a label that fit into a box. */
const LETTERS = 22;

/**
 * @param {Graph} graph
 * @param {string} focus
 * @param {string} app
 * @param {(node: Node) => void} open
 */
function draws(graph, focus, app, open) {
  const { placed, width, height } = layout(graph);
  /** @type {Map<string, SVGElement[]>} */
  const lines = new Map();
  const paths = graph.edges.map((edge) => {
    const a = placed.get(edge.from);
    const b = placed.get(edge.to);
    if (!a || !b) return null;
    const y = [a.y + BOX.height / 2, b.y + BOX.height / 2];
    const ahead = b.x > a.x;
    const x = ahead ? [a.x + BOX.width, b.x] : [a.x, b.x + BOX.width];
    const bend = ahead ? 40 : -40;
    const line = svg("path", { class: "edge", d: `M${x[0]} ${y[0]} C${x[0] + bend} ${y[0]} ${x[1] - bend} ${y[1]} ${x[1]} ${y[1]}` });
    for (const key of [edge.from, edge.to]) lines.set(key, [...(lines.get(key) ?? []), line]);
    return line;
  });
  /** @param {string} key @param {boolean} on */
  const light = (key, on) => lines.get(key)?.forEach((line) => line.classList.toggle("lit", on));
  const nodes = [...placed.values()].map(({ node, x, y }) => {
    const label = node.label.length > LETTERS ? `${node.label.slice(0, LETTERS - 1)}…` : node.label;
    const press = (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      open(node);
    };
    return svg(
      "g",
      {
        class: `node ${node.kind}${node.key === focus ? " focus" : ""}${app && node.app !== app ? " other" : ""}`,
        transform: `translate(${x} ${y})`,
        tabindex: 0,
        role: "button",
        onclick: () => open(node),
        onkeydown: press,
        onfocus: () => light(node.key, true),
        onblur: () => light(node.key, false),
        onmouseenter: () => light(node.key, true),
        onmouseleave: () => light(node.key, false),
      },
      svg("rect", { width: BOX.width, height: BOX.height, rx: 6 }),
      svg("circle", { cx: 14, cy: BOX.height / 2, r: 4 }),
      svg("text", { x: 26, y: BOX.height / 2 + 4 }, `${label} `),
      svg("text.note", { x: BOX.width - 8, y: BOX.height / 2 + 4, "text-anchor": "end" }, node.note),
    );
  });
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": t("topology.drawing") }, paths, nodes);
  // It shrinks a little to fit, and is scrolled when that is not enough.
  Object.assign(drawn.style, { width: "100%", maxWidth: `${width}px`, minWidth: `${width * SMALLEST}px`, display: "block" });
  return drawn;
}
