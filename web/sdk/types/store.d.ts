import { RoomlogError } from "./error.js";
export type Append = import("./types.js").Append;
export type Store = {
    /**
     * returns the stored appends, oldest first, which
     * now belong to this client; call `later` with those that are found afterwards
     */
    load: (later: (appends: Append[]) => void) => Promise<Append[]>;
    /**
     * adds an append
     */
    put: (append: Append) => void;
    /**
     * removes an append, which has its outcome
     */
    remove: (append: Append) => void;
    /**
     * releases the appends that are left to other clients
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
/** A store that keeps nothing. @implements {Store} */
export declare class NoStore implements Store {
    load(): Promise<never[]>;
    put(): void;
    remove(): void;
}
/**
 * Wraps a store, which may be full, blocked or the program's own, and reports its failures instead of throwing. A failure to
 * load and a failure to keep are each reported once; the latter again after it has worked in between.
 */
export declare class GuardedStore {
    #private;
    /** @param {Store} store @param {(error: RoomlogError) => void} onError */
    constructor(store: Store, onError: (error: RoomlogError) => void);
    /** Loads the stored appends, at first and later, without invalid ones. @param {(kept: Append[]) => void} take */
    load(take: (kept: Append[]) => void): Promise<void>;
    /** @param {Append} append */
    put(append: Append): void;
    /** @param {Append} append */
    remove(append: Append): void;
    close(): void;
}
/** Returns a store in localStorage; null if there is none or it is blocked. @param {string} url of the server */
export declare function browserStore(url: string): BrowserStore | null;
/** A store in a browser's localStorage, shared by its tabs; an append of a closed tab goes to another one. @implements {Store} */
export declare class BrowserStore implements Store {
    #private;
    /**
     * @param {string} url the address of the server's WebSocket
     * @param {KeyValues} [storage]
     * @param {Locks | undefined} [locks] undefined in pages over plain http
     */
    constructor(url: string, storage?: KeyValues, locks?: Locks | undefined);
    /** @param {(appends: Append[]) => void} [later] @returns {Promise<Append[]>} */
    load(later?: (appends: Append[]) => void): Promise<Append[]>;
    /** @param {Append} append @throws {DOMException} if the storage is full */
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
