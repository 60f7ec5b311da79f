export type ErrorFrame = import("./types.js").ErrorFrame;
/** An error of the server or of this client. `message` is a sentence for people; programs check `code`. */
export declare class RoomlogError extends Error {
    /** A code of docs/PROTOCOL.md, "Errors", or `new_log`, `diverged`, `left`, `closed`, `not_stored` or `unreachable`. */
    code: string;
    /** Why it failed: `message` without what failed. */
    reason: string;
    /** With `id_reused`: the slot of the entry that has this id. @type {number | undefined} */
    slot: number | undefined;
    /** With `expect_failed`, `ahead` and `diverged`: the latest slot of the room. @type {number | undefined} */
    latest: number | undefined;
    /**
     * @param {ErrorFrame} frame
     * @param {string} [what] what failed, as the beginning of a sentence
     */
    constructor(frame: ErrorFrame, what?: string);
}
/** Makes a text safe to print: without control, invisible and bidirectional formatting characters, and not too long. @param {unknown} text */
export declare function plain(text: unknown): string;
/** A name in quotes, so that one that is empty or looks like prose is recognized in a sentence. @param {unknown} name */
export declare function quoted(name: unknown): string;
