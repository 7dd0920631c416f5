// Where a history comes from: a person of the data, or pictures put together by hand.

import * as api from "./api.js";
import { fromField, monthYear, seconds, toField } from "./dates.js";
import { arrows, count, h, oneStop } from "./dom.js";
import { Finder } from "./finder.js";
import { brief, detailLine, nameOf, picture, remember } from "./items.js";

/** The two tabs: the arrow keys go from one to the other. */
export function tabs(list) {
  const all = [...list.querySelectorAll("[role=tab]")];
  const open = (tab) => {
    for (const one of all) {
      one.setAttribute("aria-selected", String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
      document.getElementById(one.getAttribute("aria-controls")).hidden = one !== tab;
    }
  };
  for (const tab of all) {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("focus", () => open(tab));
  }
  arrows(list, "[role=tab]", () => 0);
}

/** People to choose from; ``choose(id)`` is told. */
export class People {
  #root;
  #finder;
  #current = null;

  constructor(root, { choose, refused }) {
    this.#root = root;
    this.#finder = new Finder(root, {
      label: "Find a person by id",
      placeholder: "Find a person …",
      one: "person",
      many: "people",
      refused,
      list: { class: "people", "aria-label": "People" },
      fetch: async (query, offset, signal) => {
        const { total, users } = await api.users(query, offset, signal);
        return { total, entries: users };
      },
      entry: ({ user, events, last }) =>
        h(
          "li",
          {},
          h(
            "button",
            {
              type: "button",
              "data-user": user,
              "aria-current": String(user) === this.#current ? "true" : null,
              onclick: () => choose(String(user)),
            },
            h("b", { title: String(user) }, brief(String(user))),
            h("span", { class: "small" }, count(events, "event")),
            h("span", { class: "small quiet" }, last ? monthYear(seconds(last)) : ""),
          ),
        ),
    });
  }

  search() {
    return this.#finder.search();
  }

  /** Mark whose history is shown. */
  mark(id) {
    this.#current = id;
    for (const button of this.#root.querySelectorAll("[data-user]")) {
      if (button.dataset.user === id) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    oneStop(this.#root.querySelector(".people"), "button", this.#root.querySelector("[aria-current=true]"));
  }
}

/** Items to put into the history; ``add(item, moment)`` is told. */
export class Shelf {
  #finder;
  #field;
  #moment = 0;

  constructor(root, { add, refused, fields }) {
    this.#field = h("input", { type: "date", id: "shelf-day", min: "1970-01-01", max: "2099-12-31" });
    root.append(h("p", { class: "row" }, h("label", { for: "shelf-day" }, "Add on"), this.#field));
    this.#finder = new Finder(root, {
      label: "Find an item by its words",
      placeholder: "Find an item …",
      one: "item",
      many: "items",
      refused,
      list: { class: "cards", "aria-label": "Items, the most popular first" },
      columns: () => getComputedStyle(root.querySelector(".cards")).gridTemplateColumns.split(" ").length,
      fetch: async (query, offset, signal) => {
        const { total, items } = await api.items(query, offset, signal);
        return { total, entries: remember(items) };
      },
      entry: (one) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", class: "card", "data-item": one.item, onclick: () => add(String(one.item), this.moment()) },
            picture(one, 160),
            h("span", { class: "name" }, nameOf(one)),
            h("span", { class: "small" }, detailLine(one, fields())),
          ),
        ),
    });
  }

  search() {
    return this.#finder.search();
  }

  /** The moment at which the next item is added: what the field says, or what was suggested. */
  moment() {
    return fromField(this.#field.value, this.#moment) ?? this.#moment;
  }

  /** Suggest a moment: a week after the newest event, but never after the moment of the request. */
  suggest(events, now) {
    const week = 7 * 86400;
    const newest = events.at(-1)?.at;
    this.#moment = Math.max(0, newest === undefined ? now - 4 * week : Math.min(newest + week, now));
    this.#field.value = toField(this.#moment);
  }
}
