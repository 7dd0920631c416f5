// What the page shows, and the same in the address: a view can be shared, and Back works.

import { later } from "./dom.js";

/**
 * from    the person whose history it is, or was before it was changed; null for none
 * events  [{key, item, at}], oldest first
 * edited  whether the events are given by hand (then they are sent; else the person is named)
 * at      the moment of the request; null for the end of the data
 * k, seen, where, shown   how many; whether to leave out what was met, null for as the bundle was tested; {field: [value]}; names of the bundles shown, null for all
 */
export const EMPTY = Object.freeze({ from: null, events: [], edited: false, at: null, k: 10, seen: null, where: {}, shown: null });

let keys = 0;
export const newKey = () => `e${(keys += 1)}`;

/** Oldest first; equal moments keep their order. */
export const sorted = (events) => [...events].sort((a, b) => a.at - b.at);

/** The address of a state: what follows "#", or the bare page. */
export function toHash(state) {
  const parts = [];
  const put = (name, value) => parts.push(`${name}=${value}`);
  if (state.from !== null) put(state.edited ? "from" : "user", encodeURIComponent(state.from));
  if (state.edited) put("history", state.events.map((e) => `${encodeURIComponent(e.item)}@${e.at}`).join(","));
  if (state.at !== null) put("at", state.at);
  if (state.k !== EMPTY.k) put("k", state.k);
  if (state.seen !== null) put("seen", state.seen ? 1 : 0);
  for (const [field, values] of Object.entries(state.where)) {
    for (const value of values) put("only", `${encodeURIComponent(field)}:${encodeURIComponent(JSON.stringify(value))}`);
  }
  if (state.shown) put("bundle", state.shown.map(encodeURIComponent).join(","));
  return parts.length ? `#${parts.join("&")}` : location.pathname;
}

/** Writes states into the address. While something is dragged only now and then: browsers refuse hundreds of writes. */
export class Address {
  #pending = null;
  #write = later(() => this.#flush(), 200);

  push(state) {
    this.#pending = null;
    history.pushState(null, "", toHash(state));
  }

  replace(state) {
    this.#pending = null;
    history.replaceState(null, "", toHash(state));
  }

  /** In the place of what stands there, a little later, as the state is by then. */
  soon(state) {
    this.#pending = state;
    this.#write();
  }

  /** Write at once what was put off, before another state follows. */
  settle(state) {
    if (this.#pending) this.replace(state);
  }

  #flush() {
    if (this.#pending) this.replace(this.#pending());
  }
}

/** The state of an address; what cannot be read is left at its default. A person's events still have to be fetched. */
export function fromHash(hash) {
  const state = { ...EMPTY, where: {} };
  for (const part of hash.replace(/^#/, "").split("&")) {
    const cut = part.indexOf("=");
    if (cut < 0) continue;
    try {
      READERS[part.slice(0, cut)]?.(state, part.slice(cut + 1));
    } catch {
      // A mangled part of a shared address must not keep the rest from being shown.
    }
  }
  return state;
}

const READERS = {
  user: (state, text) => Object.assign(state, { from: decodeURIComponent(text) || null }),
  from: (state, text) => Object.assign(state, { from: decodeURIComponent(text) || null, edited: true }),
  history: (state, text) => Object.assign(state, { edited: true, events: sorted(text.split(",").filter(Boolean).map(event)) }),
  at: (state, text) => Object.assign(state, { at: whole(text) }),
  k: (state, text) => Object.assign(state, { k: Math.max(1, Math.min(1000, whole(text))) }),
  seen: (state, text) => Object.assign(state, { seen: text === "1" }),
  bundle: (state, text) => Object.assign(state, { shown: text.split(",").map(decodeURIComponent) }),
  only: (state, text) => {
    const [field, value] = text.split(":");
    const name = decodeURIComponent(field);
    state.where = { ...state.where, [name]: [...(state.where[name] ?? []), JSON.parse(decodeURIComponent(value))] };
  },
};

function event(text) {
  const cut = text.lastIndexOf("@");
  return { key: newKey(), item: decodeURIComponent(text.slice(0, cut)), at: whole(text.slice(cut + 1)) };
}

function whole(text) {
  if (!/^\d{1,11}$/.test(text)) throw new Error(`no whole number: ${text}`);
  return Number(text);
}
