// A room's log, as far as one client holds it.
//
// ```text
//    slots:  0 ………  40 ──── 89   ……… gap ………   7000 ──────── 7049  ─► acks
//                   a span                      the last span, which grows
// ```
//
// Enters: the reply to `join`, acks, replies to `update`. Leaves: entries, each once; where something is
// missing and what to ask for it; whether the server's log is the one that was held. Invariants: spans
// are ascending, do not touch, and have no hole; what is held has been checked against every digest
// that came with it and lies beside it. No clock, no socket.

import { after, start } from "./digest.js";

/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").Reply} Reply */

/** Further behind than so many slots, a client joins at the newest and keeps the hole as a gap. */
export const FAR_BEHIND = 5_000;

/** Entries of the reply to a first join. */
export const JOIN_COUNT = 50;

/**
 * What a frame brought.
 * @typedef {object} Step
 * @property {Entry[]} entries those that were not held before, in slot order
 * @property {boolean} [missing] something is missing behind the last slot: ask with `update()`
 * @property {boolean} [far] it is more than FAR_BEHIND: `leap()`, then join again
 * @property {boolean} [diverged] the server's log is not the one that was held
 */

export class Timeline {
  /** @type {{first: number, entries: Entry[]}[]} */
  #spans = [];
  /** The last slot of the following; null before the first reply. @type {number | null} */
  #last = null;
  /** D(last), once a reply told one. @type {string | null} */
  #digest = null;
  #latest = -1;
  /** Digests that replies told, by slot, to check what comes beside them. @type {Map<number, string>} */
  #marks = new Map();

  /**
   * @param {string} room
   * @param {number} [count] how many of the newest to begin with
   */
  constructor(room, count = JOIN_COUNT) {
    this.room = room;
    this.count = count;
    this.#forget();
  }

