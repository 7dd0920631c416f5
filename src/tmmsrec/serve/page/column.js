// One bundle's answer: a list in which every change is marked, what went wrong said in its place.

import { count, h, say, still, unseen } from "./dom.js";
import { detailLine, nameOf, picture } from "./items.js";
import { bar, number, reach } from "./shares.js";
import { why } from "./why.js";

/** A column for the bundle ``about``; ``on`` holds take(item), only(field, value), again(), touched(item or null), drawn(). */
export class Column {
  #on;
  #about;
  #parts = {};
  #rows = new Map();
  #open = null;
  answer = null;

  constructor(about, { name, alone, on }) {
    this.#about = about;
    this.name = name;
    this.#on = on;
    const p = this.#parts;
    p.notice = h("div", { class: "notice", hidden: true });
    p.list = h("ol", { class: "rows", "aria-label": `Recommendations of ${name}` });
    p.gone = h("p", { class: "small gone" });
    p.read = h("span");
    const head = h("header", {}, alone ? null : h("h3", {}, name), h("p", { class: "small" }, about.says, p.read));
    this.element = h("div", { class: "column", "data-bundle": about.name }, head, p.notice, p.list, p.gone);
    p.list.addEventListener("mouseover", (event) => on.touched(event.target.closest("[data-item]")?.dataset.item ?? null));
    p.list.addEventListener("mouseleave", () => on.touched(null));
    p.list.addEventListener("focusin", (event) => on.touched(event.target.closest("[data-item]")?.dataset.item ?? null));
    p.list.addEventListener("focusout", () => on.touched(null));
  }

  get bundle() {
    return this.#about.name;
  }

  get main() {
    return this.#about.main;
  }

  get shares() {
    return this.#about.scored_by ?? this.#about.modalities;
  }

  /** Say that an answer is on its way; before the first one, rows of its height stand in for it. */
  wait(k) {
    this.element.setAttribute("aria-busy", "true");
    if (this.answer || this.#rows.size) return;
    this.#parts.list.replaceChildren(
      ...Array.from({ length: Math.min(k, 20) }, () => h("li", { class: "row-ghost", "aria-hidden": "true" })),
    );
  }

  /** Show an answer and how it differs from ``before`` (null: nothing to compare with); gives {fresh, up, down, gone}. */
  show(answer, before, context) {
    const { list, notice, gone } = this.#parts;
    const focused = document.activeElement?.closest?.("[data-item]")?.dataset.item;
    const inside = list.contains(document.activeElement) || notice.contains(document.activeElement);
    this.answer = answer;
    this.#settle();
    say(this.#parts.read, answer.basis === "model" ? ` · ${count(answer.read, "event")} read` : "");
    this.#notice(
      answer.why
        ? [h("p", {}, sentence(answer.why))]
        : answer.items.length
          ? null
          : [h("p", {}, "Nothing is left to recommend with these limits.")],
    );
    const was = new Map((before?.items ?? []).map((one) => [String(one.item), one.rank]));
    const changes = { fresh: 0, up: 0, down: 0, gone: [] };
    const places = this.#places();
    const scale = reach(answer.items);
    const kept = new Map();
    const drawn = answer.items.map((one) => {
      const id = String(one.item);
      const change = before ? changed(was.get(id), one.rank) : null;
      if (change) changes[change.kind] += 1;
      const row = this.#row(one, change, scale, context);
      kept.set(id, row);
      return row;
    });
    this.#rows = kept;
    list.replaceChildren(...drawn);
    if (inside) (kept.get(focused) ?? drawn[0])?.querySelector(".open").focus({ preventScroll: true });
    changes.gone = before ? before.items.filter((one) => !kept.has(String(one.item))) : [];
    say(gone, changes.gone.length ? `No longer here: ${changes.gone.map(nameOf).join(", ")}.` : "");
    this.#glide(places);
    return changes;
  }

