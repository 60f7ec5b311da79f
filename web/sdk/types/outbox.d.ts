export type Append = import("./types.js").Append;
export type Appended = import("./types.js").Appended;
export type ErrorFrame = import("./types.js").ErrorFrame;
export type Limits = import("./types.js").Limits;
export type Item = {
    append: Append;
    /**
     * the log that its slots belong to; null: the first one that the client connects to
     */
    log: string | null;
    /**
     * null if not sent on this connection
     */
    seq: number | null;
    /**
     * how many inconsistent `out_of_order` errors it got
     */
    mismatches: number;
    /**
     * whether to send it again, after an error
     */
    again: boolean;
};
export type Queue = {
    items: Item[];
    nextSeq: number;
    /**
     * when the room may send again
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
 * An append without an outcome.
 * @typedef {object} Item
 * @property {Append} append
 * @property {string | null} log the log that its slots belong to; null: the first one that the client connects to
 * @property {number | null} seq null if not sent on this connection
 * @property {number} mismatches how many inconsistent `out_of_order` errors it got
 * @property {boolean} again whether to send it again, after an error
 */
/**
 * The appends of a room: those sent on this connection first, by `seq`.
 * @typedef {object} Queue
 * @property {Item[]} items
 * @property {number} nextSeq
 * @property {number} pauseUntil when the room may send again
 */
/**
 * The outcome of an append.
 * @typedef {{append: Append, appended: Appended} | {append: Append, error: ErrorFrame}} Outcome
 */
export declare class Outbox {
    #private;
    get length(): number;
    /** The appends of a room without an outcome, in order. @param {string} room @returns {Append[]} */
    appendsTo(room: string): Append[];
    /** Whether everything that this connection can send is answered, and the rest needs another connection. */
    get isExhausted(): boolean;
    /** When the oldest unanswered frame was sent; undefined if there is none. @returns {number | undefined} */
    get oldestUnanswered(): number | undefined;
    /**
     * Adds an append. The caller limits how many there are.
     * @param {Append} append
     * @param {{stored?: boolean}} [options] `stored`: an earlier client stored it, so its slots may belong to another log
     */
    push(append: Append, { stored }?: {
        stored?: boolean;
    }): void;
    /**
     * Takes the next frame to send; null if there is none or the limits do not allow it.
     * @param {number} now
     * @param {Limits} limits
     * @param {ReadonlyMap<string, unknown>} [followed] rooms that the connection follows, which count against its limit too
     * @returns {(Omit<Append, "log"> & {type: "append", seq: number, req: number}) | null}
     */
    nextFrame(now: number, limits: Limits, followed?: ReadonlyMap<string, unknown>): (Omit<Append, "log"> & {
        type: "append";
        seq: number;
        req: number;
    }) | null;
    /** When to call `nextFrame` again if nothing else happens. @returns {number} */
    nextWake(): number;
    /**
     * Handles `appended`. A second answer to the same append is ignored.
     * @param {Appended} appended
     * @returns {string | null} why to drop the connection, if it must be
     */
    appended(appended: Appended): string | null;
    /**
     * Handles an `error` that answers an append.
     * @param {ErrorFrame} error
     * @param {number} now
     * @param {number} random from 0 to 1
     * @returns {string | null} why to drop the connection, if it must be
     */
    refused(error: ErrorFrame, now: number, random: number): string | null;
    /** The connection was lost: all appends are sent again on the next one, in order. */
    disconnected(): void;
    /**
     * Rejects all appends of an author whose name is invalid, now and later. Appends of other authors stay queued.
     * @param {{author: string, error: ErrorFrame} | null} refused null: another login is in use
     */
    authorRefused(refused: {
        author: string;
        error: ErrorFrame;
    } | null): void;
    /**
     * The server has this log. Of appends whose slots belong to another log, `after` is dropped; those with `ref` or `expect`
     * are rejected with `new_log`.
     * @param {string} log
     */
    connected(log: string): void;
    /** The server's log of a room differs from the one that was held: slots in appends to it are invalid. @param {string} room */
    diverged(room: string): void;
    /** Takes the next outcome. @returns {Outcome | undefined} */
    nextSettled(): Outcome | undefined;
}
