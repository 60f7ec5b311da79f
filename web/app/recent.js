// The rooms that were open last: they are followed on, so that going back shows them at once, and without a connection too.
//
// Enters: names. Leaves: rooms. Invariants: at most MOST_ROOMS are followed, and fewer where the server allows fewer; of
// one that is not open at most MOST_HELD of the newest entries are held.

const MOST_ROOMS = 6;
const MOST_HELD = 500;
/** Entries of a room that is opened. */
const COUNT = 60;

export class Recent {
  /** Least recently open first. @type {Map<string, {room: import("../sdk/src/index.js").Room, end: () => void}>} */
  #rooms = new Map();
  #log;
  #open = "";

  /** @param {import("../sdk/src/index.js").Log} log */
  constructor(log) {
    this.#log = log;
  }

  /** @param {string} name */
  open(name) {
    const was = this.#rooms.get(name);
    this.#rooms.delete(name);
    this.#open = name;
    // The oldest are left first: the server would refuse one room too many.
    for (const [oldest, left] of this.#rooms) if (this.#rooms.size >= this.#most) this.#leave(oldest, left);
    const known = was ?? this.#follow(name);
    this.#rooms.set(name, known);
    return known.room;
  }

  /** How many rooms may be followed; one of those that the server allows is for messages that wait to go to another room. */
  get #most() {
    return Math.max(1, Math.min(MOST_ROOMS, (this.#log.limits?.rooms_per_connection ?? Infinity) - 1));
  }

  /** @param {string} name */
  #follow(name) {
    const room = this.#log.room(name, { count: COUNT });
    const offs = [room.on("entries", () => this.#trim(room)), room.on("error", () => this.#refused(name))];
    return { room, end: () => offs.forEach(off => off()) };
  }

  /** @param {import("../sdk/src/index.js").Room} room */
  #trim({ name, timeline }) {
    const held = timeline.spans.reduce((sum, { first, last }) => sum + last + 1 - first, 0);
    if (name !== this.#open && held > MOST_HELD) timeline.trim(timeline.latest - COUNT, timeline.latest);
  }

  /** It is not followed any more: the next time, it is asked for anew. @param {string} name */
  #refused(name) {
    const known = this.#rooms.get(name);
    if (known) this.#leave(name, known);
  }

  /** @param {string} name @param {{room: import("../sdk/src/index.js").Room, end: () => void}} left */
  #leave(name, { room, end }) {
    end();
    room.leave();
    this.#rooms.delete(name);
  }
}
