// How much of a score comes from id, text and image, or from what was had and what follows it: bars about a zero line, numbers for those who listen.

import { h } from "./dom.js";

const NAMED = { again: "had already", follows: "follows", alike: "nearly the same", popular: "popularity", lately: "popular lately", season: "season", all: "the whole" };
const COLOURED = new Set(["id", "text", "image", "again", "follows", "alike", "lately", "popular", "season"]);

export const shareName = (share) => NAMED[share] ?? share;

/** The class of a part: a network's, "network id", has the colour of its modality, and stripes. */
function tone(share) {
  const own = share.replace(/^network /, "");
  return `share ${COLOURED.has(own) ? own : "other"}${own === share ? "" : " network"}`;
}

/** A number with a real minus sign. */
export const number = (value, digits = 2) => value.toFixed(digits).replace("-", "−");

/** How far the bars of an answer reach to both sides of zero, so that all its bars have one scale: {low, high}. */
export function reach(items) {
  let [low, high] = [0, 0];
  for (const { shares, score } of items) {
    const parts = Object.values(shares);
    low = Math.min(
      low,
      score,
      parts.filter((v) => v < 0).reduce((a, b) => a + b, 0),
    );
    high = Math.max(
      high,
      score,
      parts.filter((v) => v > 0).reduce((a, b) => a + b, 0),
    );
  }
  return { low, high: high > low ? high : low + 1 };
}

/** "id 1.06, text 0.51, image 1.10". */
export const inWords = (shares) =>
  Object.entries(shares)
    .map(([name, value]) => `${shareName(name)} ${number(value)}`)
    .join(", ");

/** One item's bar: what pulls down to the left of zero, what lifts to the right, a tick where the score is. */
export function bar({ shares, score }, { low, high }) {
  const words = `Score ${number(score)}: ${inWords(shares)}`;
  const place = (value) => (100 * (value - low)) / (high - low);
  const made = h("div", { class: "bar", role: "img", "aria-label": words, title: words });
  let [left, right] = [0, 0];
  for (const [name, value] of Object.entries(shares)) {
    const from = value < 0 ? (left += value) : right;
    if (value >= 0) right += value;
    const part = h("span", { class: tone(name) });
    part.style.left = `${place(from)}%`;
    part.style.width = `${(100 * Math.abs(value)) / (high - low)}%`;
    made.append(part);
  }
  made.append(at("zero", place(0)), at("sum", place(score)));
  return made;
}

function at(name, percent) {
  const line = h("span", { class: name });
  line.style.left = `${percent}%`;
  return line;
}

/** What the colours mean, once. */
export function legend(names) {
  const keys = names.map((name) => h("span", {}, h("i", { class: tone(name) }), shareName(name)));
  return [
    h("span", { class: "quiet" }, "Shares of the score:"),
    ...keys,
    h("span", {}, h("i", { class: "sum" }), "the score"),
    h("span", {}, h("i", { class: "zero" }), "zero"),
  ];
}

/** The shares as a small table. */
export function table({ shares, score }) {
  const line = (name, value, tone) => h("div", {}, h("dt", {}, h("i", { class: tone }), name), h("dd", {}, number(value, 3)));
  return h(
    "dl",
    { class: "numbers" },
    ...Object.entries(shares).map(([name, value]) => line(shareName(name), value, tone(name))),
    line("score", score, "sum"),
  );
}
