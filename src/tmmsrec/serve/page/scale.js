// Where things stand on the time line: days to pixels, and pictures that would overlap in lanes above each other.

import { DAY, dayOf } from "./dates.js";

const PICTURE = 46;
const SMALL = 34; // where many stand above each other
const MANY = 4;
const HIGHEST = 300; // above it pictures of one day overlap like cards in a hand
const ZOOMS = [1, 1.6, 2.56, 4.1];
const APART = 6;
const LEFT = 34;
const SHORTEST = 14;
const WIDEST = 16000;

/**
 * A scale that shows all events and the moment of the request.
 *
 * width: pixels that can be seen; zoom: 1 fits everything into them.
 * Gives {start, perDay, width, end}: the first day, pixels a day, pixels in all, and the last day that is drawn.
 */
export function scale(events, now, width, zoom) {
  const days = [...events.map((event) => dayOf(event.at)), dayOf(now)];
  const start = Math.min(...days);
  const days_shown = Math.max(Math.max(...days) - start, SHORTEST);
  const right = Math.max(56, Math.round(width * 0.09));
  const room = Math.max(120, width - LEFT - right);
  const perDay = Math.min((room * zoom) / days_shown, WIDEST / days_shown);
  const whole = Math.max(width, Math.round(LEFT + days_shown * perDay + right));
  return { start, perDay, width: whole, end: start + Math.floor((whole - LEFT) / perDay) };
}

/** The pixel of a moment's day: days are the grain, so that events of one day stand above each other. */
export const pixel = (scale, moment) => LEFT + (dayOf(moment) - scale.start) * scale.perDay;

/** The first second of the day at a pixel. */
export const momentAt = (scale, x) => Math.max(0, scale.start + Math.round((x - LEFT) / scale.perDay)) * DAY;

/**
 * For each event, oldest first, the lowest lane in which its picture touches no other: {lanes}; and how high all lanes, a picture
 * and a lane are: {height, picture, lane}.
 */
export function lanes(events, scale) {
  const large = stacked(events, scale, PICTURE);
  return large.lanes.every((lane) => lane < MANY) ? large : stacked(events, scale, SMALL);
}

function stacked(events, scale, picture) {
  const free = [];
  const found = events.map((event) => {
    const x = pixel(scale, event.at);
    let lane = free.findIndex((from) => x >= from);
    if (lane < 0) lane = free.length;
    free[lane] = x + picture + 4;
    return lane;
  });
  const lane = Math.min(picture + APART, HIGHEST / free.length);
  const high = (free.length - 1) * lane + picture + APART;
  return { lanes: found, height: Math.max(2 * (PICTURE + APART), high), picture, lane };
}

/** The largest useful zoom: a day as wide as a picture. */
export const closest = (fitted) => Math.max(1, Math.min(40, PICTURE / fitted.perDay, WIDEST / fitted.width));

/** The zoom to begin with: all at once, but closer where a crowded history then towers up much less. */
export function clearest(events, now, width) {
  const tower = (zoom) => Math.max(0, ...lanes(events, scale(events, now, width, zoom)).lanes) + 1;
  const least = Math.max(MANY, tower(ZOOMS.at(-1)));
  return tower(1) < least + 2 ? 1 : ZOOMS.find((zoom) => tower(zoom) <= least);
}
