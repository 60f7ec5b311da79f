// Tabs of one browser, by its Web Locks: each holds the lock of its name, and of the names it has taken over.
//
// Enters: names of tabs. Leaves: word that a tab is gone and that its name is this one's. Invariant: a name is one tab's at a
// time; the browser gives it to the next one when a tab is closed or killed.

/** @implements {Tabs} */
export class LockedTabs {
  /** Names that were asked for. @type {Set<string>} */
  #wanted = new Set();
  #locks;
  #closed;

  /**
   * @param {import("./store.js").Locks} locks
   * @param {AbortSignal} closed when this tab gives its names up
   */
  constructor(locks, closed) {
    this.#locks = locks;
    this.#closed = new Promise(release => {
      if (closed.aborted) release(undefined);
      else closed.addEventListener("abort", release);
    });
  }

  /** Waits for a name, and holds it from then on. @param {string} tab @returns {Promise<void>} */
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
   * Takes over tabs that are gone.
   * @param {string[]} tabs
   * @param {(tab: string) => void} taken called for each of them
   * @returns {Promise<void>} when those that can be had now have been taken
   */
  async take(tabs, taken) {
    if (tabs.length === 0) return;
    const there = namesOf((await this.#locks.query()).held);
    const takes = tabs.filter(tab => !there.has(lockOf(tab)) && !this.#wanted.has(tab)).map(tab => {
      this.#wanted.add(tab);
      const taking = this.hold(tab).then(() => taken(tab));
      taking.catch(() => this.#wanted.delete(tab)); // The lines stay where they are: another look finds them.
      return { tab, taking };
    });
    // Where another tab was first, this one waits until that is gone; nobody waits for it.
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