  /** Say what went wrong, here; an older list stays, and is said to be old. */
  fail(problem) {
    this.#settle();
    this.element.classList.toggle("stale", this.answer !== null);
    if (!this.answer) this.#parts.list.replaceChildren();
    const old = this.answer ? "The list below is from before." : null;
    const again = h("button", { type: "button", onclick: () => this.#on.again() }, "Ask again");
    this.#notice([h("p", {}, problem.message), old && h("p", { class: "small" }, old), h("p", {}, again)], "wrong");
  }

  /** No row is open in the next answer. */
  close() {
    this.#open = null;
  }

  row(item) {
    return this.#rows.get(item) ?? null;
  }

  #settle() {
    this.element.removeAttribute("aria-busy");
    this.element.classList.remove("stale");
  }

  #notice(content, kind = "") {
    const { notice } = this.#parts;
    notice.hidden = !content;
    notice.className = `notice ${kind}`;
    if (kind === "wrong") notice.setAttribute("role", "alert");
    else notice.removeAttribute("role");
    notice.replaceChildren(...(content ?? []).filter(Boolean));
  }

  #row(one, change, scale, context) {
    const id = String(one.item);
    const detail = `why-${this.#about.name}-${id}`;
    const open = h("button", { type: "button", class: "open", "aria-expanded": "false", "aria-controls": detail }, nameOf(one));
    const row = h(
      "li",
      { class: "row-item", "data-item": id },
      h("div", { class: "rank" }, unseen("Rank "), String(one.rank), mark(change)),
      picture(one, 160),
      h(
        "div",
        { class: "label" },
        h("p", { class: "name" }, open),
        h("p", { class: "small" }, detailLine(one, context.fields)),
        h("p", { class: "there small" }),
      ),
      h(
        "div",
        { class: "sums" },
        Object.keys(one.shares).length ? bar(one, scale) : null,
        h("span", { class: "score" }, unseen("score "), number(one.score)),
      ),
      h("div", { class: "detail", id: detail, hidden: true }),
    );
    const toggle = (wanted) => {
      open.setAttribute("aria-expanded", String(wanted));
      const box = row.querySelector(".detail");
      box.hidden = !wanted;
      box.replaceChildren(
        ...(wanted ? [why(one, { ...context, bundle: this.bundle, main: this.main, on: this.#on })] : []),
      );
    };
    open.addEventListener("click", () => {
      const wanted = open.getAttribute("aria-expanded") !== "true";
      this.#open = wanted ? id : null;
      toggle(wanted);
      this.#on.drawn();
    });
    if (this.#open === id) toggle(true);
    return row;
  }

  #places() {
    return new Map([...this.#rows].map(([id, row]) => [id, row.offsetTop]));
  }

  /** Rows move from where they were; new ones appear. */
  #glide(places) {
    if (still.matches || !places.size) return;
    for (const [id, row] of this.#rows) {
      const from = places.get(id);
      const by = from === undefined ? null : from - row.offsetTop;
      const frames = by === null ? { opacity: [0, 1] } : { transform: [`translateY(${by}px)`, "none"] };
      if (by !== 0) row.animate(frames, { duration: 320, easing: "cubic-bezier(.2,.7,.2,1)" });
    }
  }
}

function changed(was, rank) {
  if (was === undefined) return { kind: "fresh", mark: "new", words: "new" };
  if (was > rank) return { kind: "up", mark: `▲ ${was - rank}`, words: `up ${was - rank}` };
  if (was < rank) return { kind: "down", mark: `▼ ${rank - was}`, words: `down ${rank - was}` };
  return null;
}

const mark = (change) =>
  change
    ? h("span", { class: `change ${change.kind}` }, unseen(`, ${change.words}`), h("span", { "aria-hidden": "true" }, change.mark))
    : null;

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

/** "3 new, 2 up, 4 down", or that nothing changed. */
export function changesInWords({ fresh, up, down }) {
  const parts = [fresh && `${fresh} new`, up && `${up} up`, down && `${down} down`].filter(Boolean);
  return parts.length ? parts.join(", ") : "nothing changed";
}

export const recommendations = (n) => count(n, "recommendation");
