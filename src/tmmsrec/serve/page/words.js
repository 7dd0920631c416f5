// What the page says of bundles, histories and limits.

import { dayOf, long, seconds } from "./dates.js";
import { count } from "./dom.js";
import { brief } from "./items.js";

const listed = (words) => (words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`);

/** How bundles are called: by their folders or methods where these differ, else "main" and "beside". */
export function names(bundles) {
  const differ = (field) => new Set(bundles.map((one) => one[field])).size === bundles.length;
  const called = ["path_name", "method", "name"].find(differ);
  return new Map(bundles.map((one) => [one.name, one[called]]));
}

/** The one sentence of the page's head. */
export function lead({ bundles }) {
  const one = bundles[0];
  const size = `${count(one.items, "item")}, ${count(one.users, "person", "people")}, ${count(one.events, "event")}`;
  const when = one.first && one.last ? `, ${long(seconds(one.first))} to ${long(seconds(one.last))}` : "";
  return `${size}${when}.`;
}

/** What a bundle is and reads, beside its name. */
export function says(bundle) {
  const times = bundle.reads_time ? "reads the times of events" : "reads no times";
  const now = bundle.reads_now ? " and the moment of the request" : "";
  return `${bundle.method} · by ${listed(bundle.modalities)} · ${times}${now}`;
}

/** What moving things on the time line can and cannot change, said once for all bundles that are shown. */
export function limits(bundles, called) {
  const without = (reads) => bundles.filter((one) => !one[reads]);
  const found = [];
  const say = (lacking, what, so) => lacking.length && found.push(`${subject(lacking, bundles, called)} ${what}: ${so}`);
  say(
    without("reads_time"),
    "when things happened",
    "moving an event changes the list only where it changes what came before what.",
  );
  say(without("reads_now"), "the moment of the request", "moving it changes only which events have happened yet.");
  return found;
}

function subject(lacking, bundles, called) {
  if (bundles.length === 1) return "This method does not read";
  return lacking.length === bundles.length ? "Neither method reads" : `“${called.get(lacking[0].name)}” does not read`;
}

/** The heading over the time line. */
export function title({ from, edited, events }) {
  if (from !== null) return `The history of ${brief(from)}${edited ? ", changed by hand" : ""}`;
  return events.length ? "A history from pictures" : "Nobody’s history yet";
}

/** The line under that heading. */
export function described({ events }, now, whole) {
  if (!events.length) return "Choose a person, or put pictures together.";
  const [first, last] = [events[0].at, events.at(-1).at];
  const when = dayOf(first) === dayOf(last) ? long(first) : `${long(first)} to ${long(last)}`;
  const part = whole > events.length ? `the newest ${events.length} of ${count(whole, "event")}` : count(events.length, "event");
  const late = events.filter((event) => event.at > now).length;
  const unread = late
    ? ` ${late === 1 ? "One lies" : `${late} lie`} after the moment of the request and ${late === 1 ? "is" : "are"} not read.`
    : "";
  return `${part}, ${when}.${unread}`;
}
