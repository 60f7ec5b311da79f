export type Entry = import("./types.js").Entry;
export type ErrorFrame = import("./types.js").ErrorFrame;
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").ErrorFrame} ErrorFrame */
/** The limit of reads without an answer; further ones are rejected with `busy`. */
export declare const MAX_READS = 32;
export type Read = {
    room: string;
    /**
     * of the request; `upto` is null
     * while the first slot that is held is unknown
     */
    members: {
        count: number;
        upto: number | null;
    } | {
        after: number;
        count?: number;
    };
    /**
     * when to send the request; Infinity while it is unanswered, or `upto` is null
     */
    due: number;
    done: (error: ErrorFrame | null, entries: Entry[]) => void;
};
/**
 * @typedef {object} Read
 * @property {string} room
 * @property {{count: number, upto: number | null} | {after: number, count?: number}} members of the request; `upto` is null
 *   while the first slot that is held is unknown
 * @property {number} due when to send the request; Infinity while it is unanswered, or `upto` is null
 * @property {(error: ErrorFrame | null, entries: Entry[]) => void} done
 */
export declare class Reads {
    #private;
    /**
     * Adds a read, unless there are too many.
     * @param {number} req
     * @param {Read} read
     */
    add(req: number, read: Read): void;
    /**
     * The first slot that is held of a room is known, so reads of the slots before it can be sent.
     * @param {string} room
     * @param {number | null} first null: still unknown
     * @param {number} now
     */
    setFirst(room: string, first: number | null, now: number): void;
    /** Rejects reads of a room whose first slot stays unknown. @param {ErrorFrame} error @param {string} room */
    rejectWithoutUpto(error: ErrorFrame, room: string): void;
    /** When the next request is due. */
    get due(): number;
    /** Takes the next request that is due. @param {number} now @returns {[number, Read] | undefined} */
    next(now: number): [number, Read] | undefined;
    /** The connection was lost: all requests are sent again. @param {number} now */
    disconnected(now: number): void;
    /** Removes and returns the read that was answered. @param {number} req */
    answered(req: number): Read | undefined;
    /**
     * Handles an error: schedules a retry or rejects the read.
     * @param {number} req
     * @param {ErrorFrame} error
     * @param {number} again when to retry
     * @param {number} latest the latest known slot of the room: slots after it may never exist
     */
    refused(req: number, error: ErrorFrame, again: number, latest: number): void;
    /** The login was refused: rejects all reads, now and later; null: another login is in use. @param {ErrorFrame | null} error */
    loginRefused(error: ErrorFrame | null): void;
    /** Rejects the reads of a room, or all of them. @param {ErrorFrame} error @param {string} [room] */
    end(error: ErrorFrame, room?: string): void;
}
