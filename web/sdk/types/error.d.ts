export type ErrorFrame = import("./types.js").ErrorFrame;
/** A refusal by the server, or by this client. Its message is a sentence for people; programs look at `code`. */
export declare class RoomlogError extends Error {
    /** What kind: a code of docs/PROTOCOL.md, "Errors"; or `new_log`, `left`, `closed`, `not_stored`, `unreachable`. */
    code: string;
    /** Why, without what could not be done. */
    reason: string;
    /** The slot that the entry with this id has, of `id_reused`. @type {number | undefined} */
    slot: number | undefined;
    /** The latest slot, of `expect_failed`, `ahead` and `diverged`. @type {number | undefined} */
    latest: number | undefined;
    /**
     * @param {ErrorFrame} frame
     * @param {string} [what] what could not be done, as the beginning of a sentence
     */
    constructor(frame: ErrorFrame, what?: string);
}
/** Text of others that can be printed: without control characters, and without those that turn the direction of text. @param {unknown} text */
export declare function plain(text: unknown): string;
/** A name in a sentence: it may be empty, or look like a part of the sentence. @param {unknown} name */
export declare function quoted(name: unknown): string;
