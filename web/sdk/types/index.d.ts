import { Log } from "./log.js";
export { RoomlogError } from "./error.js";
export { Fold, emojiOf, isLine } from "./fold.js";
export { Log } from "./log.js";
export { Room } from "./room.js";
export { BrowserStore, NoStore } from "./store.js";
export type Append = import("./types.js").Append;
export type AppendOptions = import("./room.js").AppendOptions;
export type Entry = import("./types.js").Entry;
export type Folded = import("./fold.js").Folded;
export type Options = import("./log.js").Options;
export type Outcome = import("./outbox.js").Outcome;
export type Status = import("./connection.js").Status;
export type Store = import("./store.js").Store;
export type Who = import("./login.js").Who;
/** @typedef {import("./types.js").Append} Append */
/** @typedef {import("./room.js").AppendOptions} AppendOptions */
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./fold.js").Folded} Folded */
/** @typedef {import("./log.js").Options} Options */
/** @typedef {import("./outbox.js").Outcome} Outcome */
/** @typedef {import("./connection.js").Status} Status */
/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./login.js").Who} Who */
/**
 * Creates a client, which connects at once and reconnects until `close`.
 * @param {string} url the server's address, like http://127.0.0.1:7400; in a page, also one relative to the page
 * @param {import("./log.js").Options} options
 * @returns {Log}
 * @throws {TypeError} if `url` is not the address of a server, or if there is no WebSocket
 */
export declare function connect(url: string, options: import("./log.js").Options): Log;
