// The time line: gaps to scale, events of a day above each other, the moment of the request at the end.

import { briefly, dayOf, long, span, ticks } from "./dates.js";
import { h } from "./dom.js";
import { nameOf, picture, recall } from "./items.js";
import { draggable, movedBy } from "./moving.js";
import { clearest, closest, lanes, pixel, scale } from "./scale.js";

const TOP = 34;
const TICK_ROOM = 74;
const GAP_ROOM = 40;

/**
 * Draws into ``root``, and its scale's buttons into ``zoom``; ``on`` holds move(key, moment, gesture), moveNow(moment, gesture),
 * remove(key), choose(key or null).  A gesture names what is one change, however many moments it passes.
 */
export class Timeline {
  #on;
  #parts = {};
  #handles = new Map();
  #seen = { events: [], now: 0, chosen: null };
  #scale = null;
  #zoom = 1;
  #dragging = false;
  #subject;

  constructor(root, zoom, on) {
    this.#on = on;
    const p = this.#parts;
    p.axis = h("div", { class: "axis", "aria-hidden": "true" });
    p.list = h("ol", { class: "events", "aria-label": "Events, oldest first" });
    p.track = h("div", { class: "track" }, p.axis, p.list);
    p.scroller = h("div", { class: "scroller" }, p.track);
    p.now = this.#marker();
    p.track.append(p.now);
    p.out = h("button", { type: "button", onclick: () => this.#zoomTo(this.#zoom / 1.6), "aria-label": "Show more time" }, "−");
    p.in = h("button", { type: "button", onclick: () => this.#zoomTo(this.#zoom * 1.6), "aria-label": "Look closer" }, "+");
    zoom.append(p.out, p.in);
    root.append(p.scroller);
    let width = 0;
    new ResizeObserver(() => {
      if (p.scroller.clientWidth === width || this.#dragging) return;
      width = p.scroller.clientWidth;
      this.#draw();
    }).observe(p.scroller);
  }

  /** Show events (oldest first), the moment of the request, and which event is chosen; a new subject is scrolled to its end. */
  show(seen, subject) {
    const fresh = subject !== this.#subject;
    this.#subject = subject;
    this.#seen = seen;
    if (fresh) this.#zoom = clearest(seen.events, seen.now, this.#parts.scroller.clientWidth);
    this.#draw();
    if (fresh) this.#parts.scroller.scrollLeft = this.#parts.scroller.scrollWidth;
  }

  /** Put the focus on an event's handle, or on the moment of the request. */
  focus(key) {
    (this.#handles.get(key)?.button ?? this.#parts.now).focus();
  }

  #zoomTo(zoom) {
    const { scroller } = this.#parts;
    const middle = (scroller.scrollLeft + scroller.clientWidth / 2) / scroller.scrollWidth;
    const fitted = scale(this.#seen.events, this.#seen.now, scroller.clientWidth, 1);
    this.#zoom = Math.max(1, Math.min(zoom, closest(fitted)));
    this.#draw();
    scroller.scrollLeft = middle * scroller.scrollWidth - scroller.clientWidth / 2;
  }

  #draw() {
    const { scroller, track, out } = this.#parts;
    const width = scroller.clientWidth;
    if (!width) return;
    const { events, now } = this.#seen;
    // While something is dragged the scale stands still: it must not run away under the pointer.
    if (!this.#dragging || !this.#scale) this.#scale = scale(events, now, width, this.#zoom);
    const placed = lanes(events, this.#scale);
    const floor = TOP + placed.height;
    track.style.width = `${this.#scale.width}px`;
    track.style.setProperty("--floor", `${floor}px`);
    track.style.setProperty("--picture", `${placed.picture}px`);
    track.classList.toggle("dragging", this.#dragging);
    out.disabled = this.#zoom <= 1;
    this.#drawAxis();
    this.#drawEvents(placed, floor);
    this.#drawNow();
  }

  #drawAxis() {
    const { events, now } = this.#seen;
    const at = this.#scale;
    const drawn = ticks(at.start, at.end, at.perDay, TICK_ROOM).map((tick) =>
      put(h("span", { class: tick.strong ? "tick strong" : "tick" }, tick.label), pixel(at, tick.day * 86400)),
    );
    const days = [...new Set([...events.map((e) => dayOf(e.at)), dayOf(now)])].sort((a, b) => a - b);
    for (let n = 1; n < days.length; n += 1) {
      const [from, to] = [days[n - 1], days[n]].map((day) => pixel(at, day * 86400));
      if (to - from < GAP_ROOM) continue;
      const gap = put(
        h("span", { class: days[n] === dayOf(now) ? "gap last" : "gap" }, h("span", {}, briefly(days[n] - days[n - 1]))),
        from,
      );
      gap.style.width = `${to - from}px`;
      drawn.push(gap);
    }
    this.#parts.axis.replaceChildren(...drawn);
  }

  #drawEvents(placed, floor) {
    const { events, now, chosen } = this.#seen;
    const gone = new Set(this.#handles.keys());
    const entry = events.some((e) => e.key === chosen) ? chosen : events.at(-1)?.key;
    events.forEach((event, n) => {
      gone.delete(event.key);
      if (!this.#handles.has(event.key)) this.#handles.set(event.key, this.#handle(event));
      const { button, line, stem } = this.#handles.get(event.key);
      const above = placed.lanes[n] * placed.lane;
      put(line, pixel(this.#scale, event.at), floor - above - placed.picture - 6);
      // Stems pass behind what stands lower; where pictures overlap, the chosen one lies on top.
      const raised = event.key === chosen && placed.lane < placed.picture;
      line.style.zIndex = String(raised ? 1000 : 999 - placed.lanes[n]);
      stem.hidden = raised && placed.lanes[n] > 0;
      stem.style.height = `${above + 8}px`;
      const late = event.at > now;
      line.dataset.day = long(event.at);
      button.title = `${nameOf(recall(event.item))}, ${long(event.at)}`;
      line.classList.toggle("late", late);
      line.classList.toggle("chosen", event.key === chosen);
      button.tabIndex = event.key === entry ? 0 : -1;
      button.setAttribute("aria-label", `${nameOf(recall(event.item))}, event ${n + 1} of ${events.length}`);
      say(button, event.at, late ? ", after the moment of the request: not read" : "");
    });
    for (const key of gone) {
      this.#handles.get(key).line.remove();
      this.#handles.delete(key);
    }
    this.#order();
  }

  /** The elements in the order of time, without moving the one that has the focus (it would lose it). */
  #order() {
    const { list } = this.#parts;
    const wanted = this.#seen.events.map((event) => this.#handles.get(event.key).line);
    const fixed = wanted.find((line) => line.contains(document.activeElement)) ?? null;
    const middle = wanted.indexOf(fixed);
    wanted.forEach((line, n) => n < middle && list.insertBefore(line, fixed));
    wanted.forEach((line, n) => n > middle && list.append(line));
  }

  #handle({ key }) {
    const event = () => this.#seen.events.find((one) => one.key === key);
    const stem = h("span", { class: "stem", "aria-hidden": "true" });
    const button = h(
      "button",
      { type: "button", role: "slider", "aria-describedby": "line-hint" },
      picture(recall(event().item), 96),
    );
    button.addEventListener("focus", () => this.#seen.chosen === key || this.#on.choose(key));
    button.addEventListener("keydown", (pressed) => this.#keys(pressed, event()));
    this.#makeDraggable(
      button,
      () => event().at,
      (moment, gesture) => this.#on.move(key, moment, gesture),
      () => this.#on.choose(key),
    );
    return { button, stem, line: h("li", { class: "event" }, stem, button) };
  }

  #keys(pressed, event) {
    const { events } = this.#seen;
    const at = events.indexOf(event);
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: events.length - 1 }[pressed.key];
    const moment = movedBy(pressed, event.at);
    if (moment !== null) this.#on.move(event.key, moment, `keys ${event.key}`);
    else if (to !== undefined) this.focus(events[Math.max(0, Math.min(events.length - 1, to))].key);
    else if (pressed.key === "Delete" || pressed.key === "Backspace") this.#on.remove(event.key);
    else return;
    pressed.preventDefault();
  }

  #marker() {
    const marker = h(
      "button",
      { type: "button", class: "now", role: "slider", "aria-label": "The moment of the request", "aria-describedby": "line-hint" },
      h("span", { class: "flag" }),
    );
    marker.addEventListener("keydown", (pressed) => {
      const moment = movedBy(pressed, this.#seen.now);
      if (moment === null) return;
      pressed.preventDefault();
      this.#on.moveNow(moment, "keys now");
    });
    this.#makeDraggable(
      marker,
      () => this.#seen.now,
      (moment, gesture) => this.#on.moveNow(moment, gesture),
      () => {},
    );
    return marker;
  }

  #makeDraggable(handle, moment, move, picked) {
    const during = (dragging) => () => {
      this.#dragging = dragging;
      this.#draw();
    };
    const { track, scroller } = this.#parts;
    draggable(handle, {
      moment,
      move,
      picked,
      track,
      scroller,
      scale: () => this.#scale,
      begun: during(true),
      ended: during(false),
    });
  }

  #drawNow() {
    const { now } = this.#parts;
    const x = pixel(this.#scale, this.#seen.now);
    put(now, x);
    now.classList.toggle("from-left", x < 190);
    now.firstChild.textContent = `asked on ${long(this.#seen.now)}`;
    const last = this.#seen.events.filter((event) => event.at <= this.#seen.now).at(-1);
    say(now, this.#seen.now, last ? `, ${span(dayOf(this.#seen.now) - dayOf(last.at))} after the last event` : "");
  }
}

function put(element, x, y = null) {
  element.style.transform = y === null ? `translateX(${x}px)` : `translate(${x}px, ${y}px)`;
  return element;
}

function say(slider, moment, more) {
  slider.setAttribute("aria-valuemin", "0");
  slider.setAttribute("aria-valuemax", String(dayOf(4102444799)));
  slider.setAttribute("aria-valuenow", String(dayOf(moment)));
  slider.setAttribute("aria-valuetext", long(moment) + more);
}
