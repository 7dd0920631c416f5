// How an item is shown: its picture or the first letters of its name, its name, what else is known of it.

import { pictureAt } from "./api.js";
import { h } from "./dom.js";

const known = new Map();
const elsewhere = new Map();

/**
 * Remember what is known of items, so that a time line can show them; gives them back. Histories are of the main bundle: what another
 * one says of an item, which may be another item of the same id, counts only where the main one says nothing.
 */
export function remember(items, main = true) {
  for (const one of items)
    (main ? known : elsewhere).set(String(one.item), {
      item: String(one.item),
      fields: one.fields ?? {},
      picture: one.picture ?? null,
    });
  return items;
}

/** What is known of an item by its id; little more than the id where it has not been met. */
export const recall = (id) => known.get(String(id)) ?? elsewhere.get(String(id)) ?? { item: String(id), fields: {}, picture: null };
export const met = (id) => known.has(String(id));

/** The name of an item: its title, or its id. */
export const nameOf = (one) => String(one.fields.title ?? one.fields.name ?? one.item);

/** The other fields that fit on a label: [[field, value], ...]. */
export function detailsOf(one, fields) {
  const rest = (fields ?? Object.keys(one.fields)).filter((field) => field !== "title" && field !== "image");
  return rest
    .filter((field) => one.fields[field] !== undefined && one.fields[field] !== null && one.fields[field] !== "")
    .map((field) => [field, one.fields[field]])
    .filter(([, value]) => String(value).length <= 40)
    .slice(0, 4);
}

/** An id that fits into a line: the middle of a long one is left out. */
export const brief = (id) => (id.length > 18 ? `${id.slice(0, 8)}…${id.slice(-5)}` : id);

/** "Nordlys · coat". */
export const detailLine = (one, fields) =>
  detailsOf(one, fields)
    .map(([, value]) => String(value))
    .join(" · ");

/** The picture of an item beside its name: said by the name, so silent itself. */
export function picture(one, size = 160) {
  const frame = h("span", { class: "picture", "aria-hidden": "true" });
  const without = () => frame.replaceChildren(h("span", { class: "letters" }, letters(nameOf(one))));
  if (!one.picture) {
    without();
    return frame;
  }
  const image = h("img", { alt: "", loading: "lazy", decoding: "async", draggable: "false" });
  image.addEventListener("error", without);
  Promise.resolve(pictureAt(one.picture, size)).then((address) => (image.src = address), without);
  frame.append(image);
  return frame;
}

function letters(name) {
  const words = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  return (
    words
      .slice(0, 2)
      .map((word) => [...word][0].toUpperCase())
      .join("") || "–"
  );
}
