export type Entry = import("./types.js").Entry;
export type Reply = import("./types.js").Reply;
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").Reply} Reply */
/** Further behind than so many slots, a client joins at the newest and keeps the hole as a gap. */
export declare const FAR_BEHIND = 5000;
/** Entries of the reply to a first join. */
export declare const JOIN_COUNT = 50;
export type Step = {
    /**
     * those that were not held before, in slot order
     */
    entries: Entry[];
    /**
     * something is missing behind the last slot: ask with `update()`
     */
    missing?: boolean;
    /**
     * it is more than FAR_BEHIND: `leap()`, then join again
     */
    far?: boolean;
    /**
     * the server's log is not the one that was held
     */
    diverged?: boolean;
};
/**
 * What a frame brought.
 * @typedef {object} Step
 * @property {Entry[]} entries those that were not held before, in slot order
 * @property {boolean} [missing] something is missing behind the last slot: ask with `update()`
 * @property {boolean} [far] it is more than FAR_BEHIND: `leap()`, then join again
 * @property {boolean} [diverged] the server's log is not the one that was held
 */
export declare class Timeline {
    #private;
    room: string;
    count: number;
    /**
     * @param {string} room
     * @param {number} [count] how many of the newest to begin with
     */
    constructor(room: string, count?: number);
    /** The last slot of the following, −1 on an empty log, null before the first reply. */
    get last(): number | null;
    /** The first slot of what is held up to the end; the one behind `last` when nothing is, null before the first reply. */
    get first(): number | null;
    /** The latest slot that the server was heard to have. */
    get latest(): number;
    /** D(last). */
    get digest(): string | null;
    /** What is held, ascending: first and last slots. @returns {{first: number, last: number}[]} */
    get spans(): {
        first: number;
        last: number;
    }[];
    /** The holes between what is held: first and last slots that are missing. */
    get gaps(): {
        first: number;
        last: number;
    }[];
    /** @param {number} slot @returns {Entry | undefined} */
    get(slot: number): Entry | undefined;
    /** The span that holds a slot, as far as it reaches. @param {number} slot */
    spanOf(slot: number): {
        first: number;
        last: number;
    } | undefined;
    /** The members of a `join`, the first time and after each loss. */
    join(): {
        count: number;
    } | {
        after: number;
    };
    /** The members of an `update` that fills what is missing at the end, or sees that nothing is. */
    update(): {
        after: number;
    } | {
        after: number;
        digest: string;
    };
    /**
     * The reply to `join`: what is above it comes in acks.
     * @param {Reply} reply
     * @returns {Step}
     */
    joined(reply: Reply): Step;
    /** The next join is one at the newest; what is held stays, and what lies between is a gap. */
    leap(): void;
    /**
     * The reply to `update()`: there is a next page until it reaches the latest slot.
     * @param {Reply} reply
     * @returns {Step}
     */
    page(reply: Reply): Step;
    /**
     * The entries of an `ack`.
     * @param {Entry[]} entries
     * @returns {Step}
     */
    ack(entries: Entry[]): Step;
    /**
     * A reply that was asked for by slots (`count` and `upto`), or by `after` a slot in the middle.
     * @param {Reply} reply
     * @returns {Step}
     */
    fill(reply: Reply): Step;
    /**
     * Lets go of what lies outside these slots. What follows goes on: `last` and its digest stay.
     * @param {number} first
     * @param {number} last
     */
    trim(first: number, last: number): void;
    /** Lets go of all: the server has another log. The next join is one at the newest. */
    reset(): void;
}
