export type Append = import("./types.js").Append;
/**
 * Copies the members of an append that are present, and nothing else.
 * @param {any} value
 * @returns {Append}
 */
export declare function membersOf(value: any): Append;
/**
 * Checks an append.
 * @param {any} append
 * @returns {string | null} why it cannot be sent; null if it can
 */
export declare function problemOf(append: any): string | null;
