// Roomlog for browsers and Node: rooms that are durable, totally ordered logs.
//
// ```js
// import { connect } from "roomlog";
// const log = connect("http://127.0.0.1:7400", { author: "ada" });
// const room = log.room("general", { count: 50 });
// room.on("entries", entries => entries.forEach(({ slot, author, body }) => console.log(slot, author, body)));
// const { slot } = await room.append("hi");
// ```
//
// ```text
//  index ─ log ─ room          the public API
//          │
//          connection          one WebSocket, reconnects, timers
//          login               who it is, and fresh tokens
//          session             requests and followed rooms, without I/O
//          │
//          timeline · outbox   entries without gaps; appends in order, exactly once
//          digest · store      verification; appends that survive a reload
//
//  fold                        edits, reactions, redactions and erasures, for programs that show a room
// ```

import { Log } from "./log.js";

export { RoomlogError } from "./error.js";
export { Fold, emojiOf, isLine } from "./fold.js";
export { Log } from "./log.js";
export { Room } from "./room.js";
export { BrowserStore, NoStore } from "./store.js";

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
export function connect(url, options) {
  return new Log(url, options);
}
