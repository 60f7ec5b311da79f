// The list of rooms with unread counts; on a phone, a drawer.
//
// In: heads of rooms, read marks. Out: links, the badge of the drawer, the title of the page. Invariants: at most MAX_ROOMS
// are listed, sorted by name: the open one always, and rooms with unread messages before others; a link keeps the focus
// while the list changes.

import { byId, isComposing, make } from "./dom.js";
import { kept } from "./kept.js";
import { Unread } from "./unread.js";

/** @typedef {import("./unread.js").Count} Count */

const MAX_ROOMS = 200;
/** A valid room name: docs/PROTOCOL.md. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._~:@-]{0,127}$/;

export class Rooms {
  /** @type {Map<string, number>} */
  #heads = new Map();
  #open = "";
  /** Whether the open room is not listed, because it cannot be read. */
  #isRefused = false;
  #frame = 0;
  /** @type {() => string | null} */
  #log;
  #unread;
  /** The list items, by room. @type {Map<string, {item: HTMLElement, link: HTMLElement, badge: HTMLElement, label: HTMLElement}>} */
  #items = new Map();

  /** @param {() => string | null} log the name of the server's log @param {() => string | null} me */
  constructor(log, me) {
    this.#log = log;
    this.#unread = new Unread({ me, changed: () => this.show() });
    byId("open-room").onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#go(byId("open-name").value.trim().replace(/^#/, ""));
    };
    byId("open-name").onkeydown = (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter" && isComposing(event)) event.preventDefault();
    };
    byId("open-name").oninput = () => this.#refuse("");
    byId("side-open").onclick = () => this.drawer(true);
    byId("side-close").onclick = () => this.drawer(false);
    document.addEventListener("click", event => {
      if (this.#isDrawerOpen && !byId("side").contains(event.target) && !byId("side-open").contains(event.target)) this.drawer(false);
    });
    // The drawer covers the composer.
    document.addEventListener("focusin", event => {
      if (this.#isDrawerOpen && document.querySelector("main")?.contains(/** @type {Node} */ (event.target)) && event.target !== byId("side-open")) this.drawer(false);
    });
    byId("side").onkeydown = (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Escape" && this.#isDrawerOpen && !isComposing(event)) this.drawer(false);
    };
  }

  get #isDrawerOpen() { return document.body.classList.contains("rooms-shown"); }

  /** Opens or closes the drawer, and moves the focus into it or back, unless the focus is elsewhere already. @param {boolean} shown */
  drawer(shown) {
    if (shown === this.#isDrawerOpen) return;
    document.body.classList.toggle("rooms-shown", shown);
    byId("side-open").setAttribute("aria-expanded", String(shown));
    const focused = document.activeElement, isFree = focused === document.body || byId("side").contains(focused);
    if (shown) byId("side-close").focus();
    else if (isFree) byId("side-open").focus();
  }

  /** @param {Record<string, number>} heads */
  moved(heads) {
    for (const [room, latest] of Object.entries(heads)) this.#heads.set(room, latest);
    this.show();
  }

  /** @param {string} room */
  open(room) {
    this.#open = room;
    this.#isRefused = false;
    this.show();
  }

  /** The open room cannot be read. */
  refused() {
    this.#isRefused = true;
    this.show();
  }

  /** The first room by name that the server lists; undefined if there is none. */
  get first() { return [...this.#heads.keys()].sort()[0]; }

  /** The server has another log: drops the heads of rooms. */
  clear() {
    this.#heads.clear();
    this.recount();
  }

  /** The user's name has changed: counts unread messages again. */
  recount() {
    this.#unread.clear();
    this.show();
  }

  show() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#show();
    });
  }

  /** @param {string} name */
  #go(name) {
    if (!name) return;
    if (!NAME.test(name)) return this.#refuse("A room’s name starts with a letter or digit and contains only letters (a–z), digits and - . _ ~ : @");
    byId("open-name").value = "";
    if (location.hash === hashOf(name)) this.drawer(false);
    location.hash = hashOf(name);
  }

  /** @param {string} why */
  #refuse(why) {
    byId("open-error").textContent = why;
    byId("open-error").hidden = !why;
    byId("open-name").setAttribute("aria-invalid", String(Boolean(why)));
  }

  #show() {
    const log = this.#log(), open = this.#isRefused ? [] : [this.#open];
    const names = [...new Set([...this.#heads.keys(), ...open])].filter(Boolean);
    const rooms = names.map(name => ({ name, ...this.#unread.count(name, kept.read(log, name), this.#heads.get(name) ?? -1) }));
    const byName = (/** @type {{name: string}} */ a, /** @type {{name: string}} */ b) => a.name < b.name ? -1 : 1;
    const rank = (/** @type {{name: string, count: number}} */ it) => it.name === this.#open ? 2 : Number(it.count > 0);
    const listed = rooms.sort((a, b) => rank(b) - rank(a) || byName(a, b)).slice(0, MAX_ROOMS).sort(byName);
    this.#list(listed);
    const unread = sum(rooms), elsewhere = sum(rooms.filter(it => it.name !== this.#open));
    document.title = `${unread.count > 0 ? `(${brief(unread)}) ` : ""}${this.#open} · Roomlog`;
    byId("side-badge").hidden = elsewhere.count === 0;
    byId("side-badge").textContent = brief(elsewhere, 99);
    byId("side-open").setAttribute("aria-label", elsewhere.count > 0 ? `Rooms, ${brief(elsewhere)} unread` : "Rooms");
  }

  /** @param {({name: string} & Count)[]} listed */
  #list(listed) {
    const items = listed.map(room => this.#item(room)), list = byId("rooms"), focused = document.activeElement;
    if (items.length !== list.children.length || items.some((item, at) => list.children[at] !== item)) {
      list.replaceChildren(...items);
      // Moving a link takes the focus away from it.
      if (focused instanceof HTMLElement && list.contains(focused)) focused.focus({ preventScroll: true });
    }
    if (this.#items.size <= 2 * MAX_ROOMS) return;
    const names = new Set(listed.map(it => it.name));
    for (const name of this.#items.keys()) if (!names.has(name)) this.#items.delete(name);
  }

  /** @param {{name: string} & Count} room */
  #item({ name, ...unread }) {
    let known = this.#items.get(name);
    if (!known) {
      const badge = make("b"), label = make("i", { class: "unseen" }, " unread");
      const link = make("a", { href: hashOf(name), title: name }, make("span", {}, name));
      this.#items.set(name, known = { item: make("li", {}, link), link, badge, label });
    }
    const { item, link, badge, label } = known;
    if (name === this.#open) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    badge.textContent = brief(unread);
    if (unread.count === 0) [badge, label].forEach(it => it.remove());
    else if (!badge.isConnected) link.append(badge, label);
    return item;
  }
}

/** @param {Count[]} counts @returns {Count} */
function sum(counts) {
  return { count: counts.reduce((sum, it) => sum + it.count, 0), more: counts.some(it => it.more) };
}

/** @param {Count} count @param {number} [max] */
function brief({ count, more }, max = 999) {
  return count > max ? `${max}+` : `${count}${more ? "+" : ""}`;
}

/**
 * The address of a room or a slot. That of a slot contains the end of the log's name, because slots of another log are other
 * messages.
 * @param {string} room @param {number} [slot] @param {string | null} [log]
 */
export function hashOf(room, slot, log = null) {
  return `#/${encodeURIComponent(room)}${slot === undefined ? "" : `/${slot}${log === null ? "" : `/${markOf(log)}`}`}`;
}

/** The part of a log's name that addresses contain. @param {string} log */
export function markOf(log) {
  return log.slice(-6);
}

/** Parses an address. @param {string} hash @returns {{room: string, slot: number | null, mark: string | null}} */
export function placeOf(hash) {
  const [name = "", slot = "", mark = null] = hash.replace(/^#\/?/, "").split("/");
  let room = "";
  try {
    room = decodeURIComponent(name);
  } catch {
    // Not an address of this page.
  }
  return { room: room || "general", slot: /^\d{1,15}$/.test(slot) ? Number(slot) : null, mark };
}
