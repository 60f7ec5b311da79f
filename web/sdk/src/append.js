// Appends, as programs ask for them and as stores bring them back.
//
// Enters: anything. Leaves: appends that can be sent. Invariant: what this lets through can be written as JSON and
// measured, so that no append stops those behind it.

/** @typedef {import("./types.js").Append} Append */

const text = (/** @type {unknown} */ value) => typeof value === "string";
const slot = (/** @type {unknown} */ value) => Number.isSafeInteger(value) && Number(value) >= 0;
const last = (/** @type {unknown} */ value) => value === -1 || slot(value);

/** Members that must be there. @type {[keyof Append, (value: unknown) => boolean, string][]} */
const NEEDED = [["room", text, "a string"], ["id", text, "a string"], ["body", text, "a string"]];
/** Members that may be there. @type {[keyof Append, (value: unknown) => boolean, string][]} */
const OPTIONAL = [
  ["author", text, "a string"], ["kind", text, "a string"], ["meta", text, "a string"], ["log", text, "a string"],
  ["ref", slot, "a slot: an integer from 0"], ["expect", slot, "a slot: an integer from 0"], ["after", last, "a slot, or -1"],
  ["sent_at", slot, "a time: whole milliseconds since 1970"],
];

/**
 * The members that an append may have and that are there; no others.
 * @param {any} value
 * @returns {Append}
 */
export function membersOf(value) {
  const names = [...NEEDED, ...OPTIONAL].map(([name]) => name);
  return /** @type {Append} */ (Object.fromEntries(names.flatMap(name => (value?.[name] == null ? [] : [[name, value[name]]]))));
}

/**
 * Why this cannot be sent.
 * @param {any} append
 * @returns {string | null}
 */
export function problemOf(append) {
  if (typeof append !== "object" || append === null) return "an append must be an object";
  for (const [name, fits, form] of NEEDED) if (!fits(append[name])) return `${name} must be ${form}`;
  for (const [name, fits, form] of OPTIONAL) {
    if (append[name] !== undefined && !fits(append[name])) return `${name} must be ${form}`;
  }
  return null;
}
