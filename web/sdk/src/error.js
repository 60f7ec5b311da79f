// What a program gets when something it asked for cannot be.
//
// Enters: errors of the server and of this client. Leaves: sentences that say what happened, to what, and what can be
// done. Invariant: what others wrote cannot steer a terminal in which an error is printed.

/** @typedef {import("./types.js").ErrorFrame} ErrorFrame */

/** The longest reason that is repeated; the server's own are shorter. */
const LONGEST = 500;

/** A refusal by the server, or by this client. Its message is a sentence for people; programs look at `code`. */
export class RoomlogError extends Error {
  /**
   * @param {ErrorFrame} frame
   * @param {string} [what] what could not be done, as the beginning of a sentence
   */
  constructor(frame, what) {
    super(sentence(what === undefined ? frame.message : `${what}: ${frame.message}`));
    this.name = "RoomlogError";
    /** What kind: a code of docs/PROTOCOL.md, "Errors"; or `new_log`, `left`, `closed`, `not_stored`, `unreachable`. */
    this.code = frame.code;
    /** Why, without what could not be done. */
    this.reason = frame.message;
    /** The slot that the entry with this id has, of `id_reused`. @type {number | undefined} */
    this.slot = frame.slot;
    /** The latest slot, of `expect_failed`, `ahead` and `diverged`. @type {number | undefined} */
    this.latest = frame.latest;
    // Printed errors list their members.
    if (this.slot === undefined) delete this.slot;
    if (this.latest === undefined) delete this.latest;
  }
}

/** Text of others that can be printed: without control characters, and without those that turn the direction of text. @param {unknown} text */
export function plain(text) {
  const printable = String(text).replace(/[\p{Cc}\p{Zl}\p{Zp}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]+/gu, " ");
  return printable.length > LONGEST ? `${printable.slice(0, LONGEST)}…` : printable;
}

/** A name in a sentence: it may be empty, or look like a part of the sentence. @param {unknown} name */
export function quoted(name) {
  return `"${plain(name)}"`;
}

/** @param {string} text */
function sentence(text) {
  const begun = text.replace(/^[a-z](?=[a-z]* )/, first => first.toUpperCase());
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}
