// Tabs of one browser, where there are no Web Locks: a page over plain http. Each tab leaves a sign in the storage,
// takes it away when its page is closed, and answers when another tab asks whether it is there.
//
// ```text
//   roomlog.tab|<tab>   when that tab was last there
// ```
//
// Enters: names of tabs. Leaves: word that a tab is gone and that its name is this one's. Invariants: a tab whose sign moves, or
// that has one and answers, is not taken over; one that was killed is, within seconds. When two tabs send the same lines,
// the log still has each once: see the head of store.js.

/** How often a tab renews its sign. */
const SIGN_MS = 20_000;
/** How long a tab has to answer. */
const ANSWER_MS = 3_000;
/** When a tab counts as gone that has not renewed its sign for so long; a hidden tab's timers run once a minute. */
const GONE_MS = 180_000;

const SIGN = "roomlog.tab|";

/** @implements {Tabs} */
export class SignedTabs {
  /** Names that are this tab's. @type {Set<string>} */
  #own = new Set();
  /** Tabs that have answered since they were asked. @type {Set<string>} */
  #there = new Set();
  #storage;
  #closed;
  #channel;

  /**
   * @param {import("./store.js").KeyValues} storage
   * @param {AbortSignal} closed when this tab gives its names up
   */
  constructor(storage, closed) {
    this.#storage = storage;
    this.#closed = closed;
    this.#channel = this.#open();
    const timer = /** @type {any} */ (setInterval(() => this.#signAll(), SIGN_MS));
    timer.unref?.(); // In Node a timer would keep the process alive.
    const unsign = () => this.#own.forEach(tab => this.#try(() => storage.removeItem(SIGN + tab)));
    globalThis.addEventListener?.("pagehide", unsign, { signal: closed });
    globalThis.addEventListener?.("pageshow", () => this.#signAll(), { signal: closed });
    closed.addEventListener("abort", () => {
      clearInterval(timer);
      unsign();
      this.#channel?.close();
    });
  }

  /** Makes a name this tab's. @param {string} tab */
  async hold(tab) {
    this.#own.add(tab);
    if (!this.#closed.aborted) this.#sign(tab);
  }

  /**
   * Takes over tabs that are gone.
   * @param {string[]} tabs
   * @param {(tab: string) => void} taken called for each of them
   * @param {boolean} wait for answers of those that may still be there: those that do not answer are taken later
   */
  async take(tabs, taken, wait) {
    const take = (/** @type {string} */ tab) => {
      void this.hold(tab);
      taken(tab);
    };
    const signed = tabs.filter(tab => Date.now() - this.#signOf(tab) <= GONE_MS);
    tabs.filter(tab => !signed.includes(tab)).forEach(take);
    this.#sweep(tabs);
    if (wait) signed.forEach(tab => this.#ask(tab, take));
  }

  /** Takes over a tab that does not answer in time. @param {string} tab @param {(tab: string) => void} take */
  #ask(tab, take) {
    const sign = this.#signOf(tab);
    this.#there.delete(tab);
    if (!this.#channel || !this.#try(() => this.#channel?.postMessage({ ask: tab }))) return;
    const timer = /** @type {any} */ (setTimeout(() => {
      const isThere = this.#there.has(tab) || this.#signOf(tab) > sign;
      if (!isThere && !this.#closed.aborted) take(tab);
    }, ANSWER_MS));
    timer.unref?.();
  }

  /** The way on which tabs ask each other; null in an old browser, where only their signs count. */
  #open() {
    try {
      const channel = new BroadcastChannel("roomlog.tabs");
      channel.onmessage = ({ data }) => {
        if (this.#own.has(data?.ask)) this.#try(() => channel.postMessage({ here: data.ask }));
        if (typeof data?.here === "string") this.#there.add(data.here);
      };
      /** @type {any} */ (channel).unref?.();
      return channel;
    } catch {
      return null;
    }
  }

  #signAll() {
    this.#own.forEach(tab => this.#sign(tab));
  }

  /** In a full storage there is no sign, and another tab may send the same lines: see the head. @param {string} tab */
  #sign(tab) {
    this.#try(() => this.#storage.setItem(SIGN + tab, String(Date.now())));
  }

  /** When a tab was last there; 0 without a sign. @param {string} tab */
  #signOf(tab) {
    return Number(this.#storage.getItem(SIGN + tab)) || 0;
  }

  /** Removes old signs of tabs that have left nothing. @param {string[]} tabs those that have */
  #sweep(tabs) {
    const keys = Array.from({ length: this.#storage.length }, (_, at) => this.#storage.key(at) ?? "");
    for (const tab of keys.filter(key => key.startsWith(SIGN)).map(key => key.slice(SIGN.length))) {
      if (tabs.includes(tab) || this.#own.has(tab) || Date.now() - this.#signOf(tab) <= GONE_MS) continue;
      this.#try(() => this.#storage.removeItem(SIGN + tab));
    }
  }

  /** Does what a full or blocked storage may refuse; whether it was done. @param {() => void} act */
  #try(act) {
    try {
      act();
      return true;
    } catch {
      return false;
    }
  }
}

/** @typedef {import("./locked.js").Tabs} Tabs */
