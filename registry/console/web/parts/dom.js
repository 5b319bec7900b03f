// Elements, made from values. Text is always a text node: nothing that comes from the registry is ever read as HTML.

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, unknown>} Props */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element.
 * @param {string} tag `div`, or with classes: `div.card.wide`
 * @param {Props | Child | Child[]} [props] attributes; `on…` is a listener, `true` an empty attribute; or the first child
 * @param {...(Child | Child[])} children
 * @returns {HTMLElement}
 */
export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split(".");
  return /** @type {HTMLElement} */ (fill(document.createElement(name), classes, props, children));
}

/**
 * An SVG element.
 * @param {string} tag
 * @param {Props | Child | Child[]} [props]
 * @param {...(Child | Child[])} children
 * @returns {SVGElement}
 */
export function svg(tag, props, ...children) {
  const [name, ...classes] = tag.split(".");
  return /** @type {SVGElement} */ (fill(document.createElementNS(SVG, name), classes, props, children));
}

/**
 * @param {Element} element
 * @param {string[]} classes
 * @param {Props | Child | Child[]} props
 * @param {(Child | Child[])[]} children
 */
function fill(element, classes, props, children) {
  if (classes.length) element.classList.add(...classes);
  if (isProps(props)) setAll(element, props);
  else append(element, [props]);
  append(element, children);
  return element;
}

/**
 * @param {Props | Child | Child[]} value
 * @returns {value is Props}
 */
function isProps(value) {
  return typeof value === "object" && value !== null && !(value instanceof Node) && !Array.isArray(value);
}

/**
 * @param {Element} element
 * @param {Props} props
 */
function setAll(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
}

/**
 * @param {Element} element
 * @param {(Child | Child[])[]} children
 */
export function append(element, children) {
  for (const child of children.flat()) {
    if (child instanceof Node) element.append(child);
    else if (child !== null && child !== undefined && child !== false) element.append(String(child));
  }
}

/**
 * Put these in the place of what the element holds.
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/**
 * The element with this id, which must be there.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`there is no element ${id}`);
  return found;
}
