// The part of a room's log that a client holds.
//
// ```text
//    slots:  0 ………  40 ──── 89   ……… gap ………   7000 ──────── 7049  ─► acks
//                   a span                      the last span, which grows
// ```
//
// In: replies to `join` and `update`, acks. Out: entries, each once; whether entries are missing, and the request for them;
// whether the server's log differs from the one that was held. Invariants: spans are ascending, have no holes and do not
// touch; entries are verified against every digest that came with them or with their neighbours; an entry that a redact or
// erase entry covers is, once that has come, held and delivered without body, meta and salt. No I/O.

import { after, redacted, start } from "./digest.js";

/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").Reply} Reply */

/** A client that is more than this many slots behind joins at the newest entries and leaves a gap. */
export const FAR_BEHIND = 5_000;

/** How many entries the reply to the first `join` has, by default. */
export const JOIN_COUNT = 50;

/** How many slots an erase entry covers: those that end with its `ref`. */
export const ERASE_SLOTS = 4_096;

/** Kinds that remove the texts of other entries. Nobody said anything in them, so they stay. */
const REMOVING = new Set(["redact", "erase"]);

/**
 * The entries in a span of slots, of one author or, if that is null, of all.
 * @typedef {{first: number, last: number, author: string | null}} Removal
 */

/**
 * The entries whose texts are removed, according to an entry: of a redact or erase entry those that it is about, of one
 * that comes without its text itself; null for any other.
 * @param {Entry} entry
 * @returns {Removal | null}
 */
export function removalOf({ slot, kind, ref, body, redacted }) {
  if (redacted) return { first: slot, last: slot, author: null };
  if (ref == null || !REMOVING.has(kind ?? "text")) return null;
  if (kind === "redact") return { first: ref, last: ref, author: null };
  return { first: Math.max(0, ref + 1 - ERASE_SLOTS), last: ref, author: body || null };
}

/** All removals of a room that have come. */
export class Removals {
  /** Spans by author: ascending, none touches the next. @type {Map<string | null, {first: number, last: number}[]>} */
  #spans = new Map();

  /** @param {Removal} removal */
  add({ first, last, author }) {
    const spans = this.#spans.get(author) ?? [], from = indexFrom(spans, it => it.last < first - 1);
    let end = from;
    while (end < spans.length && spans[end].first <= last + 1) end++;
    // To erase a room takes one erase entry after the other: as one span they cost no more than one.
    const touched = [{ first, last }, ...spans.slice(from, end)];
    const one = { first: Math.min(...touched.map(it => it.first)), last: Math.max(...touched.map(it => it.last)) };
    spans.splice(from, end - from, one);
    this.#spans.set(author, spans);
  }

  /** Whether one of them removes the text of an entry. @param {{slot: number, author: string, kind?: string}} entry */
  covers({ slot, author, kind }) {
    if (REMOVING.has(kind ?? "text")) return false;
    return [author, null].some(by => {
      const spans = this.#spans.get(by) ?? [], span = spans[indexFrom(spans, it => it.last < slot)];
      return span !== undefined && span.first <= slot;
    });
  }

  /** Drops those that are only about entries outside of these slots. @param {number} first @param {number} last */
  trim(first, last) {
    for (const [author, spans] of this.#spans) {
      const rest = spans.filter(span => span.first <= last && first <= span.last);
      if (rest.length > 0) this.#spans.set(author, rest);
      else this.#spans.delete(author);
    }
  }

  clear() {
    this.#spans.clear();
  }
}

/**
 * The index of the first item of an ascending list that is not before a place; the list's length if all are.
 * @template T
 * @param {T[]} items
 * @param {(item: T) => boolean} isBefore
 */
export function indexFrom(items, isBefore) {
  let from = 0, end = items.length;
  while (from < end) {
    const middle = (from + end) >> 1;
    if (isBefore(items[middle])) from = middle + 1;
    else end = middle;
  }
  return from;
}

/**
 * The result of a frame.
 * @typedef {object} Step
 * @property {Entry[]} entries those that were not held before, in slot order
 * @property {boolean} [missing] entries after the last slot are missing: send `update()`
 * @property {boolean} [far] more than FAR_BEHIND are missing: call `leap()`, then join again
 * @property {boolean} [diverged] the server's log differs from the one that was held
 */

/** The entries that a client holds of a room. */
export class Timeline {
  /** @type {{first: number, entries: Entry[]}[]} */
  #spans = [];
  /** The last slot received; null before the first reply. @type {number | null} */
  #last = null;
  /** D(last), once a reply has brought one. @type {string | null} */
  #digest = null;
  #latest = -1;
  /** Digests from replies, by slot, for verifying entries that come next to them. @type {Map<number, string>} */
  #digests = new Map();
  /** What of the entries that they cover comes later was sent before. */
  #removals = new Removals();

  /**
   * @param {string} room
   * @param {number} [count] how many of the newest entries to start with
   */
  constructor(room, count = JOIN_COUNT) {
    this.room = room;
    this.count = count;
    this.#clearDigests();
  }

