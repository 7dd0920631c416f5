// The recommendations: a column for each bundle that is shown, asked again whenever the question changes.

import * as api from "./api.js";
import { Column, changesInWords, recommendations } from "./column.js";
import { later, say } from "./dom.js";
import { remember } from "./items.js";
import { Links } from "./links.js";
import { legend } from "./shares.js";
import { names, says } from "./words.js";

/** ``parts``: columns, legend, said (seen), spoken (heard); ``on``: take, only, refused. */
export class Board {
  #parts;
  #on;
  #links;
  #about = null;
  #columns = [];
  #newest = new Map();
  #before = new Map();
  #question = null;
  #soon = later(() => this.#askAll(), 120);

  constructor(parts, on) {
    this.#parts = parts;
    this.#on = on;
    this.#links = new Links(parts.columns);
  }

  /** Show these bundles of the service. */
  use(about, shown) {
    this.#about = about;
    if (this.#columns.map((one) => one.bundle).join() === shown.join()) return;
    const called = names(about.bundles);
    const alone = about.bundles.length === 1;
    this.#columns = about.bundles
      .filter((one) => shown.includes(one.name))
      .map((one) => {
        if (!this.#newest.has(one.name)) this.#newest.set(one.name, new api.Newest());
        const on = {
          ...this.#on,
          again: () => this.#askAll(),
          touched: (item) => this.#links.touch(item),
          drawn: () => this.#link(),
        };
        return new Column({ ...one, says: says(one), main: one.name === about.default }, { name: called.get(one.name), alone, on });
      });
    this.#parts.columns.replaceChildren(...this.#columns.map((one) => one.element));
    this.#parts.columns.classList.toggle("two", this.#columns.length === 2);
    this.#links.draw(null, null);
    this.#legend();
  }

  /** From now on changes are told against the answers that are shown now; or, for a fresh start, against nothing. */
  mark(fresh) {
    this.#before = new Map(fresh ? [] : this.#columns.map((one) => [one.bundle, one.answer]));
  }

  /** Close what is open: another history is shown from now on. */
  close() {
    for (const one of this.#columns) one.close();
  }

  /** Ask all columns; ``soon`` waits a little for the next change. ``question`` lacks only the bundle. */
  ask(question, context, soon) {
    this.#question = { question, context };
    for (const one of this.#columns) one.wait(question.k);
    if (soon) this.#soon();
    else this.#askAll();
  }

  async #askAll() {
    const asked = this.#question;
    const told = await Promise.all(this.#columns.map((one) => this.#askOne(one, asked)));
    if (this.#question === asked && told.every((one) => one !== "dropped")) this.#tell(told, asked.question);
  }

  async #askOne(column, { question, context }) {
    const signal = this.#newest.get(column.bundle).begin();
    try {
      const answer = await api.recommend({ ...question, bundle: column.bundle }, signal);
      remember(answer.items, column.main);
      const changes = column.show(answer, this.#before.get(column.bundle) ?? null, context);
      this.#legend();
      this.#link();
      return changes;
    } catch (problem) {
      if (problem.name === "AbortError") return "dropped";
      column.fail(problem);
      if (problem.status === 401) this.#on.refused(problem);
      return null;
    }
  }

  /** The colours of what is shown: of the answers, or before them of what the methods score by. */
  #legend() {
    const told = this.#columns.flatMap((one) => (one.answer ? Object.keys(one.answer.items[0]?.shares ?? {}) : one.shares));
    this.#parts.legend.replaceChildren(...legend([...new Set(told)]));
  }

  #link() {
    const [left, right] = this.#columns;
    return right ? this.#links.draw(left, right) : null;
  }

  /** One sentence of what came of it, for eyes and ears. */
  #tell(told, { k }) {
    const shared = this.#link();
    const compared = told.every((one) => one) && this.#before.size > 0;
    const called = names(this.#about.bundles);
    const changes = compared
      ? told.map((one, n) => (told.length > 1 ? `${called.get(this.#columns[n].bundle)}: ` : "") + changesInWords(one)).join("; ")
      : "";
    const length = Math.max(0, ...this.#columns.map((one) => one.answer?.items.length ?? 0));
    const both = shared === null ? "" : `${shared} of ${Math.min(k, length)} are in both lists`;
    const parts = [both, changes && `Changes: ${changes}`].filter(Boolean);
    say(this.#parts.said, parts.length ? `${parts.join(". ")}.` : "");
    if (told.every((one) => one)) say(this.#parts.spoken, [recommendations(length), ...parts].join(". "));
  }
}
