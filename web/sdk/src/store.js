// Where appends without an outcome wait for the next time a page is opened.
//
// ```text
//   roomlog.outbox|<url>|<tab>|<n>   one append, as JSON
// ```
//
// Enters: appends, and word that one has its outcome. Leaves: what tabs that are gone have left, at first and later.
// Invariants: an append is stored before it is sent, and until its outcome is known; it is never written twice: who
// takes over a tab takes over its name, so a full storage is no obstacle. Two tabs that take over one append both
// send it, with the same id: it is in the log once all the same.

import { membersOf, problemOf } from "./append.js";
import { RoomlogError, plain } from "./error.js";
import { LockedTabs } from "./locked.js";
import { SignedTabs } from "./signed.js";

/** @typedef {import("./types.js").Append} Append */

/**
 * Keeps appends; what a program gives in its place has the same methods. They may return promises, and may fail.
 * @typedef {object} Store
 * @property {(later: (appends: Append[]) => void) => Promise<Append[]>} load what was left, oldest first: it is this
 *   store's from now on; `later` is for what is found after that
 * @property {(append: Append) => void} put
 * @property {(append: Append) => void} remove
 * @property {() => void} [close] another store may have from now on what is left in this one
 */

/**
 * What is used of a browser's localStorage.
 * @typedef {object} KeyValues
 * @property {number} length
 * @property {(at: number) => string | null} key
 * @property {(key: string) => string | null} getItem
 * @property {(key: string, value: string) => void} setItem
 * @property {(key: string) => void} removeItem
 */

/**
 * What is used of a browser's Web Locks.
 * @typedef {object} Locks
 * @property {(name: string, held: () => Promise<unknown>) => Promise<unknown>} request
 * @property {() => Promise<{held?: {name?: string}[], pending?: {name?: string}[]}>} query
 */

/** How often tabs that have gone are looked for. A page that is reloaded is back before, and has its own lines. */
const LOOK_MS = 20_000;

/** Keeps nothing. @implements {Store} */
export class NoStore {
  async load() { return []; }
  put() {}
  remove() {}
}

/**
 * A store in use. It may be full, blocked or the program's own, so whatever it does is caught here: appends are sent without it
 * all the same, and the program is told. Keeping and reading fail for different reasons; each is reported once, keeping again
 * after it has worked in between.
 */
export class GuardedStore {
  /** Operations whose failure was reported. @type {Set<"load" | "keep">} */
  #failing = new Set();
  /** What is to be reported next. @type {string[]} */
  #report = [];
  #store;
  #tell;

  /** @param {Store} store @param {(error: RoomlogError) => void} tell */
  constructor(store, tell) {
    this.#store = store;
    this.#tell = tell;
  }

  /** What an earlier client kept, at first and later; what is no append is left out. @param {(kept: Append[]) => void} take */
  async load(take) {
    const valid = (/** @type {unknown} */ kept) => {
      if (!Array.isArray(kept)) throw new TypeError(`load of the store must give an array of appends, and gave ${plain(kept)}`);
      take(kept.filter(append => problemOf(append) === null));
    };
    await this.#guarded("load", async () => valid(await this.#store.load(kept => void this.#guarded("load", () => valid(kept)))));
  }

