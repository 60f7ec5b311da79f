export type Entry = import("./types.js").Entry;
export type Reply = import("./types.js").Reply;
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").Reply} Reply */
/** A client that is more than this many slots behind joins at the newest entries and leaves a gap. */
export declare const FAR_BEHIND = 5000;
/** How many entries the reply to the first `join` has, by default. */
export declare const JOIN_COUNT = 50;
/** How many slots an erase entry covers: those that end with its `ref`. */
export declare const ERASE_SLOTS = 4096;
export type Removal = {
    first: number;
    last: number;
    author: string | null;
};
/**
 * The entries in a span of slots, of one author or, if that is null, of all.
 * @typedef {{first: number, last: number, author: string | null}} Removal
 */
/**
 * The entries whose texts are removed, according to an entry: of a redact or erase entry those that it is about, of one
 * that comes without its text itself; null for any other.
 * @param {Entry} entry
 * @returns {Removal | null}
 */
export declare function removalOf({ slot, kind, ref, body, redacted }: Entry): Removal | null;
/** All removals of a room that have come. */
export declare class Removals {
    #private;
    /** @param {Removal} removal */
    add({ first, last, author }: Removal): void;
    /** Whether one of them removes the text of an entry. @param {{slot: number, author: string, kind?: string}} entry */
    covers({ slot, author, kind }: {
        slot: number;
        author: string;
        kind?: string;
    }): boolean;
    /** Drops those that are only about entries outside of these slots. @param {number} first @param {number} last */
    trim(first: number, last: number): void;
    clear(): void;
}
/**
 * The index of the first item of an ascending list that is not before a place; the list's length if all are.
 * @template T
 * @param {T[]} items
 * @param {(item: T) => boolean} isBefore
 */
export declare function indexFrom<T>(items: T[], isBefore: (item: T) => boolean): number;
export type Step = {
    /**
     * those that were not held before, in slot order
     */
    entries: Entry[];
    /**
     * entries after the last slot are missing: send `update()`
     */
    missing?: boolean;
    /**
     * more than FAR_BEHIND are missing: call `leap()`, then join again
     */
    far?: boolean;
    /**
     * the server's log differs from the one that was held
     */
    diverged?: boolean;
};
/**
 * The result of a frame.
 * @typedef {object} Step
 * @property {Entry[]} entries those that were not held before, in slot order
 * @property {boolean} [missing] entries after the last slot are missing: send `update()`
 * @property {boolean} [far] more than FAR_BEHIND are missing: call `leap()`, then join again
 * @property {boolean} [diverged] the server's log differs from the one that was held
 */
/** The entries that a client holds of a room. */
export declare class Timeline {
    #private;
    room: string;
    count: number;
    /**
     * @param {string} room
     * @param {number} [count] how many of the newest entries to start with
     */
    constructor(room: string, count?: number);
    /** The last slot received: −1 if the room is empty, null before the first reply. */
    get last(): number | null;
    /** The first slot of the newest span; `last` + 1 if nothing is held, null before the first reply. */
    get first(): number | null;
    /** The latest slot of the room that is known; −1 if none is. */
    get latest(): number;
    /** The digest at `last`; null if unknown. */
    get digest(): string | null;
    /** The spans of slots that are held, ascending. @returns {{first: number, last: number}[]} */
    get spans(): {
        first: number;
        last: number;
    }[];
    /** The gaps between spans, ascending. */
    get gaps(): {
        first: number;
        last: number;
    }[];
    /** Returns the entry at a slot; undefined if it is not held. @param {number} slot @returns {Entry | undefined} */
    get(slot: number): Entry | undefined;
    /** Returns the span that contains a slot; undefined if it is not held. @param {number} slot */
    spanOf(slot: number): {
        first: number;
        last: number;
    } | undefined;
    /** The members of `join`, at first and after each lost connection. */
    join(): {
        count: number;
    } | {
        after: number;
    };
    /** The members of an `update` that reads what is missing at the end, if anything. */
    update(): {
        after: number;
    } | {
        after: number;
        digest: string;
    };
    /**
     * Handles the reply to `join`. Later entries come in acks.
     * @param {Reply} reply
     * @returns {Step}
     */
    joined(reply: Reply): Step;
    /** Makes the next join start at the newest entries, with a gap after those that are held. */
    leap(): void;
    /**
     * Handles the reply to `update()`, which may have a part of the missing entries only.
     * @param {Reply} reply
     * @returns {Step}
     */
    page(reply: Reply): Step;
    /**
     * Handles the entries of an `ack`.
     * @param {Entry[]} entries
     * @returns {Step}
     */
    ack(entries: Entry[]): Step;
    /**
     * Handles the reply to a read: `count` and `upto`, or `after` a slot in the middle.
     * @param {Reply} reply
     * @returns {Step}
     */
    fill(reply: Reply): Step;
    /**
     * Drops the entries outside of these slots. New entries still come: `last` and its digest stay.
     * @param {number} first
     * @param {number} last
     */
    trim(first: number, last: number): void;
    /** Drops everything, because the server has another log. The next join starts at the newest entries. */
    reset(): void;
}
