// Counts the unread messages of rooms.
//
// In: heads of rooms, read marks. Out: counts. Invariants: the user's own messages, edits and reactions are not counted, so
// new entries are read from the server, one room at a time; of more than MAX_READ new slots only the newest are read, and
// the count is a lower bound. If the server cannot be reached, slots are counted instead.

import { isLine } from "../sdk/src/index.js";

/** How many of the newest slots of a room are read. */
const MAX_READ = 500;
/** The timeout of a request, in ms. */
const ANSWER_MS = 10_000;
/** The limit of rooms in the queue. */
const MAX_WAITING = 32;

/** @typedef {{count: number, more: boolean}} Count `more`: whether there may be more than `count` */
/** @type {Count} */
const NONE = { count: 0, more: false };

export class Unread {
  /** The count of messages after slot `read`, up to `upto`. @type {Map<string, {read: number, upto: number} & Count>} */
  #known = new Map();
  /** The queue: slots to count, after `read`, up to `head`. @type {Map<string, {read: number, head: number}>} */
  #waiting = new Map();
  #isCounting = false;

  /** @param {{me: () => string | null, changed: () => void}} page */
  constructor(page) {
    this.page = page;
  }

  /** The log or the user's name has changed: drops all counts. */
  clear() {
    this.#known = new Map();
    this.#waiting.clear();
  }

  /**
   * @param {string} room
   * @param {number} read the last slot that was read, −1 if none
   * @param {number} head the latest slot
   * @returns {Count} the count so far; `changed` is called when it changes
   */
  count(room, read, head) {
    if (head <= read) return NONE;
    const known = this.#known.get(room), isOf = known?.read === read;
    if (isOf && known.upto >= head) return known;
    // If the queue is full, the room is added after the next `changed`.
    if (this.#waiting.size < MAX_WAITING || this.#waiting.has(room)) {
      this.#waiting.set(room, { read, head });
      void this.#countQueued();
    }
    return isOf ? known : NONE;
  }

  async #countQueued() {
    if (this.#isCounting) return;
    this.#isCounting = true;
    for (let next; (next = this.#waiting.entries().next().value);) {
      const [room, { read, head }] = next, known = this.#known;
      this.#waiting.delete(room);
      const before = known.get(room), from = before?.read === read ? before : { upto: read, ...NONE };
      const counted = await this.#counted(room, from, head);
      // If `clear` was called meanwhile, this map is not used any more.
      known.set(room, { read, upto: head, ...counted });
      this.page.changed();
    }
    this.#isCounting = false;
  }

  /**
   * Extends a count. The server may return fewer slots than requested, but always the newest.
   * @param {string} room @param {{upto: number} & Count} from @param {number} head @returns {Promise<Count>}
   */
  async #counted(room, from, head) {
    const first = Math.max(from.upto + 1, head + 1 - MAX_READ);
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
      return { count: from.count + head - from.upto, more: from.more }; // The server cannot be reached.
    }
  }
}

/** @param {string} room @param {number} count @param {number} upto @returns {Promise<import("../sdk/src/types.js").Entry[]>} */
async function page(room, count, upto) {
  const address = new URL(`v1/rooms/${encodeURIComponent(room)}/entries`, location.href.split("#")[0]);
  address.search = `?count=${count}&upto=${upto}`;
  return (await (await fetch(address, { signal: AbortSignal.timeout(ANSWER_MS) })).json()).entries;
}
