import { RoomlogError } from "./error.js";
export type Append = import("./types.js").Append;
export type Store = {
    /**
     * what was left, oldest first: it is this
     * store's from now on; `later` is for what is found after that
     */
    load: (later: (appends: Append[]) => void) => Promise<Append[]>;
    put: (append: Append) => void;
    remove: (append: Append) => void;
    /**
     * another store may have from now on what is left in this one
     */
    close?: () => void;
};
export type KeyValues = {
    length: number;
    key: (at: number) => string | null;
    getItem: (key: string) => string | null;
    setItem: (key: string, value: string) => void;
    removeItem: (key: string) => void;
};
export type Locks = {
    request: (name: string, held: () => Promise<unknown>) => Promise<unknown>;
    query: () => Promise<{
        held?: {
            name?: string;
        }[];
        pending?: {
            name?: string;
        }[];
    }>;
};
/** Keeps nothing. @implements {Store} */
export declare class NoStore implements Store {
    load(): Promise<never[]>;
    put(): void;
    remove(): void;
}
/**
 * A store in use. It may be full, blocked or the program's own, so whatever it does is caught here: appends are sent without it
 * all the same, and the program is told. Keeping and reading fail for different reasons; each is reported once, keeping again
 * after it has worked in between.
 */
export declare class GuardedStore {
    #private;
    /** @param {Store} store @param {(error: RoomlogError) => void} tell */
    constructor(store: Store, tell: (error: RoomlogError) => void);
    /** What an earlier client kept, at first and later; what is no append is left out. @param {(kept: Append[]) => void} take */
    load(take: (kept: Append[]) => void): Promise<void>;
    /** @param {Append} append */
    put(append: Append): void;
    /** @param {Append} append */
    remove(append: Append): void;
    close(): void;
}
/** The store of this browser; null where there is none, or where it may not be used. @param {string} url of the server */
export declare function browserStore(url: string): BrowserStore | null;
/** Keeps appends in a browser's localStorage. @implements {Store} */
export declare class BrowserStore implements Store {
    #private;
    /**
     * @param {string} url of the server
     * @param {KeyValues} [storage]
     * @param {Locks | undefined} [locks] a plain-http page has none
     */
    constructor(url: string, storage?: KeyValues, locks?: Locks | undefined);
    /** @param {(appends: Append[]) => void} [later] @returns {Promise<Append[]>} */
    load(later?: (appends: Append[]) => void): Promise<Append[]>;
    /** @param {Append} append @throws when there is no room */
    put(append: Append): void;
    /** @param {Append} append */
    remove(append: Append): void;
    close(): void;
}
export type Line = {
    append: Append;
    key: string;
    n: number;
};
