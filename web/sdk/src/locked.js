// Tells live tabs of a browser from closed ones by Web Locks: a tab holds the lock of its name and of each name that it has
// taken over.
//
// In: names of tabs. Out: the names taken over from closed tabs. Invariant: one tab has a name at a time; the browser
// releases it when that tab is closed or killed.

/** @implements {Tabs} */
export class LockedTabs {
  /** Names that were requested. @type {Set<string>} */
  #wanted = new Set();
  #locks;
  #closed;

  /**
   * @param {import("./store.js").Locks} locks
   * @param {AbortSignal} closed aborted when this tab releases its names
   */
  constructor(locks, closed) {
    this.#locks = locks;
    this.#closed = new Promise(release => {
      if (closed.aborted) release(undefined);
      else closed.addEventListener("abort", release);
    });
  }

  /** Waits until this tab has a name, and keeps it. @param {string} tab @returns {Promise<void>} */
  hold(tab) {
    return new Promise((held, failed) => {
      const request = this.#locks.request(lockOf(tab), () => {
        held();
        return this.#closed;
      });
      Promise.resolve(request).catch(failed);
    });
  }

  /**
   * Takes over the names of closed tabs.
   * @param {string[]} tabs
   * @param {(tab: string) => void} taken called for each of them
   * @returns {Promise<void>} resolved when those that are free now have been taken
   */
  async take(tabs, taken) {
    if (tabs.length === 0) return;
    const live = namesOf((await this.#locks.query()).held);
    const takes = tabs.filter(tab => !live.has(lockOf(tab)) && !this.#wanted.has(tab)).map(tab => {
      this.#wanted.add(tab);
      const taking = this.hold(tab).then(() => taken(tab));
      taking.catch(() => this.#wanted.delete(tab)); // What that tab stored stays there for the next call.
      return { tab, taking };
    });
    // A name that another tab got first stays requested, but is not waited for here.
    const pending = namesOf((await this.#locks.query()).pending);
    await Promise.allSettled(takes.filter(({ tab }) => !pending.has(lockOf(tab))).map(({ taking }) => taking));
  }
}

/**
 * @typedef {object} Tabs
 * @property {(tab: string) => Promise<void>} hold
 * @property {(tabs: string[], taken: (tab: string) => void, wait: boolean) => Promise<void>} take
 */

/** @param {string} tab */
function lockOf(tab) {
  return `roomlog.tab|${tab}`;
}

/** @param {{name?: string}[] | undefined} locks */
function namesOf(locks) {
  return new Set(locks?.map(it => it.name));
}
