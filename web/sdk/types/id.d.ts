/**
 * A new id, different from every other one.
 * @param {number} [now] ms since the Unix epoch
 */
export declare function newId(now?: number): string;