  /** The last slot received: −1 if the room is empty, null before the first reply. */
  get last() { return this.#last; }

  /** The first slot of the newest span; `last` + 1 if nothing is held, null before the first reply. */
  get first() { return this.#last === null ? null : this.#spans.at(-1)?.first ?? this.#last + 1; }

  /** The latest slot of the room that is known; −1 if none is. */
  get latest() { return this.#latest; }

  /** The digest at `last`; null if unknown. */
  get digest() { return this.#digest; }

  /** The spans of slots that are held, ascending. @returns {{first: number, last: number}[]} */
  get spans() { return this.#spans.map(({ first, entries }) => ({ first, last: first + entries.length - 1 })); }

  /** The gaps between spans, ascending. */
  get gaps() {
    const { spans } = this;
    return spans.slice(1).map((span, i) => ({ first: spans[i].last + 1, last: span.first - 1 }));
  }

  /** Returns the entry at a slot; undefined if it is not held. @param {number} slot @returns {Entry | undefined} */
  get(slot) {
    const span = this.#holding(slot);
    return span?.entries[slot - span.first];
  }

  /** Returns the span that contains a slot; undefined if it is not held. @param {number} slot */
  spanOf(slot) {
    return this.spans.find(span => span.first <= slot && slot <= span.last);
  }

  /** The members of `join`, at first and after each lost connection. */
  join() {
    return this.#last === null ? { count: this.count } : this.update();
  }

  /** The members of an `update` that reads what is missing at the end, if anything. */
  update() {
    const members = { after: this.#last ?? -1 };
    return this.#digest === null ? members : { ...members, digest: this.#digest };
  }

  /**
   * Handles the reply to `join`. Later entries come in acks.
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

  /** Makes the next join start at the newest entries, with a gap after those that are held. */
  leap() {
    this.#last = null;
    this.#digest = null;
  }

  /**
   * Handles the reply to `update()`, which may have a part of the missing entries only.
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
   * Handles the entries of an `ack`.
   * @param {Entry[]} entries
   * @returns {Step}
   */
  ack(entries) {
    // An ack before the reply to `join` is from an earlier following.
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
   * Handles the reply to a read: `count` and `upto`, or `after` a slot in the middle.
   * @param {Reply} reply
   * @returns {Step}
   */
  fill(reply) {
    this.#latest = Math.max(this.#latest, reply.latest);
    const entries = this.#put(reply.entries);
    return this.#addDigest(reply.digest_at, reply.digest) ? { entries } : { entries: [], diverged: true };
  }

  /**
   * Drops the entries outside of these slots. New entries still come: `last` and its digest stay.
   * @param {number} first
   * @param {number} last
   */
  trim(first, last) {
    const cut = (/** @type {{first: number, entries: Entry[]}} */ span) => {
      const from = Math.max(0, first - span.first);
      return { first: span.first + from, entries: span.entries.slice(from, Math.max(0, last + 1 - span.first)) };
    };
    this.#spans = this.#spans.map(cut).filter(span => span.entries.length > 0);
    for (const slot of this.#digests.keys()) {
      if (slot !== -1 && (slot < first - 1 || slot > last)) this.#digests.delete(slot);
    }
    this.#removals.trim(first, last);
  }

  /** Drops everything, because the server has another log. The next join starts at the newest entries. */
  reset() {
    this.leap();
    this.#spans = [];
    this.#latest = -1;
    this.#removals.clear();
    this.#clearDigests();
  }

  #clearDigests() {
    this.#digests = new Map([[-1, start(this.room)]]);
  }

  /** @param {number} slot */
  #holding(slot) {
    return this.#spans.find(it => it.first <= slot && slot < it.first + it.entries.length);
  }

  /**
   * Inserts consecutive entries, and redacts what they say is removed.
   * @param {Entry[]} entries
   * @returns {Entry[]} those that were not held before
   */
  #put(entries) {
    const fresh = entries.filter(entry => this.get(entry.slot) === undefined);
    for (const entry of fresh) this.#place(this.#removals.covers(entry) ? redacted(entry) : entry);
    for (const entry of entries) {
      const removal = removalOf(entry);
      if (removal) this.#remove(removal);
    }
    return fresh.map(entry => this.get(entry.slot) ?? entry);
  }

  /** Redacts what is held of the entries that a removal covers, and what comes of them later. @param {Removal} removal */
  #remove(removal) {
    this.#removals.add(removal);
    for (const { first, entries } of this.#spans) {
      const end = Math.min(entries.length, removal.last + 1 - first);
      for (let at = Math.max(0, removal.first - first); at < end; at++) {
        if (!entries[at].redacted && this.#removals.covers(entries[at])) entries[at] = redacted(entries[at]);
      }
    }
  }

  /** Inserts an entry that is not held. @param {Entry} entry */
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
   * Adds a digest from a reply.
   * @param {number} slot
   * @param {string} digest
   * @returns {boolean} whether it agrees with the entries and digests that are held
   */
  #addDigest(slot, digest) {
    const known = this.#digests.get(slot);
    if (known !== undefined) return known === digest;
    if (slot === this.#last && this.#digest !== null) return this.#digest === digest;
    this.#digests.set(slot, digest);
    const slots = [...this.#digests.keys()].sort((a, b) => a - b), at = slots.indexOf(slot);
    return this.#fits(slots[at - 1], slot) && this.#fits(slot, slots[at + 1]);
  }

  /**
   * Whether the entries between two digests lead from one to the other; true if not all of them are held.
   * @param {number | undefined} from
   * @param {number | undefined} to
   */
  #fits(from, to) {
    if (from === undefined || to === undefined) return true;
    let digest = /** @type {string} */ (this.#digests.get(from));
    for (let slot = from + 1; slot <= to; slot++) {
      const entry = this.get(slot);
      if (!entry) return true;
      digest = after(digest, entry);
    }
    return digest === this.#digests.get(to);
  }
}
