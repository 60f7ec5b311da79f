export type Append = import("./types.js").Append;
/**
 * The members that an append may have and that are there; no others.
 * @param {any} value
 * @returns {Append}
 */
export declare function membersOf(value: any): Append;
/**
 * Why this cannot be sent.
 * @param {any} append
 * @returns {string | null}
 */
export declare function problemOf(append: any): string | null;
