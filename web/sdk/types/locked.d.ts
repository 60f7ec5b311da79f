/** @implements {Tabs} */
export declare class LockedTabs implements Tabs {
    #private;
    /**
     * @param {import("./store.js").Locks} locks
     * @param {AbortSignal} closed aborted when this tab releases its names
     */
    constructor(locks: import("./store.js").Locks, closed: AbortSignal);
    /** Waits until this tab has a name, and keeps it. @param {string} tab @returns {Promise<void>} */
    hold(tab: string): Promise<void>;
    /**
     * Takes over the names of closed tabs.
     * @param {string[]} tabs
     * @param {(tab: string) => void} taken called for each of them
     * @returns {Promise<void>} resolved when those that are free now have been taken
     */
    take(tabs: string[], taken: (tab: string) => void): Promise<void>;
}
export type Tabs = {
    hold: (tab: string) => Promise<void>;
    take: (tabs: string[], taken: (tab: string) => void, wait: boolean) => Promise<void>;
};
