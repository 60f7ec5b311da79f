// The rooms that were opened last. They are still followed, so that they can be shown again at once, even offline.
//
// In: names. Out: rooms. Invariants: at most MAX_ROOMS are followed, or fewer if the server allows fewer; a room that is not
// open holds about MAX_HELD entries at most.

const MAX_ROOMS = 6;
const MAX_HELD = 500;
/** How many entries to start with when a room is opened. */
const COUNT = 60;

export class Recent {
  /** Least recently opened first. @type {Map<string, {room: import("../sdk/src/index.js").Room, end: () => void}>} */
  #rooms = new Map();
  #log;
  #open = "";

  /** @param {import("../sdk/src/index.js").Log} log */
  constructor(log) {
    this.#log = log;
  }

  /** @param {string} name */
  open(name) {
    const known = this.#rooms.get(name);
    this.#rooms.delete(name);
    this.#open = name;
    // The server would refuse one room too many.
    for (const [oldest, left] of this.#rooms) if (this.#rooms.size >= this.#limit) this.#leave(oldest, left);
    const opened = known ?? this.#follow(name);
    this.#rooms.set(name, opened);
    return opened.room;
  }

  /** How many rooms to follow: one less than the server allows, which is left for pending messages to another room. */
  get #limit() {
    return Math.max(1, Math.min(MAX_ROOMS, (this.#log.limits?.rooms_per_connection ?? Infinity) - 1));
  }

  /** @param {string} name */
  #follow(name) {
    const room = this.#log.room(name, { count: COUNT });
    const offs = [room.on("entries", () => this.#trim(room)), room.on("error", () => this.#failed(name))];
    return { room, end: () => offs.forEach(off => off()) };
  }

  /** @param {import("../sdk/src/index.js").Room} room */
  #trim({ name, timeline }) {
    const held = timeline.spans.reduce((sum, { first, last }) => sum + last + 1 - first, 0);
    if (name !== this.#open && held > MAX_HELD) timeline.trim(timeline.latest - COUNT, timeline.latest);
  }

  /** Leaves a room that is not followed, so that the next `open` tries again. @param {string} name */
  #failed(name) {
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
