// Keeps appends without an outcome for the next time a page is opened.
//
// ```text
//   roomlog.outbox|<url>|<tab>|<n>   one append, as JSON
// ```
//
// In: appends, first when they are made and again when they have an outcome. Out: the appends of closed tabs, at first and
// later. Invariants: an append is stored before it is sent and until its outcome is known; it is written only once: a tab
// takes over a closed tab's name instead of copying its appends, which works even in a full storage. If two tabs take over
// the same append, both send it with the same id, and the log has it once.

import { membersOf, problemOf } from "./append.js";
import { RoomlogError, plain } from "./error.js";
import { LockedTabs } from "./locked.js";
import { HeartbeatTabs } from "./heartbeat.js";

/** @typedef {import("./types.js").Append} Append */

/**
 * Keeps appends without an outcome. All methods may return promises and may fail: a failure is reported as `not_stored`, and
 * the appends are sent all the same.
 * @typedef {object} Store
 * @property {(later: (appends: Append[]) => void) => Promise<Append[]>} load returns the stored appends, oldest first, which
 *   now belong to this client; call `later` with those that are found afterwards
 * @property {(append: Append) => void} put adds an append
 * @property {(append: Append) => void} remove removes an append, which has its outcome
 * @property {() => void} [close] releases the appends that are left to other clients
 */

/**
 * The part of a browser's localStorage that is used.
 * @typedef {object} KeyValues
 * @property {number} length
 * @property {(at: number) => string | null} key
 * @property {(key: string) => string | null} getItem
 * @property {(key: string, value: string) => void} setItem
 * @property {(key: string) => void} removeItem
 */

/**
 * The part of a browser's Web Locks that is used.
 * @typedef {object} Locks
 * @property {(name: string, held: () => Promise<unknown>) => Promise<unknown>} request
 * @property {() => Promise<{held?: {name?: string}[], pending?: {name?: string}[]}>} query
 */

/** How often to look for closed tabs, in ms. A page that is reloaded finds its own appends at once. */
const LOOK_MS = 20_000;

/** A store that keeps nothing. @implements {Store} */
export class NoStore {
  async load() { return []; }
  put() {}
  remove() {}
}

/**
 * Wraps a store, which may be full, blocked or the program's own, and reports its failures instead of throwing. A failure to
 * load and a failure to keep are each reported once; the latter again after it has worked in between.
 */
export class GuardedStore {
  /** Operations whose failure has been reported. @type {Set<"load" | "keep">} */
  #failing = new Set();
  /** Messages of the next report. @type {string[]} */
  #report = [];
  #store;
  #onError;

  /** @param {Store} store @param {(error: RoomlogError) => void} onError */
  constructor(store, onError) {
    this.#store = store;
    this.#onError = onError;
  }

  /** Loads the stored appends, at first and later, without invalid ones. @param {(kept: Append[]) => void} take */
  async load(take) {
    const valid = (/** @type {unknown} */ kept) => {
      if (!Array.isArray(kept)) throw new TypeError(`load of the store must return an array of appends, but returned ${plain(kept)}`);
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
    const message = what === "load" ? "appends that an earlier client stored cannot be loaded, so they are not sent"
      : "unsent appends cannot be stored, so they are lost when this page is closed; "
        + "free or allow storage for this site in the browser";
    // A store can fail within `connect`, before the program can add a listener.
    if (this.#report.push(`${message} (${plain(error)})`) === 1) setTimeout(() => this.#sendReport(), 0);
  }

  #sendReport() {
    this.#onError(new RoomlogError({ code: "not_stored", message: this.#report.join("; ") }));
    this.#report = [];
  }
}

/** Returns a store in localStorage; null if there is none or it is blocked. @param {string} url of the server */
export function browserStore(url) {
  try {
    const { localStorage } = globalThis;
    // In Node it cannot be used without --localstorage-file.
    if (typeof localStorage?.setItem !== "function" || typeof localStorage.length !== "number") return null;
    return new BrowserStore(url, localStorage);
  } catch {
    return null; // A browser that blocks site data throws here.
  }
}

/** A store in a browser's localStorage, shared by its tabs; an append of a closed tab goes to another one. @implements {Store} */
export class BrowserStore {
  #tab = crypto.getRandomValues(new Uint32Array(2)).join("-");
  #next = 0;
  #closed = new AbortController();
  /** Stored appends, by room, author and id: two appends may share an id. @type {Map<string, {append: Append, key: string}[]>} */
  #kept = new Map();
  /** Tabs whose appends belong to this one. */
  #known = new Set([this.#tab]);
  #storage;
  /** @type {import("./locked.js").Tabs} */
  #tabs;
  #prefix;

  /**
   * @param {string} url the address of the server's WebSocket
   * @param {KeyValues} [storage]
   * @param {Locks | undefined} [locks] undefined in pages over plain http
   */
  constructor(url, storage = globalThis.localStorage, locks = /** @type {any} */ (globalThis.navigator)?.locks) {
    this.#storage = storage;
    this.#prefix = `roomlog.outbox|${url}|`;
    const { signal } = this.#closed;
    this.#tabs = locks ? new LockedTabs(locks, signal) : new HeartbeatTabs(storage, signal);
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
    // A look that fails is repeated by the next one.
    if (later) this.#each(LOOK_MS, () => look().catch(() => {}));
    const first = inOrder(lines);
    lines = null;
    return first;
  }

  /** @param {Append} append @throws {DOMException} if the storage is full */
  put(append) {
    this.#next = Math.max(this.#next + 1, Date.now() * 1_000);
    const key = `${this.#prefix}${this.#tab}|${String(this.#next).padStart(16, "0")}`;
    this.#storage.setItem(key, JSON.stringify(append));
    this.#keep(append, key);
  }

  /** @param {Append} append */
  remove(append) {
    const kept = this.#kept.get(name(append)) ?? [];
    const at = Math.max(0, kept.findIndex(it => it.append === append)), [removed] = kept.splice(at, 1);
    if (kept.length === 0) this.#kept.delete(name(append));
    if (removed) this.#storage.removeItem(removed.key);
  }

  close() {
    this.#closed.abort();
  }

  async #holdOwn() {
    try {
      await this.#tabs.hold(this.#tab);
    } catch {
      // The browser blocks locks here.
      this.#tabs = new HeartbeatTabs(this.#storage, this.#closed.signal);
      await this.#tabs.hold(this.#tab);
    }
  }

  /** @param {Append} append @param {string} key */
  #keep(append, key) {
    const kept = this.#kept.get(name(append)) ?? [];
    this.#kept.set(name(append), [...kept, { append, key }]);
  }

  /** Takes the lines of a tab; removes those that are not appends. @param {string} of @returns {Line[]} */
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

  /** The keys that are stored for this server. @returns {{key: string, tab: string, n: number}[]} */
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
    timer.unref?.(); // In Node, the timer would keep the process alive.
    signal.addEventListener("abort", () => clearInterval(timer));
  }
}

/** A stored append; `n` gives the order. @typedef {{append: Append, key: string, n: number}} Line */

/** The appends in the order in which they were put. @param {Line[]} lines */
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
    return null; // Not written by this client, or cut short.
  }
}
