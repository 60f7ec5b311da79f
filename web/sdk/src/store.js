// Where appends without an outcome wait for the next time a page is opened.
//
// ```text
//   roomlog.outbox|<url>|<tab>|<n>   one append, as JSON
//   roomlog.tab|<tab>                when that tab was last seen, where there are no Web Locks
// ```
//
// Enters: appends, and word that one has its outcome. Leaves: what tabs that are gone have left. Invariants:
// an append is stored before it is sent, and until its outcome is known; each is one tab's. Two tabs
// that take over one append both send it, with the same id: it is in the log once all the same.

/** @typedef {import("./types.js").Append} Append */

/**
 * Keeps appends; what a program gives in its place has the same methods.
 * @typedef {object} Store
 * @property {() => Promise<Append[]>} load what was left, oldest first; it is this store's from now on
 * @property {(append: Append) => void} put
 * @property {(append: Append) => void} remove
 * @property {() => void} [close] another store may have from now on what is left in this one
 */

/** How often a tab without Web Locks says that it is there; a hidden tab's timers run once a minute. */
const SIGN_MS = 20_000;
/** When a tab counts as gone that said nothing for so long. */
const GONE_MS = 180_000;

/** Keeps nothing. @implements {Store} */
export class NoStore {
  async load() { return []; }
  put() {}
  remove() {}
}

/** Keeps appends in a browser's localStorage. @implements {Store} */
export class BrowserStore {
  #tab = crypto.getRandomValues(new Uint32Array(2)).join("-");
  #next = 0;
  #closed = new AbortController();
  /** @type {Map<string, string>} keys by room and id */
  #keys = new Map();
  #storage;
  #locks;
  #prefix;

  /**
   * @param {string} url of the server
   * @param {Pick<Storage, "length" | "key" | "getItem" | "setItem" | "removeItem">} [storage]
   * @param {Pick<LockManager, "request" | "query"> | undefined} [locks] a plain-http page has none
   */
  constructor(url, storage = localStorage, locks = globalThis.navigator?.locks) {
    this.#storage = storage;
    this.#locks = locks;
    this.#prefix = `roomlog.outbox|${url}|`;
  }

  async load() {
    const gone = await this.#goneTabs();
    const left = [];
    for (const key of this.#stored().sort()) {
      const tab = key.slice(this.#prefix.length).split("|")[0];
      if (!gone(tab)) continue;
      const append = read(this.#storage.getItem(key));
      // Stored again before it is let go of: a page that dies between the two leaves it twice, not never.
      if (append && !this.#keys.has(name(append))) {
        this.put(append);
        left.push(append);
      }
      this.#storage.removeItem(key);
    }
    return left;
  }

  /** @param {Append} append @throws when there is no room */
  put(append) {
    const n = String(this.#next++).padStart(9, "0"), key = `${this.#prefix}${this.#tab}|${n}`;
    this.#storage.setItem(key, JSON.stringify(append));
    this.#keys.set(name(append), key);
  }

  /** @param {Append} append */
  remove(append) {
    const key = this.#keys.get(name(append));
    if (key === undefined) return;
    this.#keys.delete(name(append));
    this.#storage.removeItem(key);
  }

  close() {
    this.#closed.abort();
  }

  #stored() {
    const keys = Array.from({ length: this.#storage.length }, (_, at) => this.#storage.key(at) ?? "");
    return keys.filter(key => key.startsWith(this.#prefix));
  }

  /** Says that this tab is there, and tells which others are not. @returns {Promise<(tab: string) => boolean>} */
  async #goneTabs() {
    const lock = (/** @type {string} */ tab) => `roomlog.tab|${tab}`;
    const locks = this.#locks;
    if (locks) {
      // Held until the page goes away, or `close`.
      await new Promise(held => {
        void locks.request(lock(this.#tab), () => new Promise(letGo => {
          this.#closed.signal.addEventListener("abort", letGo);
          held(undefined);
        }));
      });
      const names = new Set((await locks.query()).held?.map(it => it.name));
      return tab => tab !== this.#tab && !names.has(lock(tab));
    }
    const sign = () => this.#storage.setItem(lock(this.#tab), String(Date.now()));
    sign();
    const timer = setInterval(sign, SIGN_MS);
    // In Node a timer would keep the process alive.
    if (typeof timer === "object") timer.unref();
    const unsign = () => this.#storage.removeItem(lock(this.#tab)), { signal } = this.#closed;
    globalThis.addEventListener?.("pagehide", unsign, { signal });
    globalThis.addEventListener?.("pageshow", sign, { signal });
    signal.addEventListener("abort", () => {
      clearInterval(timer);
      unsign();
    });
    const signed = (/** @type {string} */ tab) => Number(this.#storage.getItem(lock(tab)) ?? 0);
    return tab => tab !== this.#tab && Date.now() - signed(tab) > GONE_MS;
  }
}

/** @param {Append} append */
function name({ room, author, id }) {
  return JSON.stringify([room, author ?? null, id]);
}

/** @param {string | null} text @returns {Append | null} */
function read(text) {
  try {
    const append = JSON.parse(text ?? "null");
    return typeof append?.room === "string" && typeof append.id === "string" ? append : null;
  } catch {
    return null; // Not ours, or cut short: there is nothing in it to send.
  }
}
