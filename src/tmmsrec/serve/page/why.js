// What opens beneath a recommendation: its numbers, its nearest items, and what can be done with it.

import * as api from "./api.js";
import { h } from "./dom.js";
import { detailsOf, nameOf, picture, remember } from "./items.js";
import { number, table } from "./shares.js";

const NEAREST = 8;

/**
 * context: bundle, main (whether it is the main one), fields, met (ids in the history), on.take(item) to suppose that it was
 * taken, on.only(field, value) to filter.
 */
export function why(one, context) {
  const near = h(
    "ul",
    { class: "near", "aria-busy": "true" },
    ...Array.from({ length: NEAREST }, () => h("li", { class: "ghost" })),
  );
  const said = h("p", { class: "small" }, "Nearest to it, by the cosine of what the method knows of them:");
  fill(near, said, one, context);
  const only = detailsOf(one, context.fields).map(([field, value]) =>
    h("button", { type: "button", class: "plain", onclick: () => context.on.only(field, value) }, `Only ${field}: ${value}`),
  );
  return h(
    "div",
    { class: "why" },
    table(one),
    h("div", { class: "nearest" }, said, near),
    h(
      "p",
      { class: "row acts" },
      h("button", { type: "button", onclick: () => context.on.take(String(one.item)) }, "Suppose it is taken"),
      ...only,
    ),
  );
}

async function fill(near, said, one, { bundle, main, met, fields }) {
  try {
    const { items } = await api.similar({ item: one.item, k: NEAREST, bundle });
    remember(items, main);
    near.replaceChildren(...items.map((other) => entry(other, met.has(String(other.item)), fields)));
    if (!items.length) said.textContent = "Nothing is near to it.";
  } catch (problem) {
    near.replaceChildren();
    said.textContent = `What is near to it cannot be told: ${problem.message}`;
    said.classList.add("wrong");
  }
  near.removeAttribute("aria-busy");
}

const entry = (other, met) =>
  h(
    "li",
    { class: met ? "met" : null },
    picture(other, 160),
    h("span", { class: "name" }, nameOf(other)),
    h("span", { class: "small" }, `${number(other.score)}${met ? " · in the history" : ""}`),
  );
