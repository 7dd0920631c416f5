// The page as a whole: one state, shown in every part; every change makes a new state, an address and a new question.

import * as api from "./api.js";
import { Board } from "./board.js";
import { Chosen } from "./chosen.js";
import { dayOf, fromField, seconds } from "./dates.js";
import { say } from "./dom.js";
import { met, nameOf, recall, remember } from "./items.js";
import { People, Shelf, tabs } from "./pick.js";
import { Address, EMPTY, fromHash, newKey, sorted } from "./state.js";
import { Timeline } from "./timeline.js";
import { Token } from "./token.js";
import { drawTools, historyTools } from "./tools.js";
import { described, lead, limits, names, title } from "./words.js";

const MOST_EVENTS = 200;
const part = (id) => document.getElementById(id);

let about = null;
let state = EMPTY;
let chosen = null;
let gesture = null;
let whole = 0; // events of the person, of which the newest are shown
let own = []; // the person's own events, before any change by hand
const loading = new api.Newest();
const address = new Address();

const now = () => state.at ?? Math.max(seconds(about.bundles[0].last ?? 0) || 0, state.events.at(-1)?.at ?? 0);
const shown = () => {
  const all = about.bundles.map((one) => one.name);
  const asked = all.filter((name) => state.shown?.includes(name));
  return asked.length ? asked : all;
};

const token = new Token(part("token"), start);
const board = new Board(
  { columns: part("columns"), legend: part("legend"), said: part("next-said"), spoken: part("said") },
  { take: (item) => add(item, now()), only: (field, value) => change({ where: { ...state.where, [field]: [value] } }), refused },
);
const moves = { move, moveNow, remove, choose };
const line = new Timeline(part("line"), part("zoom"), moves);
const detail = new Chosen(part("chosen"), {
  ...moves,
  moveTo: (key, text, kind) => move(key, fromField(text, find(key).at) ?? find(key).at, kind),
  resetNow: () => change({ at: null }),
});
const people = new People(part("people"), { choose: (id) => load({ ...state, ...PERSON, from: id }), refused });
const shelf = new Shelf(part("shelf"), { add, refused, fields: () => about?.fields });
const PERSON = { events: [], edited: false, at: null };

tabs(document.querySelector("[role=tablist]"));
addEventListener("popstate", () => about && load(fromHash(location.hash), "replace"));
part("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address holds the state, not a place on the page
  part("next").focus();
});
start();

/** Ask what the service holds, then show what the address says; again after a token was given. */
async function start() {
  part("wrong").hidden = true;
  try {
    about = await api.about();
  } catch (problem) {
    if (problem.status === 401) return refused(problem);
    return broken(problem);
  }
  token.accepted();
  say(part("about"), lead(about));
  people.search();
  shelf.search();
  await load(fromHash(location.hash), "replace");
}

function refused() {
  token.ask();
}

function broken(problem) {
  say(part("about"), "");
  const again = document.createElement("button");
  again.textContent = "Try again";
  again.addEventListener("click", start);
  part("wrong").replaceChildren(problem.message, " ", again);
  part("wrong").hidden = false;
}

/** Another history: fetch what is not known of it, write it into the address (a step back, or in place), show it. */
async function load(wanted, write = "push") {
  const signal = loading.begin();
  const filled = await fill(wanted, signal).catch((problem) => problem);
  if (signal.aborted) return;
  const trouble = filled instanceof Error ? filled : null;
  if (trouble?.status === 401) return refused(trouble);
  state = trouble ? { ...wanted, events: wanted.edited ? wanted.events : [] } : filled;
  gesture = null;
  chosen = state.events.at(-1)?.key ?? null;
  address[write](state);
  board.use(about, shown());
  board.mark(true);
  board.close();
  draw(false);
  if (trouble) say(part("past-said"), trouble.message);
  part("past-said").classList.toggle("wrong", trouble !== null);
}

