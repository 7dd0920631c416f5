// Beneath the time line: the chosen event with its exact day, and the moment of the request with its own.

import { dayOf, fromField, span, toField } from "./dates.js";
import { h } from "./dom.js";
import { nameOf, detailLine, picture, recall } from "./items.js";

/** Draws into ``root``; ``on`` holds move, moveNow, remove as the time line's, and resetNow(). */
export class Chosen {
  #on;
  #event;
  #eventField;
  #nowField;
  #reset;
  #shown = { key: null };

  constructor(root, on) {
    this.#on = on;
    this.#event = h("div", { class: "chosen" });
    this.#nowField = h("input", { type: "date", id: "now-field", min: "1970-01-01", max: "2099-12-31" });
    this.#nowField.addEventListener("change", () => {
      const moment = fromField(this.#nowField.value, this.#shown.now);
      if (moment === null) this.#nowField.value = toField(this.#shown.now);
      else on.moveNow(moment, "field now");
    });
    this.#reset = h("button", { type: "button", class: "plain", onclick: () => on.resetNow() }, "end of the data");
    const label = h("label", { for: "now-field" }, "Asked on");
    root.append(h("div", { class: "chosen-row" }, this.#event, h("div", { class: "asked" }, label, this.#nowField, this.#reset)));
  }

  /** Show the chosen event of ``events``, and the moment of the request; ``moved`` says that it is not the end of the data. */
  show({ events, now, chosen }, moved, fields) {
    const at = events.findIndex((event) => event.key === chosen);
    const same = this.#shown.key === chosen && at >= 0;
    this.#shown = { key: at < 0 ? null : chosen, now };
    if (document.activeElement !== this.#nowField) this.#nowField.value = toField(now);
    this.#reset.hidden = !moved;
    if (at < 0) {
      this.#event.replaceChildren(h("p", { class: "small quiet" }, EMPTY));
      return;
    }
    if (!same) this.#build(events[at], fields);
    if (document.activeElement !== this.#eventField) this.#eventField.value = toField(events[at].at);
    this.#event.querySelector(".when").textContent = placed(events, at, now);
  }

  #build({ key, item }, fields) {
    const one = recall(item);
    this.#eventField = h("input", { type: "date", "aria-label": `Day of ${nameOf(one)}`, min: "1970-01-01", max: "2099-12-31" });
    this.#eventField.addEventListener("change", () => this.#on.moveTo(key, this.#eventField.value, `field ${key}`));
    this.#event.replaceChildren(
      picture(one, 160),
      h(
        "div",
        {},
        h("p", { class: "name" }, nameOf(one)),
        h("p", { class: "small" }, detailLine(one, fields)),
        h("p", { class: "small when" }),
        h(
          "p",
          { class: "row" },
          this.#eventField,
          h("button", { type: "button", class: "plain", onclick: () => this.#on.remove(key) }, "Remove"),
        ),
      ),
    );
  }
}

function placed(events, at, now) {
  const { at: moment } = events[at];
  const before = at > 0 ? `${since(dayOf(moment) - dayOf(events[at - 1].at))} the one before` : "the first event";
  const rest =
    moment > now ? "after the moment of the request, so not read" : `${since(dayOf(now) - dayOf(moment), "before")} the request`;
  return `${before} · ${rest}`;
}

const EMPTY = "Nothing has happened yet. Choose a person, or add items from pictures.";

const since = (days, word = "after") => (days < 1 ? "the same day as" : `${span(days)} ${word}`);
