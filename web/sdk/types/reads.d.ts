export type Entry = import("./types.js").Entry;
export type ErrorFrame = import("./types.js").ErrorFrame;
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").ErrorFrame} ErrorFrame */
/** Reads without an answer, at most. */
export declare const READS = 32;
export type Read = {
    room: string;
    /**
     * `upto` null: before what is
     * held, which is not known yet
     */
    members: {
        count: number;
        upto: number | null;
    } | {
        after: number;
        count?: number;
    };
    /**
     * when to ask; Infinity while it is asked, or not known what
     */
    due: number;
    done: (error: ErrorFrame | null, entries: Entry[]) => void;
};
/**
 * @typedef {object} Read
 * @property {string} room
 * @property {{count: number, upto: number | null} | {after: number, count?: number}} members `upto` null: before what is
 *   held, which is not known yet
 * @property {number} due when to ask; Infinity while it is asked, or not known what
 * @property {(error: ErrorFrame | null, entries: Entry[]) => void} done
 */
export declare class Reads {
    #private;
    /**
     * Takes a read, unless there are too many.
     * @param {number} req
     * @param {Read} read
     */
    add(req: number, read: Read): void;
    /**
     * What is held of a room begins at this slot: reads of what precedes it can be asked.
     * @param {string} room
     * @param {number | null} first null: that is not known yet
     * @param {number} now
     */
    begin(room: string, first: number | null, now: number): void;
    /** The room has no first reply. @param {ErrorFrame} error @param {string} room */
    endUnbegun(error: ErrorFrame, room: string): void;
    /** When there is something to ask. */
    get due(): number;
    /** What is to be asked now, which counts as asked from then on. @param {number} now @returns {[number, Read] | undefined} */
    next(now: number): [number, Read] | undefined;
    /** All are to be asked again: the connection is gone. @param {number} now */
    disconnected(now: number): void;
    /** The answer to this mark is here. @param {number} req */
    answered(req: number): Read | undefined;
    /**
     * @param {number} req
     * @param {ErrorFrame} error
     * @param {number} again when to ask again, if that can help
     * @param {number} latest the latest slot that the room was seen to have: a later one may never come
     */
    refused(req: number, error: ErrorFrame, again: number, latest: number): void;
    /** The login is refused, so that all reads have this for an answer; null: another login is tried. @param {ErrorFrame | null} error */
    loginRefused(error: ErrorFrame | null): void;
    /** Reads, of one room or of all, have this for an answer. @param {ErrorFrame} error @param {string} [room] */
    end(error: ErrorFrame, room?: string): void;
}
