/** @implements {Tabs} */
export declare class SignedTabs implements Tabs {
    #private;
    /**
     * @param {import("./store.js").KeyValues} storage
     * @param {AbortSignal} closed when this tab gives its names up
     */
    constructor(storage: import("./store.js").KeyValues, closed: AbortSignal);
    /** Makes a name this tab's. @param {string} tab */
    hold(tab: string): Promise<void>;
    /**
     * Takes over tabs that are gone.
     * @param {string[]} tabs
     * @param {(tab: string) => void} taken called for each of them
     * @param {boolean} wait for answers of those that may still be there: those that do not answer are taken later
     */
    take(tabs: string[], taken: (tab: string) => void, wait: boolean): Promise<void>;
}
export type Tabs = import("./locked.js").Tabs;
/** @typedef {import("./locked.js").Tabs} Tabs */
