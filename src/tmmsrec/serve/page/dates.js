// Days and months in UTC. Moments are whole seconds since 1970, as the service has them.

export const DAY = 86400;

const format = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options });
const LONG = format({ day: "numeric", month: "long", year: "numeric" });
const SHORT = format({ day: "numeric", month: "short" });
const MONTH = format({ month: "short" });
const MONTH_YEAR = format({ month: "short", year: "numeric" });
const shown = (formatter) => (seconds) => formatter.format(new Date(seconds * 1000));

/** "3 March 2024". */
export const long = shown(LONG);
/** "Mar 2024". */
export const monthYear = shown(MONTH_YEAR);

export const seconds = (iso) => Math.floor(Date.parse(iso) / 1000);
export const dayOf = (moment) => Math.floor(moment / DAY);

/** "2024-03-01", for a date field. */
export const toField = (moment) => new Date(moment * 1000).toISOString().slice(0, 10);

/** The day of a date field at the time of day of ``moment``; null for an empty or impossible one. */
export function fromField(text, moment) {
  const day = Date.parse(`${text}T00:00:00Z`) / 1000;
  return Number.isNaN(day) || day < 0 ? null : day + (((moment % DAY) + DAY) % DAY);
}

/** The same day ``n`` months on, or the last day of a shorter month. */
export function addMonths(moment, n) {
  const old = new Date(moment * 1000);
  const moved = new Date(moment * 1000);
  moved.setUTCDate(1);
  moved.setUTCMonth(old.getUTCMonth() + n);
  const last = new Date(Date.UTC(moved.getUTCFullYear(), moved.getUTCMonth() + 1, 0)).getUTCDate();
  moved.setUTCDate(Math.min(old.getUTCDate(), last));
  return moved.getTime() / 1000;
}

/** A number of days in words: "the same day", "12 days", "7 weeks", "5 months", "2 years". */
export function span(days) {
  const said = (n, unit) => `${n} ${unit}${n === 1 ? "" : "s"}`;
  if (days < 1) return "the same day";
  if (days < 21) return said(days, "day");
  if (days < 70) return said(Math.round(days / 7), "week");
  if (days < 700) return said(Math.round(days / 30.44), "month");
  return said(Math.round((days / 365.25) * 10) / 10, "year");
}

/** The same in the least room: "12 d", "7 wk", "5 mo", "2 y". */
export function briefly(days) {
  const [n, unit] = span(days).split(" ");
  return { day: `${n} d`, week: `${n} wk`, mont: `${n} mo`, year: `${n} y` }[unit.slice(0, 4).replace(/s$/, "")] ?? "";
}

const MONTHS = [1, 2, 3, 6, 12, 24, 60, 120];
const DAYS = [1, 2, 7, 14];

/** Ticks between two days, at least ``room`` pixels apart: [{day, label, strong}], strong where a year begins. */
export function ticks(from, to, perDay, room) {
  const step = DAYS.find((days) => days * perDay >= room);
  return step ? dayTicks(from, to, step) : monthTicks(from, to, MONTHS.find((n) => n * 30 * perDay >= room) ?? 240);
}

function dayTicks(from, to, step) {
  const found = [];
  // 1970 began on a Thursday: day 4 is a Monday, so that weeks begin where people expect them to.
  for (let day = Math.ceil((from - 4) / step) * step + 4; day <= to; day += step) {
    const date = new Date(day * DAY * 1000);
    const strong = date.getUTCMonth() === 0 && date.getUTCDate() <= step;
    found.push({ day, label: strong ? `${SHORT.format(date)} ${date.getUTCFullYear()}` : SHORT.format(date), strong });
  }
  return found;
}

function monthTicks(from, to, step) {
  const found = [];
  const first = new Date(from * DAY * 1000);
  const begin = Math.floor((first.getUTCFullYear() * 12 + first.getUTCMonth()) / step) * step;
  for (let month = begin; ; month += step) {
    const date = new Date(Date.UTC(Math.floor(month / 12), month % 12, 1));
    const day = date.getTime() / 1000 / DAY;
    if (day > to) return found;
    const strong = month % 12 === 0;
    if (day >= from) found.push({ day, label: strong ? String(date.getUTCFullYear()) : MONTH.format(date), strong });
  }
}
