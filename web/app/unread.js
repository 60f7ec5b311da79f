// How many messages of a room were not read.
//
// Enters: heads of rooms, read marks. Leaves: counts. Invariants: one's own messages, edits and reactions are not
// counted, because the server is asked which they are, one room at a time; of a room with more than MOST_ASKED new slots
// it is asked for the newest ones, and the count is a lower bound. Where the server cannot be asked, slots are counted.

import { isLine } from "../sdk/src/index.js";

/** Slots of a room that are looked at, the newest ones. */
const MOST_ASKED = 500;
/** So long an answer is waited for, in ms. */
const ANSWER_MS = 10_000;
/** Rooms that wait to be looked at, at most. */
const MOST_WAITING = 32;

/** @typedef {{count: number, more: boolean}} Count how many; `more`: there may be more */
/** @type {Count} */
const NONE = { count: 0, more: false };

export class Unread {
  /** What is known: between `read` and `upto`, so many messages. @type {Map<string, {read: number, upto: number} & Count>} */
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
   * @returns {Count} what is known so far; `changed` is called when there is more to say
   */
  count(room, read, head) {
    if (head <= read) return NONE;
    const known = this.#known.get(room), isOf = known?.read === read;
    if (isOf && known.upto >= head) return known;
    // A room that finds no place asks again when the next one has its count.
    if (this.#waiting.size < MOST_WAITING || this.#waiting.has(room)) {
      this.#waiting.set(room, { read, head });
      void this.#ask();
    }
    return isOf ? known : NONE;
  }

  async #ask() {
    if (this.#asking) return;
    this.#asking = true;
    for (let next; (next = this.#waiting.entries().next().value);) {
      const [room, { read, head }] = next, known = this.#known;
      this.#waiting.delete(room);
      const before = known.get(room), from = before?.read === read ? before : { upto: read, ...NONE };
      const counted = await this.#counted(room, from, head);
      // What was counted for another log or author goes into a map that is not used any more.
      known.set(room, { read, upto: head, ...counted });
      this.page.changed();
    }
    this.#asking = false;
  }

  /**
   * Counts on from what is known. A page of the server may hold fewer slots than were asked for; it has the newest.
   * @param {string} room @param {{upto: number} & Count} from @param {number} head @returns {Promise<Count>}
   */
  async #counted(room, from, head) {
    const first = Math.max(from.upto + 1, head + 1 - MOST_ASKED);
    let { count } = from, upto = head;
    try {
      while (upto >= first) {
        const entries = await page(room, upto + 1 - first, upto);
        if (entries.length === 0) break;
        count += entries.filter(it => isLine(it) && it.author !== this.page.me()).length;
        upto = entries[0].slot - 1;
      }
      return { count, more: from.more || first > from.upto + 1 };
    } catch {
      return { count: from.count + head - from.upto, more: from.more }; // It cannot be asked now.
    }
  }
}

/** @param {string} room @param {number} count @param {number} upto @returns {Promise<import("../sdk/src/types.js").Entry[]>} */
async function page(room, count, upto) {
  const address = new URL(`v1/rooms/${encodeURIComponent(room)}/entries`, location.href.split("#")[0]);
  address.search = `?count=${count}&upto=${upto}`;
  return (await (await fetch(address, { signal: AbortSignal.timeout(ANSWER_MS) })).json()).entries;
}
