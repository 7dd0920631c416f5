// Elements made from what they are; text is always text, never markup.

export const still = matchMedia("(prefers-reduced-motion: reduce)");

/** An element: attributes by name, listeners as onclick and so on, children as nodes or text (null is left out). */
export function h(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) set(made, key, value);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

function set(element, key, value) {
  if (value === null || value === undefined || value === false) return;
  if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
  else if (key === "value") element.value = value;
  else element.setAttribute(key, value === true ? "" : String(value));
}

/** Replace the children only where the text differs, so that live regions do not repeat themselves. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Text for those who listen, not seen. */
export const unseen = (text) => h("span", { class: "unseen" }, text);

/** "1 event", "12 events", "1,204 events". */
export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** A list in which the arrow keys go from one button to the next; ``columns`` says how many stand side by side. */
export function arrows(list, selector, columns = () => 1) {
  list.addEventListener("focusin", (event) => oneStop(list, selector, event.target));
  list.addEventListener("keydown", (event) => {
    const all = [...list.querySelectorAll(selector)];
    const at = all.indexOf(document.activeElement);
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : at + (step ?? NaN);
    if (at < 0 || Number.isNaN(to)) return;
    event.preventDefault();
    all[Math.max(0, Math.min(all.length - 1, to))].focus();
  });
}

/** Of a list's buttons only one is reached by Tab; the rest by arrow keys. */
export function oneStop(list, selector, wanted) {
  const all = [...list.querySelectorAll(selector)];
  const stop = all.includes(wanted) ? wanted : all[0];
  for (const one of all) one.tabIndex = one === stop ? 0 : -1;
}

/** Call only the newest, once nothing new has come for a while. */
export function later(work, milliseconds) {
  let waiting = 0;
  return (...given) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => work(...given), milliseconds);
  };
}