/** A state with the person's events in it, and what is known of every item. */
async function fill(wanted, signal) {
  whole = 0;
  own = [];
  if (wanted.from !== null) {
    const found = await api.user(wanted.from, MOST_EVENTS, signal);
    remember(found.history);
    whole = found.events;
    own = sorted(found.history.map(({ item, at }) => ({ key: newKey(), item: String(item), at: seconds(at) })));
  }
  const events = wanted.edited ? wanted.events : own;
  const unknown = [...new Set(events.map((event) => event.item))].filter((item) => !met(item));
  // An item that is gone is still shown, by its id; that it is unknown the answer will say.
  await Promise.all(
    unknown.map((item) =>
      api.item(item, signal).then(
        (one) => remember([one]),
        () => null,
      ),
    ),
  );
  return { ...wanted, events };
}

/** A new state out of the old one. Changes of one kind that follow each other are one step back, and compared as one. */
function change(patch, kind = null) {
  const same = kind !== null && kind === gesture;
  if (!same) address.settle(state);
  gesture = kind;
  state = { ...state, ...patch };
  if (same) address.soon(() => state);
  else address.push(state);
  // A longer list, or another bundle, is no change of an answer.
  if (!same) board.mark("k" in patch || "shown" in patch);
  board.use(about, shown());
  draw(true);
}

const find = (key) => state.events.find((event) => event.key === key);

/** Other events; that one of them now lies after the moment of the request does not move that moment. */
function edit(events, kind) {
  const at = now();
  const beyond = state.at === null && events.some((event) => event.at > at);
  change({ events: sorted(events), edited: true, at: beyond ? at : state.at }, kind);
}

/** An event at another moment; on the very day of the request it has happened. */
function move(key, moment, kind) {
  const at = dayOf(moment) === dayOf(now()) ? Math.min(moment, now()) : moment;
  edit(
    state.events.map((event) => (event.key === key ? { ...event, at } : event)),
    kind,
  );
}

/** The request at another moment; what happens on that day has happened. */
function moveNow(moment, kind) {
  const thatDay = state.events.filter((event) => dayOf(event.at) === dayOf(moment)).map((event) => event.at);
  change({ at: Math.max(moment, ...thatDay) }, kind);
}

function add(item, moment) {
  const key = newKey();
  chosen = key;
  edit([...state.events, { key, item, at: moment }], null);
  say(part("said"), `${nameOf(recall(item))} added to the history`);
}

function remove(key) {
  const at = state.events.findIndex((event) => event.key === key);
  const next = state.events[at + 1] ?? state.events[at - 1];
  const within = part("line").contains(document.activeElement) || part("chosen").contains(document.activeElement);
  chosen = next?.key ?? null;
  edit(
    state.events.filter((event) => event.key !== key),
    null,
  );
  if (within) line.focus(chosen);
}

function choose(key) {
  chosen = key;
  drawLine();
}

function drawLine() {
  const seen = { events: state.events, now: now(), chosen };
  line.show(seen, state.from ?? "");
  detail.show(seen, state.at !== null, about.fields);
}

function draw(soon) {
  const bundles = about.bundles.filter((one) => shown().includes(one.name));
  const called = names(about.bundles);
  say(part("past-title"), title(state));
  document.title = `${title(state)} · tmmsrec`;
  part("past-said").classList.remove("wrong");
  say(part("past-said"), described(state, now(), state.edited ? 0 : whole));
  historyTools(part("past-tools"), state, {
    restore: () => load({ ...state, ...PERSON }),
    clear: () => load({ ...state, ...PERSON, from: null }),
  });
  part("reads").replaceChildren(
    ...limits(bundles, called).map((text) => Object.assign(document.createElement("p"), { textContent: text })),
  );
  people.mark(state.from);
  shelf.suggest(state.events, now());
  drawLine();
  drawTools(part("next-tools"), { state, about, called, shown: shown() }, change);
  board.ask(question(), { fields: about.fields, met: new Set(state.events.map((event) => event.item)) }, soon);
}

function question() {
  const at = now();
  const limits = { at, k: state.k, exclude_seen: state.seen, where: Object.keys(state.where).length ? state.where : null };
  if (!state.edited && state.from !== null) return { ...limits, user: state.from };
  return { ...limits, history: state.events.filter((event) => event.at <= at).map(({ item, at }) => ({ item, at })) };
}
