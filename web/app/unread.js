// How many messages of a room were not read.
//
// Enters: heads of rooms, read marks. Leaves: counts. Invariants: one's own messages, edits and reactions are not
// counted where the server can be asked which they are: for up to MOST_ASKED slots a room, one room at a time. Where it
// cannot, slots are counted.

import { isLine } from "../sdk/src/index.js";

/** More slots than this are counted, not looked at. */
const MOST_ASKED = 50;
/** So long an answer is waited for, in ms. */
const ANSWER_MS = 10_000;
/** Rooms that wait to be looked at, at most. */
const MOST_WAITING = 32;

export class Unread {
  /** What is known: between `read` and `upto`, `count` messages. @type {Map<string, {read: number, upto: number, count: number}>} */
  #known = new Map();
  /** Rooms to look at: the slots behind the first number, up to the second. @type {Map<string, {read: number, head: number}>} */
  #waiting = new Map();
  #asking = false;

  /** @param {{me: () => string | null, changed: () => void}} page */
  constructor(page) {
    this.page = page;
  }

  /** Another log, or another author: what was counted is void. */
  clear() {
    this.#known = new Map();
    this.#waiting.clear();
  }

  /**
   * @param {string} room
   * @param {number} read the last slot that was read, −1 for none
   * @param {number} head the latest slot
   */
  count(room, read, head) {
    if (head <= read) return 0;
    const known = this.#known.get(room), isOf = known?.read === read;
    if (isOf && known.upto >= head) return known.count;
    if (head - read > MOST_ASKED || (this.#waiting.size >= MOST_WAITING && !this.#waiting.has(room))) return head - read;
    this.#waiting.set(room, { read, head });
    void this.#ask();
    return isOf ? known.count : 0;
  }

  async #ask() {
    if (this.#asking) return;
    this.#asking = true;
    for (let next; (next = this.#waiting.entries().next().value);) {
      const [room, { read, head }] = next, known = this.#known;
      this.#waiting.delete(room);
      const counted = await this.#counted(room, read, head);
      // What was counted for another log or author goes into a map that is not used any more.
      known.set(room, { read, upto: head, count: counted });
      this.page.changed();
    }
    this.#asking = false;
  }

  /** @param {string} room @param {number} read @param {number} head */
  async #counted(room, read, head) {
    const known = this.#known.get(room);
    const from = known?.read === read ? known : { upto: read, count: 0 };
    try {
      const address = new URL(`v1/rooms/${encodeURIComponent(room)}/entries`, location.href.split("#")[0]);
      address.search = `?count=${head - from.upto}&upto=${head}`;
      const { entries } = await (await fetch(address, { signal: AbortSignal.timeout(ANSWER_MS) })).json();
      const isOthers = (/** @type {import("../sdk/src/types.js").Entry} */ it) => isLine(it) && it.author !== this.page.me();
      return from.count + entries.filter(isOthers).length;
    } catch {
      return from.count + head - from.upto; // It cannot be asked now.
    }
  }
}
