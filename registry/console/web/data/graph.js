// The graph of who has found whom, and where its nodes stand in a drawing. Values in, values out.

/**
 * @typedef {Object} Graph
 * @property {Map<string, Node>} nodes
 * @property {Edge[]} edges
 *
 * @typedef {Object} Node
 * @property {string} key
 * @property {string} label
 * @property {string} note
 * @property {"good" | "bad" | "off"} kind
 * @property {string} app what it belongs to
 *
 * @typedef {Object} Edge
 * @property {string} from the consumer
 * @property {string} to the provider
 * @property {number} count
 */

/** @typedef {{node: Node, x: number, y: number}} Placed */

/** Pixels between the left ends of two columns, between rows, and of a node. */
export const COLUMN = 236;
export const LINE = 42;
export const BOX = { width: 190, height: 30 };
/** Nodes of one column before it is broken into two. */
const TALL = 26;

/**
 * Several nodes as one each.
 * @param {Graph} graph
 * @param {(node: Node) => Node} whole the node that stands for it
 * @returns {Graph}
 */
export function grouped(graph, whole) {
  /** @type {Map<string, Node>} */
  const nodes = new Map();
  /** @type {Map<string, string>} */
  const of = new Map();
  for (const node of graph.nodes.values()) {
    const one = whole(node);
    if (!nodes.has(one.key)) nodes.set(one.key, one);
    of.set(node.key, one.key);
  }
  /** @type {Map<string, Edge>} */
  const edges = new Map();
  for (const edge of graph.edges) {
    const from = /** @type {string} */ (of.get(edge.from));
    const to = /** @type {string} */ (of.get(edge.to));
    if (from === to) continue;
    const known = edges.get(`${from}\n${to}`);
    if (known) known.count += edge.count;
    else edges.set(`${from}\n${to}`, { from, to, count: edge.count });
  }
  return { nodes, edges: [...edges.values()] };
}

/**
 * The part of the graph that these nodes and their direct neighbours make.
 * @param {Graph} graph
 * @param {(node: Node) => boolean} isMeant
 * @param {boolean} neighboursOnly only edges that touch a meant node
 * @returns {Graph}
 */
export function around(graph, isMeant, neighboursOnly = true) {
  const meant = new Set([...graph.nodes.values()].filter(isMeant).map((node) => node.key));
  const edges = graph.edges.filter((edge) => (neighboursOnly ? meant.has(edge.from) || meant.has(edge.to) : meant.has(edge.from) && meant.has(edge.to)));
  const keys = new Set(meant);
  for (const edge of edges) {
    keys.add(edge.from);
    keys.add(edge.to);
  }
  return { nodes: new Map([...graph.nodes].filter(([key]) => keys.has(key))), edges };
}

/**
 * Consumers at the left, what they consume at the right of them; within a column near to what they are joined to.
 * @param {Graph} graph
 * @returns {{placed: Map<string, Placed>, width: number, height: number}}
 */
export function layout(graph) {
  const columns = order(ranked(graph), graph);
  /** @type {Map<string, Placed>} */
  const placed = new Map();
  const tallest = Math.max(1, ...columns.map((column) => column.length));
  for (const [place, column] of columns.entries()) {
    const top = ((tallest - column.length) * LINE) / 2;
    for (const [row, key] of column.entries()) {
      const node = /** @type {Node} */ (graph.nodes.get(key));
      placed.set(key, { node, x: 10 + place * COLUMN, y: 10 + top + row * LINE });
    }
  }
  return { placed, width: Math.max(1, columns.length) * COLUMN - (COLUMN - BOX.width) + 20, height: tallest * LINE + 10 };
}

/**
 * Columns of keys: each node right of those that consume it, but for circles. Nodes without a neighbour stand last.
 * @param {Graph} graph
 * @returns {string[][]}
 */
function ranked(graph) {
  /** @type {Map<string, string[]>} */
  const providers = new Map();
  const joined = new Set();
  for (const edge of graph.edges) {
    providers.set(edge.from, [...(providers.get(edge.from) ?? []), edge.to]);
    joined.add(edge.from).add(edge.to);
  }
  /** @type {Map<string, number>} */
  const ranks = new Map();
  const open = new Set();
  /** How far it is to the last of its providers. @param {string} key @returns {number} */
  const depth = (key) => {
    const known = ranks.get(key);
    if (known !== undefined) return known;
    open.add(key);
    let most = 0;
    for (const next of providers.get(key) ?? []) if (!open.has(next)) most = Math.max(most, depth(next) + 1);
    open.delete(key);
    ranks.set(key, most);
    return most;
  };
  const keys = [...graph.nodes.keys()].sort();
  const deepest = Math.max(0, ...keys.filter((key) => joined.has(key)).map(depth));
  /** @type {string[][]} */
  const columns = Array.from({ length: deepest + 1 }, () => []);
  /** @type {string[]} */
  const alone = [];
  for (const key of keys) (joined.has(key) ? columns[deepest - depth(key)] : alone).push(key);
  if (alone.length) columns.push(alone);
  return columns.filter((column) => column.length).flatMap(broken);
}

/** @param {string[]} column @returns {string[][]} */
function broken(column) {
  const parts = Math.ceil(column.length / TALL);
  const size = Math.ceil(column.length / parts);
  return Array.from({ length: parts }, (_, part) => column.slice(part * size, (part + 1) * size));
}

/**
 * Put each node near the middle of those that it is joined to, a few times over.
 * @param {string[][]} columns
 * @param {Graph} graph
 */
function order(columns, graph) {
  /** @type {Map<string, string[]>} */
  const near = new Map();
  for (const { from, to } of graph.edges) {
    near.set(from, [...(near.get(from) ?? []), to]);
    near.set(to, [...(near.get(to) ?? []), from]);
  }
  /** @type {Map<string, number>} */
  const place = new Map();
  const note = () => columns.forEach((column) => column.forEach((key, row) => place.set(key, row / column.length)));
  note();
  for (let round = 0; round < 6; round += 1) {
    for (const column of columns) {
      /** @type {Map<string, number>} */
      const middles = new Map();
      for (const key of column) {
        const all = (near.get(key) ?? []).map((other) => place.get(other) ?? 0);
        middles.set(key, all.length ? all.reduce((sum, one) => sum + one, 0) / all.length : (place.get(key) ?? 0));
      }
      column.sort((a, b) => (middles.get(a) ?? 0) - (middles.get(b) ?? 0) || (a < b ? -1 : 1));
    }
    note();
  }
  return columns;
}
