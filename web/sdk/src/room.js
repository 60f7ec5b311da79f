// A room, as a program holds it.

import { Emitter } from "./events.js";

/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").Append} Append */

/**
 * @typedef {object} RoomEvents
 * @property {Entry[]} entries entries that come next, in slot order: those of the first reply, then live ones. The first reply
 *   always brings this event, with an empty array when it has no entries; so does the first reply after a `reset`
 * @property {{first: number, last: number}} gap slots that were left out, because there are many; `before` reads them
 * @property {"new_log" | "diverged"} reset all that was held is void: the server has another log, or its
 *   digest differs; entries of the log that it has follow
 * @property {Append[]} pending what has no outcome has changed
 * @property {import("./error.js").RoomlogError} error the room cannot be followed, or has fewer entries on the server than here
 */

/**
 * What may be said of an append.
 * @typedef {{kind?: string, ref?: number, meta?: string, expect?: number, id?: string, sent_at?: number}} AppendOptions
 */

/** @extends {Emitter<RoomEvents>} */
export class Room extends Emitter {
  /** @type {import("./log.js").RoomsOwner} */
  #owner;

  /**
   * Made by `Log.room`.
   * @param {string} name
   * @param {import("./timeline.js").Timeline} timeline
   * @param {import("./log.js").RoomsOwner} owner
   */
  constructor(name, timeline, owner) {
    super();
    this.name = name;
    this.timeline = timeline;
    this.#owner = owner;
  }

  /** The last slot of the following: −1 on an empty log, null while nothing is known. */
  get last() { return this.timeline.last; }

  /** Appends of this client to this room that have no outcome, in order. @returns {Append[]} */
  get pending() { return this.#owner.pending(this.name); }

  /**
   * Appends. It is kept until it is in the log or refused for good: over reconnects, and over reloads of
   * a page.
   * @param {string} body
   * @param {AppendOptions} [options]
   * @returns {Promise<{slot: number, repeat?: boolean}>} rejected with a RoomlogError when it is refused for good
   */
  append(body, options = {}) {
    return this.#owner.append(this, body, options);
  }

  /**
   * Reads the entries before a slot.
   * @param {number} [count] at most; as many as a page of the server holds
   * @param {number} [slot] by default the first slot of the newest span, once the first reply tells it
   * @returns {Promise<Entry[]>} in slot order, without those that were held; none at the beginning
   */
  before(count = 50, slot) {
    if (slot === undefined) return this.#owner.before(this, count);
    return slot <= 0 ? Promise.resolve([]) : this.#owner.read(this, { count, upto: slot - 1 });
  }

  /**
   * Reads the entries behind a slot: after a jump into the middle.
   * @param {number} slot
   * @returns {Promise<Entry[]>} a page at most
   */
  behind(slot) {
    return this.#owner.read(this, { after: slot });
  }

  /**
   * Reads what lies around a slot, half before and half behind it.
   * @param {number} slot
   * @param {number} [count]
   * @returns {Promise<Entry[]>}
   */
  around(slot, count = 50) {
    return this.#owner.read(this, { count, upto: slot + Math.floor(count / 2) });
  }

  /** Stops following. Appends without an outcome are still sent. */
  leave() {
    this.#owner.leave(this);
  }
}
