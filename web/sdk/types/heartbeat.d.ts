/** @implements {Tabs} */
export declare class HeartbeatTabs implements Tabs {
    #private;
    /**
     * @param {import("./store.js").KeyValues} storage
     * @param {AbortSignal} closed aborted when this tab releases its names
     */
    constructor(storage: import("./store.js").KeyValues, closed: AbortSignal);
    /** Adds a name of this tab. @param {string} tab */
    hold(tab: string): Promise<void>;
    /**
     * Takes over the names of closed tabs.
     * @param {string[]} tabs
     * @param {(tab: string) => void} taken called for each of them
     * @param {boolean} wait whether to ask tabs with a fresh heartbeat too, and to take over those that do not answer
     */
    take(tabs: string[], taken: (tab: string) => void, wait: boolean): Promise<void>;
}
export type Tabs = import("./locked.js").Tabs;
/** @typedef {import("./locked.js").Tabs} Tabs */
