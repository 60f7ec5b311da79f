// A room that a program follows.

import { Emitter } from "./events.js";

/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").Append} Append */

/**
 * @typedef {object} RoomEvents
 * @property {Entry[]} entries the next entries, in slot order: first those of the first reply, then live ones. The first
 *   reply, and the first after a `reset`, always emits this event, with an empty array if the room is empty
 * @property {{first: number, last: number}} gap slots that were skipped because there are more than 5,000; `before` reads them
 * @property {"new_log" | "diverged"} reset drop what you hold of the room: the server has another log, or its digest differs;
 *   the entries that it has follow
 * @property {Append[]} pending the new value of `pending`
 * @property {import("./error.js").RoomlogError} error the room cannot be followed, or, with `ahead`, the server has had fewer
 *   entries of it than this client for a minute
 */

/**
 * Optional members of an append: `kind` (`text` by default); `ref`, a slot that it is about; `meta`, a text for programs;
 * `expect`, the slot that it must get; `id`, a unique id by default; `sent_at`, now by default, in ms since the Unix epoch.
 * @typedef {{kind?: string, ref?: number, meta?: string, expect?: number, id?: string, sent_at?: number}} AppendOptions
 */

/** A room that is followed, returned by `Log.room`. @extends {Emitter<RoomEvents>} */
export class Room extends Emitter {
  /** @type {import("./log.js").RoomsOwner} */
  #owner;

  /**
   * Use `Log.room`.
   * @param {string} name
   * @param {import("./timeline.js").Timeline} timeline
   * @param {import("./log.js").RoomsOwner} owner
   */
  constructor(name, timeline, owner) {
    super();
    /** The name of the room. */
    this.name = name;
    /** The entries that are held. */
    this.timeline = timeline;
    this.#owner = owner;
  }

  /** The last slot received: −1 if the room is empty, null before the first reply. */
  get last() { return this.timeline.last; }

  /** Appends to this room without an outcome, in order. @returns {Append[]} */
  get pending() { return this.#owner.pending(this.name); }

  /**
   * Appends an entry. It is sent until it is in the log or rejected for good, over reconnects and, with a store, reloads.
   * @param {string} body at most `log.limits.body_bytes` bytes of UTF-8
   * @param {AppendOptions} [options]
   * @returns {Promise<{slot: number, repeat?: boolean}>} `repeat`: it was in the log already. Rejected with a `RoomlogError`:
   *   `bad_message` (a member is invalid), `too_large`, `busy` (1,000 appends are pending), `new_log` or `diverged` (its slots
   *   are of another log), `closed`, or an error of the server, like `id_reused` or `expect_failed`
   */
  append(body, options = {}) {
    return this.#owner.append(this, body, options);
  }

  /**
   * Reads the entries before a slot.
   * @param {number} [count] at most; the server's limit is `log.limits.page_entries`
   * @param {number} [slot] by default the first slot of the newest span, once the first reply has come
   * @returns {Promise<Entry[]>} in slot order, without those that were held already; empty at slot 0. Rejected with a
   *   `RoomlogError`: `busy` (32 reads are pending), `new_log`, `diverged`, `left`, `closed`, or an error of the server
   */
  before(count = 50, slot) {
    if (slot === undefined) return this.#owner.before(this, count);
    return slot <= 0 ? Promise.resolve([]) : this.#owner.read(this, { count, upto: slot - 1 });
  }

  /**
   * Reads the entries after a slot, at most `log.limits.page_entries`.
   * @param {number} slot
   * @returns {Promise<Entry[]>} as `before`; also rejected with `ahead` if the room does not reach the slot
   */
  behind(slot) {
    return this.#owner.read(this, { after: slot });
  }

  /**
   * Reads the entries around a slot, half of them before it.
   * @param {number} slot
   * @param {number} [count]
   * @returns {Promise<Entry[]>} as `before`
   */
  around(slot, count = 50) {
    return this.#owner.read(this, { count, upto: slot + Math.floor(count / 2) });
  }

  /** Stops following the room. Its pending appends are still sent; its pending reads are rejected with `left`. */
  leave() {
    this.#owner.leave(this);
  }
}
