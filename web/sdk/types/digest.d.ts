export type Entry = import("./types.js").Entry;
/**
 * D(−1): the digest of an empty room.
 * @param {string} room
 * @returns {string} lower-case hex
 */
export declare function start(room: string): string;
/**
 * D(k): the digest after an entry.
 * @param {string} before D(k−1)
 * @param {Entry} entry
 * @returns {string} lower-case hex
 */
export declare function after(before: string, entry: Entry): string;
/**
 * An entry as the server sends it after its redaction. Its digest stays the same.
 * @param {Entry} entry
 * @returns {Entry}
 */
export declare function redacted(entry: Entry): Entry;
/** @param {Uint8Array} bytes */
export declare function hex(bytes: Uint8Array): string;