  /** @param {Append} append */
  put(append) { void this.#guarded("keep", () => this.#store.put(append), () => this.#failing.delete("keep")); }

  /** @param {Append} append */
  remove(append) { void this.#guarded("keep", () => this.#store.remove(append)); }

  close() { void this.#guarded("keep", () => this.#store.close?.()); }

  /** @param {"load" | "keep"} what @param {() => unknown} use @param {() => void} [worked] */
  async #guarded(what, use, worked) {
    try {
      const using = use();
      // Some stores work in the background.
      if (using instanceof Promise) await using;
      worked?.();
    } catch (error) {
      this.#failed(what, error);
    }
  }

  /** @param {"load" | "keep"} what @param {unknown} error */
  #failed(what, error) {
    if (this.#failing.has(what)) return;
    this.#failing.add(what);
    const message = what === "load" ? "what an earlier client kept cannot be read, so it is not sent"
      : "what is not sent yet is kept only as long as this page is open: it cannot be stored; "
        + "make room in the browser's storage for this site, or allow it";
    // A store can fail within `connect`, before the program can listen.
    if (this.#report.push(`${message} (${plain(error)})`) === 1) setTimeout(() => this.#tellAll(), 0);
  }

  #tellAll() {
    this.#tell(new RoomlogError({ code: "not_stored", message: this.#report.join("; ") }));
    this.#report = [];
  }
}

/** The store of this browser; null where there is none, or where it may not be used. @param {string} url of the server */
export function browserStore(url) {
  try {
    const { localStorage } = globalThis;
    // Node has one of which nothing can be read or written without --localstorage-file.
    if (typeof localStorage?.setItem !== "function" || typeof localStorage.length !== "number") return null;
    return new BrowserStore(url, localStorage);
  } catch {
    return null; // A browser that blocks site data says so here.
  }
}

/** Keeps appends in a browser's localStorage. @implements {Store} */
export class BrowserStore {
  #tab = crypto.getRandomValues(new Uint32Array(2)).join("-");
  #next = 0;
  #closed = new AbortController();
  /** What is stored, by room, author and id: two appends may have one id. @type {Map<string, {append: Append, key: string}[]>} */
  #kept = new Map();
  /** Tabs whose lines are this one's. */
  #known = new Set([this.#tab]);
  #storage;
  /** @type {import("./locked.js").Tabs} */
  #tabs;
  #prefix;

  /**
   * @param {string} url of the server
   * @param {KeyValues} [storage]
   * @param {Locks | undefined} [locks] a plain-http page has none
   */
  constructor(url, storage = globalThis.localStorage, locks = /** @type {any} */ (globalThis.navigator)?.locks) {
    this.#storage = storage;
    this.#prefix = `roomlog.outbox|${url}|`;
    const { signal } = this.#closed;
    this.#tabs = locks ? new LockedTabs(locks, signal) : new SignedTabs(storage, signal);
  }

  /** @param {(appends: Append[]) => void} [later] @returns {Promise<Append[]>} */
  async load(later) {
    /** @type {Line[] | null} */
    let lines = [];
    const taken = (/** @type {string} */ tab) => {
      this.#known.add(tab);
      const more = this.#linesOf(tab);
      if (lines) lines.push(...more);
      else if (more.length > 0) later?.(inOrder(more));
    };
    const look = () => {
      const others = [...new Set(this.#stored().map(it => it.tab))].filter(tab => !this.#known.has(tab));
      return this.#tabs.take(others, taken, later !== undefined);
    };
    await this.#holdOwn();
    await look();
    // What cannot be looked at now may be at the next look.
    if (later) this.#each(LOOK_MS, () => look().catch(() => {}));
    const first = inOrder(lines);
    lines = null;
    return first;
  }

  /** @param {Append} append @throws when there is no room */
  put(append) {
    this.#next = Math.max(this.#next + 1, Date.now() * 1_000);
    const key = `${this.#prefix}${this.#tab}|${String(this.#next).padStart(16, "0")}`;
    this.#storage.setItem(key, JSON.stringify(append));
    this.#keep(append, key);
  }

  /** @param {Append} append */
  remove(append) {
    const kept = this.#kept.get(name(append)) ?? [];
    const at = Math.max(0, kept.findIndex(it => it.append === append)), [gone] = kept.splice(at, 1);
    if (kept.length === 0) this.#kept.delete(name(append));
    if (gone) this.#storage.removeItem(gone.key);
  }

  close() {
    this.#closed.abort();
  }

  async #holdOwn() {
    try {
      await this.#tabs.hold(this.#tab);
    } catch {
      // Locks that may not be used here are as good as none.
      this.#tabs = new SignedTabs(this.#storage, this.#closed.signal);
      await this.#tabs.hold(this.#tab);
    }
  }

  /** @param {Append} append @param {string} key */
  #keep(append, key) {
    const kept = this.#kept.get(name(append)) ?? [];
    this.#kept.set(name(append), [...kept, { append, key }]);
  }

  /** The lines of a tab, which are this one's from now on. What is no append is removed. @param {string} of @returns {Line[]} */
  #linesOf(of) {
    const lines = [];
    for (const { key, tab, n } of this.#stored()) {
      if (tab !== of) continue;
      const append = read(this.#storage.getItem(key));
      if (!append) this.#storage.removeItem(key);
      else lines.push({ append, key, n });
    }
    for (const { append, key, n } of lines) {
      this.#keep(append, key);
      this.#next = Math.max(this.#next, n);
    }
    return lines;
  }

  /** What is stored for this server. @returns {{key: string, tab: string, n: number}[]} */
  #stored() {
    const keys = Array.from({ length: this.#storage.length }, (_, at) => this.#storage.key(at) ?? "");
    return keys.filter(key => key.startsWith(this.#prefix)).map(key => {
      const [tab, n] = key.slice(this.#prefix.length).split("|");
      return { key, tab, n: Number.isSafeInteger(Number(n)) ? Number(n) : 0 };
    });
  }

  /** @param {number} ms @param {() => void} act */
  #each(ms, act) {
    const { signal } = this.#closed;
    if (signal.aborted) return;
    const timer = /** @type {any} */ (setInterval(act, ms));
    timer.unref?.(); // In Node a timer would keep the process alive.
    signal.addEventListener("abort", () => clearInterval(timer));
  }
}

/** @typedef {{append: Append, key: string, n: number}} Line */

/** Appends in the order in which they were put. @param {Line[]} lines */
function inOrder(lines) {
  return [...lines].sort((a, b) => a.n - b.n).map(it => it.append);
}

/** @param {Append} append */
function name({ room, author, id }) {
  return JSON.stringify([room, author ?? null, id]);
}

/** @param {string | null} text @returns {Append | null} */
function read(text) {
  try {
    const append = membersOf(JSON.parse(text ?? "null"));
    return problemOf(append) === null ? append : null;
  } catch {
    return null; // Not ours, or cut short: there is nothing in it to send.
  }
}
