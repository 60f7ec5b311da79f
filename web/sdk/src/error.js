// Errors as programs get them.
//
// In: errors of the server and of this client. Out: messages that say what failed, why, and what to do. Invariant: text
// from others cannot send control sequences to a terminal that prints an error.

/** @typedef {import("./types.js").ErrorFrame} ErrorFrame */

/** Longer texts of others are cut to this many UTF-16 units; the server's own are shorter. */
const MAX_TEXT = 500;

/** An error of the server or of this client. `message` is a sentence for people; programs check `code`. */
export class RoomlogError extends Error {
  /**
   * @param {ErrorFrame} frame
   * @param {string} [what] what failed, as the beginning of a sentence
   */
  constructor(frame, what) {
    super(sentence(what === undefined ? frame.message : `${what}: ${frame.message}`));
    this.name = "RoomlogError";
    /** A code of docs/PROTOCOL.md, "Errors", or `new_log`, `diverged`, `left`, `closed`, `not_stored` or `unreachable`. */
    this.code = frame.code;
    /** Why it failed: `message` without what failed. */
    this.reason = frame.message;
    /** With `id_reused`: the slot of the entry that has this id. @type {number | undefined} */
    this.slot = frame.slot;
    /** With `expect_failed`, `ahead` and `diverged`: the latest slot of the room. @type {number | undefined} */
    this.latest = frame.latest;
    // A printed error lists its own properties, undefined ones too.
    if (this.slot === undefined) delete this.slot;
    if (this.latest === undefined) delete this.latest;
  }
}

/** Makes a text safe to print: without control, invisible and bidirectional formatting characters, and not too long. @param {unknown} text */
export function plain(text) {
  const printable = String(text).replace(/[\p{Cc}\p{Zl}\p{Zp}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]+/gu, " ");
  return printable.length > MAX_TEXT ? `${printable.slice(0, MAX_TEXT)}…` : printable;
}

/** A name in quotes, so that one that is empty or looks like prose is recognized in a sentence. @param {unknown} name */
export function quoted(name) {
  return `"${plain(name)}"`;
}

/** @param {string} text */
function sentence(text) {
  const capitalized = text.replace(/^[a-z](?=[a-z]* )/, first => first.toUpperCase());
  return /[.!?…]$/.test(capitalized) ? capitalized : `${capitalized}.`;
}