  /** The last slot of the following, −1 on an empty log, null before the first reply. */
  get last() { return this.#last; }

  /** The first slot of what is held up to the end; the one behind `last` when nothing is, null before the first reply. */
  get first() { return this.#last === null ? null : this.#spans.at(-1)?.first ?? this.#last + 1; }

  /** The latest slot that the server was heard to have. */
  get latest() { return this.#latest; }

  /** D(last). */
  get digest() { return this.#digest; }

  /** What is held, ascending: first and last slots. @returns {{first: number, last: number}[]} */
  get spans() { return this.#spans.map(({ first, entries }) => ({ first, last: first + entries.length - 1 })); }

  /** The holes between what is held: first and last slots that are missing. */
  get gaps() {
    const { spans } = this;
    return spans.slice(1).map((span, i) => ({ first: spans[i].last + 1, last: span.first - 1 }));
  }

  /** @param {number} slot @returns {Entry | undefined} */
  get(slot) {
    const span = this.#spans.find(it => it.first <= slot && slot < it.first + it.entries.length);
    return span?.entries[slot - span.first];
  }

  /** The span that holds a slot, as far as it reaches. @param {number} slot */
  spanOf(slot) {
    return this.spans.find(span => span.first <= slot && slot <= span.last);
  }

  /** The members of a `join`, the first time and after each loss. */
  join() {
    return this.#last === null ? { count: this.count } : this.update();
  }

  /** The members of an `update` that fills what is missing at the end, or sees that nothing is. */
  update() {
    const asked = { after: this.#last ?? -1 };
    return this.#digest === null ? asked : { ...asked, digest: this.#digest };
  }

  /**
   * The reply to `join`: what is above it comes in acks.
   * @param {Reply} reply
   * @returns {Step}
   */
  joined(reply) {
    if (this.#last !== null && reply.latest - this.#last > FAR_BEHIND) {
      return { entries: [], far: true };
    }
    const step = this.page(reply);
    return step.diverged ? step : { entries: step.entries };
  }

  /** The next join is one at the newest; what is held stays, and what lies between is a gap. */
  leap() {
    this.#last = null;
    this.#digest = null;
  }

  /**
   * The reply to `update()`: there is a next page until it reaches the latest slot.
   * @param {Reply} reply
   * @returns {Step}
   */
  page(reply) {
    this.#latest = Math.max(this.#latest, reply.latest);
    if (this.#last === null) {
      const step = this.fill(reply);
      const newest = reply.entries.at(-1)?.slot ?? reply.latest;
      this.#last = newest;
      this.#digest = reply.digest_at === newest ? reply.digest : null;
      return step;
    }
    const known = this.#digest;
    const step = this.ack(reply.entries);
    if (reply.digest_at === this.#last) {
      if (known !== null && this.#digest !== reply.digest) return { entries: [], diverged: true };
      this.#digest = reply.digest;
    }
    return this.#last < reply.latest ? { ...step, missing: true } : step;
  }

  /**
   * The entries of an `ack`.
   * @param {Entry[]} entries
   * @returns {Step}
   */
  ack(entries) {
    // Nothing of a following precedes its reply.
    if (this.#last === null) return { entries: [] };
    const taken = [];
    let missing = false;
    for (const entry of entries) {
      this.#latest = Math.max(this.#latest, entry.slot);
      if (entry.slot <= this.#last) continue;
      if (entry.slot > this.#last + 1) {
        missing = true;
        break;
      }
      this.#last = entry.slot;
      if (this.#digest !== null) this.#digest = after(this.#digest, entry);
      taken.push(entry);
    }
    const fresh = this.#put(taken);
    return missing ? { entries: fresh, missing } : { entries: fresh };
  }

  /**
   * A reply that was asked for by slots (`count` and `upto`), or by `after` a slot in the middle.
   * @param {Reply} reply
   * @returns {Step}
   */
  fill(reply) {
    this.#latest = Math.max(this.#latest, reply.latest);
    const entries = this.#put(reply.entries);
    return this.#mark(reply.digest_at, reply.digest) ? { entries } : { entries: [], diverged: true };
  }

  /**
   * Lets go of what lies outside these slots. What follows goes on: `last` and its digest stay.
   * @param {number} first
   * @param {number} last
   */
  trim(first, last) {
    const cut = (/** @type {{first: number, entries: Entry[]}} */ span) => {
      const from = Math.max(0, first - span.first);
      return { first: span.first + from, entries: span.entries.slice(from, Math.max(0, last + 1 - span.first)) };
    };
    this.#spans = this.#spans.map(cut).filter(span => span.entries.length > 0);
    for (const slot of this.#marks.keys()) {
      if (slot !== -1 && (slot < first - 1 || slot > last)) this.#marks.delete(slot);
    }
  }

  /** Lets go of all: the server has another log. The next join is one at the newest. */
  reset() {
    this.leap();
    this.#spans = [];
    this.#latest = -1;
    this.#forget();
  }

  #forget() {
    this.#marks = new Map([[-1, start(this.room)]]);
  }

  /**
   * Puts consecutive entries where they belong; those that were not held before.
   * @param {Entry[]} entries
   * @returns {Entry[]}
   */
  #put(entries) {
    const fresh = entries.filter(entry => this.get(entry.slot) === undefined);
    for (const entry of fresh) this.#place(entry);
    return fresh;
  }

  /** @param {Entry} entry which is not held */
  #place(entry) {
    const spans = this.#spans;
    let at = spans.length;
    while (at > 0 && spans[at - 1].first > entry.slot) at--;
    const before = spans[at - 1], behind = spans[at];
    if (before && before.first + before.entries.length === entry.slot) {
      before.entries.push(entry);
      if (behind?.first === entry.slot + 1) {
        before.entries.push(...behind.entries);
        spans.splice(at, 1);
      }
    } else if (behind?.first === entry.slot + 1) {
      behind.first--;
      behind.entries.unshift(entry);
    } else {
      spans.splice(at, 0, { first: entry.slot, entries: [entry] });
    }
  }

  /**
   * Takes what a reply says of a slot; `false` when what is held says otherwise.
   * @param {number} slot
   * @param {string} digest
   */
  #mark(slot, digest) {
    const told = this.#marks.get(slot);
    if (told !== undefined) return told === digest;
    if (slot === this.#last && this.#digest !== null) return this.#digest === digest;
    this.#marks.set(slot, digest);
    const slots = [...this.#marks.keys()].sort((a, b) => a - b), at = slots.indexOf(slot);
    return this.#fits(slots[at - 1], slot) && this.#fits(slot, slots[at + 1]);
  }

  /**
   * Whether the entries between two marks lead from the one to the other, where all of them are held.
   * @param {number | undefined} from
   * @param {number | undefined} to
   */
  #fits(from, to) {
    if (from === undefined || to === undefined) return true;
    let digest = /** @type {string} */ (this.#marks.get(from));
    for (let slot = from + 1; slot <= to; slot++) {
      const entry = this.get(slot);
      if (!entry) return true;
      digest = after(digest, entry);
    }
    return digest === this.#marks.get(to);
  }
}
