// The list of rooms, with how much of each was not read.
//
// Enters: heads of rooms, how far each was read. Leaves: links. Invariant: at most MOST_ROOMS are listed:
// those with something new first, then by name; the open one always.

import { make, the } from "./dom.js";
import { kept } from "./kept.js";

const MOST_ROOMS = 200;

export class Rooms {
  /** @type {Map<string, number>} */
  #heads = new Map();
  #open = "";
  #frame = 0;
  /** @type {() => string | null} */
  #log;

  /** @param {() => string | null} log the name of the server's log */
  constructor(log) {
    this.#log = log;
    the("open-room").onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      const name = the("open-name").value.trim();
      the("open-name").value = "";
      if (name) location.hash = hashOf(name);
    };
  }

  /** @param {Record<string, number>} heads */
  moved(heads) {
    for (const [room, latest] of Object.entries(heads)) this.#heads.set(room, latest);
    this.show();
  }

  /** @param {string} room */
  open(room) {
    this.#open = room;
    this.show();
  }

  /** Another log: what was known of rooms is void. */
  clear() {
    this.#heads.clear();
    this.show();
  }

  show() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#show();
    });
  }

  #show() {
    const names = [...new Set([...this.#heads.keys(), this.#open])].filter(Boolean);
    const rooms = names.map(name => ({ name, unread: this.#unread(name) }));
    rooms.sort((a, b) => Number(b.unread > 0) - Number(a.unread > 0) || (a.name < b.name ? -1 : 1));
    const open = rooms.find(it => it.name === this.#open);
    const listed = rooms.slice(0, MOST_ROOMS);
    if (open && !listed.includes(open)) listed.unshift(open);
    the("rooms").replaceChildren(...listed.map(it => this.#item(it)));
    const unread = rooms.reduce((sum, it) => sum + it.unread, 0);
    document.title = `${unread > 0 ? `(${brief(unread)}) ` : ""}${this.#open} · Roomlog`;
  }

  /** @param {{name: string, unread: number}} room */
  #item({ name, unread }) {
    const link = make("a", { href: hashOf(name) }, make("span", {}, name));
    if (name === this.#open) link.setAttribute("aria-current", "page");
    if (unread > 0) link.append(make("b", { "aria-label": `${unread} new` }, brief(unread)));
    return make("li", {}, link);
  }

  /** @param {string} name */
  #unread(name) {
    const read = kept.read(this.#log(), name);
    // A room that was never opened has nothing that one has missed.
    return read < 0 ? 0 : Math.max(0, (this.#heads.get(name) ?? -1) - read);
  }
}

/** @param {number} count */
function brief(count) {
  return count > 999 ? "999+" : String(count);
}

/** The address of a room, or of a slot of it. @param {string} room @param {number} [slot] */
export function hashOf(room, slot) {
  return `#/${encodeURIComponent(room)}${slot === undefined ? "" : `/${slot}`}`;
}

/** What an address names. @param {string} hash @returns {{room: string, slot: number | null}} */
export function placeOf(hash) {
  const [name = "", slot = ""] = hash.replace(/^#\/?/, "").split("/");
  let room = "";
  try {
    room = decodeURIComponent(name);
  } catch {
    // No address that this page made.
  }
  return { room: room || "general", slot: /^\d{1,15}$/.test(slot) ? Number(slot) : null };
}
