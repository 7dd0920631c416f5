// What the service is asked. Every failure becomes a Trouble with words for a person.

const KEPT = "tmmsrec-token";
let token = sessionStorage.getItem(KEPT) ?? "";
const fetched = new Map(); // pictures, by address

/** A question that was not answered: ``status`` (0 where nobody answered), ``where`` in what was sent, and plain words. */
export class Trouble extends Error {
  constructor(status, where, message) {
    super(message);
    this.status = status;
    this.where = where;
  }
}

/** Keep a token for this tab and send it from now on; an empty one forgets it. */
export function useToken(text) {
  token = text.trim();
  for (const picture of fetched.values()) picture.then(URL.revokeObjectURL, () => null);
  fetched.clear();
  if (token) sessionStorage.setItem(KEPT, token);
  else sessionStorage.removeItem(KEPT);
}

export const hasToken = () => token !== "";
const allowed = () => (token ? { Authorization: `Bearer ${token}` } : {});

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...options.headers, ...allowed() } });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Trouble(0, null, "The service does not answer. Is it still running?");
  }
  const body = await answer.json().catch(() => null);
  if (options.signal?.aborted) throw new DOMException("dropped", "AbortError");
  if (answer.ok && body !== null) return body;
  const said = body?.error;
  throw new Trouble(
    answer.status,
    said?.where ?? null,
    said?.message ?? `The service answered with ${answer.status} and no reason.`,
  );
}

const get = (path, query, signal) => ask(query ? `${path}?${new URLSearchParams(query)}` : path, { signal });
const post = (path, body, signal) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });

export const about = () => get("v1/about");
export const users = (query, offset, signal) => get("v1/users", { query, limit: 40, offset }, signal);
export const user = (id, limit, signal) => get(`v1/users/${encodeURIComponent(id)}`, { limit }, signal);
export const items = (query, offset, signal) => get("v1/items", { query, limit: 24, offset }, signal);
export const item = (id, signal) => get(`v1/items/${encodeURIComponent(id)}`, null, signal);
export const recommend = (question, signal) => post("v1/recommend", { ...question, reasons: true }, signal);
export const similar = (question, signal) => post("v1/similar", question, signal);

/** Asks where only the newest question counts: a new one drops the one before it. */
export class Newest {
  #controller = new AbortController();

  /** A signal for the new question; the older one is aborted. */
  begin() {
    this.#controller.abort();
    this.#controller = new AbortController();
    return this.#controller.signal;
  }
}

/** The address of a picture that an <img> can show. With a token it must be fetched, since an <img> sends none. */
export function pictureAt(address, size) {
  const sized = `${address}${address.includes("?") ? "&" : "?"}size=${size}`;
  if (!token) return sized;
  if (!fetched.has(sized)) fetched.set(sized, fetchPicture(sized));
  return fetched.get(sized);
}

async function fetchPicture(address) {
  const answer = await fetch(address, { headers: allowed() });
  if (!answer.ok) throw new Trouble(answer.status, null, "no picture");
  return URL.createObjectURL(await answer.blob());
}
