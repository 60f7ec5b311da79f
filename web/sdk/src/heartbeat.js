// Tells live tabs of a browser from closed ones without Web Locks, for pages over plain http. Each tab keeps a heartbeat in
// the storage, removes it when its page is closed, and answers when another tab asks whether it is alive.
//
// ```text
//   roomlog.tab|<tab>   the time of that tab's last heartbeat
// ```
//
// In: names of tabs. Out: the names taken over from closed tabs. Invariants: a tab with a fresh heartbeat that answers is not
// taken over; one that was killed is, within seconds. If two tabs do send the same append, the log has it once: see store.js.

/** How often a tab renews its heartbeat, in ms. */
const HEARTBEAT_MS = 20_000;
/** How long a tab has to answer, in ms. */
const ANSWER_MS = 3_000;
/** A tab without a heartbeat for this long is dead, in ms. Timers of a hidden tab run once per minute. */
const DEAD_MS = 180_000;

const PREFIX = "roomlog.tab|";

/** @implements {Tabs} */
export class HeartbeatTabs {
  /** The names of this tab: its own and those it has taken over. @type {Set<string>} */
  #own = new Set();
  /** Tabs that have answered since they were asked. @type {Set<string>} */
  #alive = new Set();
  #storage;
  #closed;
  #channel;

  /**
   * @param {import("./store.js").KeyValues} storage
   * @param {AbortSignal} closed aborted when this tab releases its names
   */
  constructor(storage, closed) {
    this.#storage = storage;
    this.#closed = closed;
    this.#channel = this.#open();
    const timer = /** @type {any} */ (setInterval(() => this.#beatAll(), HEARTBEAT_MS));
    timer.unref?.(); // In Node, the timer would keep the process alive.
    const stop = () => this.#own.forEach(tab => this.#try(() => storage.removeItem(PREFIX + tab)));
    globalThis.addEventListener?.("pagehide", stop, { signal: closed });
    globalThis.addEventListener?.("pageshow", () => this.#beatAll(), { signal: closed });
    closed.addEventListener("abort", () => {
      clearInterval(timer);
      stop();
      this.#channel?.close();
    });
  }

  /** Adds a name of this tab. @param {string} tab */
  async hold(tab) {
    this.#own.add(tab);
    if (!this.#closed.aborted) this.#beat(tab);
  }

  /**
   * Takes over the names of closed tabs.
   * @param {string[]} tabs
   * @param {(tab: string) => void} taken called for each of them
   * @param {boolean} wait whether to ask tabs with a fresh heartbeat too, and to take over those that do not answer
   */
  async take(tabs, taken, wait) {
    const take = (/** @type {string} */ tab) => {
      void this.hold(tab);
      taken(tab);
    };
    const fresh = tabs.filter(tab => Date.now() - this.#beatOf(tab) <= DEAD_MS);
    tabs.filter(tab => !fresh.includes(tab)).forEach(take);
    this.#sweep(tabs);
    if (wait) fresh.forEach(tab => this.#ask(tab, take));
  }

  /** Takes over a tab that does not answer in time. @param {string} tab @param {(tab: string) => void} take */
  #ask(tab, take) {
    const beat = this.#beatOf(tab);
    this.#alive.delete(tab);
    if (!this.#channel || !this.#try(() => this.#channel?.postMessage({ ask: tab }))) return;
    const timer = /** @type {any} */ (setTimeout(() => {
      const isAlive = this.#alive.has(tab) || this.#beatOf(tab) > beat;
      if (!isAlive && !this.#closed.aborted) take(tab);
    }, ANSWER_MS));
    timer.unref?.();
  }

  /** Opens the channel on which tabs ask each other; null in an old browser, where only heartbeats count. */
  #open() {
    try {
      const channel = new BroadcastChannel("roomlog.tabs");
      channel.onmessage = ({ data }) => {
        if (this.#own.has(data?.ask)) this.#try(() => channel.postMessage({ here: data.ask }));
        if (typeof data?.here === "string") this.#alive.add(data.here);
      };
      /** @type {any} */ (channel).unref?.();
      return channel;
    } catch {
      return null;
    }
  }

  #beatAll() {
    this.#own.forEach(tab => this.#beat(tab));
  }

  /** Fails in a full storage; then another tab may send the same appends, which is harmless. @param {string} tab */
  #beat(tab) {
    this.#try(() => this.#storage.setItem(PREFIX + tab, String(Date.now())));
  }

  /** The time of a tab's last heartbeat; 0 if there is none. @param {string} tab */
  #beatOf(tab) {
    return Number(this.#storage.getItem(PREFIX + tab)) || 0;
  }

  /** Removes the heartbeats of dead tabs without stored appends. @param {string[]} tabs those with stored appends */
  #sweep(tabs) {
    const keys = Array.from({ length: this.#storage.length }, (_, at) => this.#storage.key(at) ?? "");
    for (const tab of keys.filter(key => key.startsWith(PREFIX)).map(key => key.slice(PREFIX.length))) {
      if (tabs.includes(tab) || this.#own.has(tab) || Date.now() - this.#beatOf(tab) <= DEAD_MS) continue;
      this.#try(() => this.#storage.removeItem(PREFIX + tab));
    }
  }

  /** Runs something that fails in a full or blocked storage; returns whether it worked. @param {() => void} act */
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
