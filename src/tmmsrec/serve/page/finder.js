// A search field over a list that is asked for as one types: people and items are found in the same way.

import { Newest } from "./api.js";
import { arrows, count, h, later, oneStop, say } from "./dom.js";

/**
 * options: label, placeholder, one and many (what is counted), columns (how many entries stand side by side, for arrow keys),
 * list (attributes of the list), fetch(query, offset, signal) -> {total, entries}, entry(found) -> <li> with one button in it.
 */
export class Finder {
  #options;
  #newest = new Newest();
  #parts = {};
  #query = "";
  #length = 0;

  constructor(root, options) {
    this.#options = options;
    const p = this.#parts;
    p.field = h("input", {
      type: "search",
      "aria-label": options.label,
      placeholder: options.placeholder,
      autocomplete: "off",
      spellcheck: "false",
    });
    p.list = h("ul", options.list);
    p.said = h("p", { class: "small found", role: "status" });
    p.more = h("button", { type: "button", class: "plain", hidden: true, onclick: () => this.#more() }, "Show more");
    root.append(p.field, p.said, h("div", { class: "found-list" }, p.list, p.more));
    const soon = later(() => this.search(p.field.value), 150);
    p.field.addEventListener("input", soon);
    p.field.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowDown") return;
      event.preventDefault();
      p.list.querySelector("button")?.focus();
    });
    arrows(p.list, "button", options.columns ?? (() => 1));
  }

  /** Ask for what fits the query, from the beginning. */
  async search(query = this.#query) {
    this.#query = query.trim();
    await this.#ask(0);
  }

  async #more() {
    const before = this.#length;
    await this.#ask(before);
    this.#parts.list.children[before]?.querySelector("button")?.focus();
  }

  async #ask(offset) {
    const { list, said, more } = this.#parts;
    const signal = this.#newest.begin();
    list.setAttribute("aria-busy", "true");
    try {
      const { total, entries } = await this.#options.fetch(this.#query, offset, signal);
      const drawn = entries.map(this.#options.entry);
      if (offset) list.append(...drawn);
      else list.replaceChildren(...drawn);
      oneStop(list, "button", list.querySelector("[aria-current=true]") ?? list.querySelector("[tabindex='0']"));
      this.#length = offset + entries.length;
      more.hidden = this.#length >= total || entries.length === 0;
      said.classList.remove("wrong");
      say(said, this.#counted(total));
    } catch (problem) {
      if (problem.name === "AbortError") return;
      said.classList.add("wrong");
      say(said, problem.message);
      if (problem.status === 401) this.#options.refused(problem);
    }
    list.removeAttribute("aria-busy");
  }

  #counted(total) {
    const { one, many } = this.#options;
    if (total === 0 && this.#query) return `No ${one} has “${this.#query}”.`;
    return this.#query ? `${count(total, one, many)} with “${this.#query}”` : count(total, one, many);
  }
}
