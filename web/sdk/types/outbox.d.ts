export type Append = import("./types.js").Append;
export type Appended = import("./types.js").Appended;
export type ErrorFrame = import("./types.js").ErrorFrame;
export type Limits = import("./types.js").Limits;
export type Item = {
    append: Append;
    /**
     * the one its slots are of; null: the first one that is met
     */
    log: string | null;
    seq: number | null;
    /**
     * how often it was refused in a way that sending again does not explain
     */
    puzzles: number;
    /**
     * it was refused, and is to be sent again
     */
    again: boolean;
};
export type Queue = {
    items: Item[];
    nextSeq: number;
    /**
     * nothing is sent before
     */
    pauseUntil: number;
};
export type Outcome = {
    append: Append;
    appended: Appended;
} | {
    append: Append;
    error: ErrorFrame;
};
/**
 * An append that is not answered yet.
 * @typedef {object} Item
 * @property {Append} append
 * @property {string | null} log the one its slots are of; null: the first one that is met
 * @property {number | null} seq
 * @property {number} puzzles how often it was refused in a way that sending again does not explain
 * @property {boolean} again it was refused, and is to be sent again
 */
/**
 * One room's appends: those that were numbered on this connection come first, in ascending order.
 * @typedef {object} Queue
 * @property {Item[]} items
 * @property {number} nextSeq
 * @property {number} pauseUntil nothing is sent before
 */
/**
 * What became of an append.
 * @typedef {{append: Append, appended: Appended} | {append: Append, error: ErrorFrame}} Outcome
 */
export declare class Outbox {
    #private;
    get length(): number;
    /** What has no outcome in a room, in order. @param {string} room @returns {Append[]} */
    appendsTo(room: string): Append[];
    /** Whether all is answered that this connection can take, and the rest needs another one. */
    get isExhausted(): boolean;
    /** When the oldest unanswered frame was sent. @returns {number | undefined} */
    get oldestUnanswered(): number | undefined;
    /**
     * Takes an append. How many there may be is for the caller to bound.
     * @param {Append} append
     * @param {{kept?: boolean}} [options] whether an earlier client kept it: it may be about another log
     */
    push(append: Append, { kept }?: {
        kept?: boolean;
    }): void;
    /**
     * The next frame to send, when there is one and the limits allow it.
     * @param {number} now
     * @param {Limits} limits
     * @param {ReadonlyMap<string, unknown>} [followed] rooms that the connection follows: they count as well
     * @returns {(Omit<Append, "log"> & {type: "append", seq: number, req: number}) | null}
     */
    nextFrame(now: number, limits: Limits, followed?: ReadonlyMap<string, unknown>): (Omit<Append, "log"> & {
        type: "append";
        seq: number;
        req: number;
    }) | null;
    /** When to look for a next frame again, although nothing came in. @returns {number} */
    nextWake(): number;
    /**
     * Takes `appended`. A second answer to one append is no news.
     * @param {Appended} appended
     * @returns {string | null} why the connection is of no more use
     */
    appended(appended: Appended): string | null;
    /**
     * Takes an `error` that answers an append.
     * @param {ErrorFrame} error
     * @param {number} now
     * @param {number} unit from 0 to 1
     * @returns {string | null} why the connection is of no more use: make another one
     */
    refused(error: ErrorFrame, now: number, unit: number): string | null;
    /** The connection is gone. Nothing is forgotten; all without an outcome is sent again, in order. */
    disconnected(): void;
    /**
     * No server takes anything from this author: appends of this name are refused. Others wait for their own login.
     * @param {{author: string, error: ErrorFrame} | null} refused null: another login is tried
     */
    authorRefused(refused: {
        author: string;
        error: ErrorFrame;
    } | null): void;
    /**
     * The server has this log. Slots of another one mean nothing in it: `after` is dropped, and what refers to a slot by
     * `ref` or `expect` goes back to its author.
     * @param {string} log
     */
    connected(log: string): void;
    /** What was held of a room is not what the server has: slots of it that appends name mean nothing any more. @param {string} room */
    diverged(room: string): void;
    /** The next append that has its outcome. @returns {Outcome | undefined} */
    nextSettled(): Outcome | undefined;
}
