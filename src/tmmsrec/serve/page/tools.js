// The few controls over the history and over the recommendations.

import { h } from "./dom.js";
import { brief } from "./items.js";

const COUNTS = [5, 10, 20, 50, 100];

/** Buttons beside the history's name. */
export function historyTools(root, state, { restore, clear }) {
  const back =
    state.edited && state.from !== null
      ? h("button", { type: "button", class: "plain", onclick: restore }, `As ${brief(state.from)} had it`)
      : null;
  const none =
    state.events.length || state.from !== null ? h("button", { type: "button", class: "plain", onclick: clear }, "Clear") : null;
  root.replaceChildren(...[back, none].filter(Boolean));
}

/** How many, without what was met, which bundles, and the limits in force; built once, then only set. */
export function drawTools(root, { state, about, called, shown }, change) {
  if (!root.firstChild) build(root, { about, called }, change);
  const most = root.querySelector("select");
  const counts = [...new Set([...COUNTS, state.k])].sort((a, b) => a - b);
  most.replaceChildren(...counts.map((n) => h("option", { value: String(n) }, String(n))));
  most.value = String(state.k);
  root.querySelector("[type=checkbox]").checked = state.seen ?? shown.every((name) => leavesOut(about, name));
  for (const radio of root.querySelectorAll("[type=radio]")) radio.checked = radio.value === (shown.length > 1 ? "" : shown[0]);
  root.querySelector(".chips").replaceChildren(...chips(state, change));
}

const leavesOut = (about, name) => Boolean(about.bundles.find((one) => one.name === name)?.about.exclude_seen);

function build(root, { about, called }, change) {
  const most = h("select", { id: "most", onchange: (event) => change({ k: Number(event.target.value) }) });
  const seen = h("input", { type: "checkbox", onchange: (event) => change({ seen: event.target.checked }) });
  root.append(
    h("span", { class: "chips" }),
    about.bundles.length > 1 ? switcher(about, called, change) : "",
    h("label", {}, "Show ", most),
    h("label", {}, seen, " leave out what was met"),
  );
}

function switcher(about, called, change) {
  const choices = [...about.bundles.map((one) => [one.name, called.get(one.name)]), ["", "both"]];
  const radio = ([value, text]) =>
    h(
      "label",
      {},
      h("input", { type: "radio", name: "shown", value, onchange: () => change({ shown: value ? [value] : null }) }),
      h("span", {}, text),
    );
  return h("fieldset", { class: "switch" }, h("legend", { class: "unseen" }, "Which bundle to ask"), ...choices.map(radio));
}

const chips = ({ where }, change) =>
  Object.entries(where).map(([field, values]) => {
    const without = () => change({ where: Object.fromEntries(Object.entries(where).filter(([name]) => name !== field)) });
    return h(
      "button",
      { type: "button", class: "chip", onclick: without, "aria-label": `Stop showing only ${field} ${values.join(", ")}` },
      `${field}: ${values.join(", ")} ×`,
    );
  });
