/**
 * Returns a new unique id.
 * @param {number} [now] ms since the Unix epoch
 */
export declare function newId(now?: number): string;
