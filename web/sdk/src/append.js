// Validates appends that come from a program or from a store.
//
// In: any value. Out: appends that can be sent. Invariant: a valid append can be serialized and measured, so it never
// blocks those queued behind it.

/** @typedef {import("./types.js").Append} Append */

const text = (/** @type {unknown} */ value) => typeof value === "string";
const slot = (/** @type {unknown} */ value) => Number.isSafeInteger(value) && Number(value) >= 0;
const last = (/** @type {unknown} */ value) => value === -1 || slot(value);

/** Required members: name, check, expected form. @type {[keyof Append, (value: unknown) => boolean, string][]} */
const NEEDED = [["room", text, "a string"], ["id", text, "a string"], ["body", text, "a string"]];
/** Optional members. @type {[keyof Append, (value: unknown) => boolean, string][]} */
const OPTIONAL = [
  ["author", text, "a string"], ["kind", text, "a string"], ["meta", text, "a string"], ["log", text, "a string"],
  ["ref", slot, "a slot: an integer, 0 or more"], ["expect", slot, "a slot: an integer, 0 or more"], ["after", last, "a slot, or -1"],
  ["sent_at", slot, "a time: whole milliseconds since the Unix epoch"],
];

/**
 * Copies the members of an append that are present, and nothing else.
 * @param {any} value
 * @returns {Append}
 */
export function membersOf(value) {
  const names = [...NEEDED, ...OPTIONAL].map(([name]) => name);
  return /** @type {Append} */ (Object.fromEntries(names.flatMap(name => (value?.[name] == null ? [] : [[name, value[name]]]))));
}

/**
 * Checks an append.
 * @param {any} append
 * @returns {string | null} why it cannot be sent; null if it can
 */
export function problemOf(append) {
  if (typeof append !== "object" || append === null) return "an append must be an object";
  for (const [name, fits, form] of NEEDED) if (!fits(append[name])) return `${name} must be ${form}`;
  for (const [name, fits, form] of OPTIONAL) {
    if (append[name] !== undefined && !fits(append[name])) return `${name} must be ${form}`;
  }
  return null;
}
