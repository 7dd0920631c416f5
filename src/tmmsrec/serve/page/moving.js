// Moving something on the time line: by pointer, or by keys when it has the focus.

import { DAY, addMonths, dayOf } from "./dates.js";

let gestures = 0;
const EDGE = 36;

/**
 * Let a handle be dragged.  ``on`` holds: moment() where it is, scale() pixels, track the element that pixels count from,
 * scroller, move(moment, gesture), begun(), ended(), picked() for a press without a drag.
 */
export function draggable(handle, on) {
  let drag = null;
  handle.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || drag) return;
    handle.setPointerCapture(event.pointerId);
    const x = event.clientX - on.track.getBoundingClientRect().left;
    drag = { x, from: on.moment(), moved: false, gesture: `drag${(gestures += 1)}` };
  });
  handle.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const by = event.clientX - on.track.getBoundingClientRect().left - drag.x;
    if (!drag.moved && Math.abs(by) < 4) return;
    if (!drag.moved) on.begun();
    drag.moved = true;
    nudge(on.scroller, event.clientX);
    to(drag.from + Math.round(by / on.scale().perDay) * DAY);
  });
  const end = (event) => {
    if (!drag) return;
    const { moved } = drag;
    drag = null;
    if (handle.hasPointerCapture(event.pointerId)) handle.releasePointerCapture(event.pointerId);
    if (moved) on.ended();
    else if (event.type === "pointerup") on.picked();
  };
  const to = (moment) => {
    if (moment >= 0 && dayOf(moment) !== dayOf(on.moment())) on.move(moment, drag.gesture);
  };
  handle.addEventListener("pointerup", end);
  handle.addEventListener("pointercancel", end);
  handle.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && drag?.moved) to(drag.from);
  });
}

function nudge(scroller, x) {
  const box = scroller.getBoundingClientRect();
  if (x > box.right - EDGE) scroller.scrollLeft += 14;
  if (x < box.left + EDGE) scroller.scrollLeft -= 14;
}

/** The moment to which a key moves one, or null: arrows a day, with Shift (or Page Up and Page Down) a month. */
export function movedBy(event, moment) {
  if (event.altKey || event.ctrlKey || event.metaKey) return null;
  const months = { PageUp: 1, PageDown: -1 }[event.key];
  const days = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!months && !days) return null;
  const moved = months ? addMonths(moment, months) : event.shiftKey ? addMonths(moment, days) : moment + days * DAY;
  return Math.max(0, moved);
}
