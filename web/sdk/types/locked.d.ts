/** @implements {Tabs} */
export declare class LockedTabs implements Tabs {
    #private;
    /**
     * @param {import("./store.js").Locks} locks
     * @param {AbortSignal} closed when this tab gives its names up
     */
    constructor(locks: import("./store.js").Locks, closed: AbortSignal);
    /** Waits for a name, and holds it from then on. @param {string} tab @returns {Promise<void>} */
    hold(tab: string): Promise<void>;
    /**
     * Takes over tabs that are gone.
     * @param {string[]} tabs
     * @param {(tab: string) => void} taken called for each of them
     * @returns {Promise<void>} when those that can be had now have been taken
     */
    take(tabs: string[], taken: (tab: string) => void): Promise<void>;
}
export type Tabs = {
    hold: (tab: string) => Promise<void>;
    take: (tabs: string[], taken: (tab: string) => void, wait: boolean) => Promise<void>;
};
