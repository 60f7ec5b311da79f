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
//  index ─ log ─ room          what a program calls
//          │
//          connection          one socket, reconnects, the clock
//          session             no socket: what is asked, what is followed
//          │
//          timeline · outbox   no gap goes unseen; in order and exactly once
//          digest · store      agreement; appends over a reload
//
//  fold                        edits and reactions, for whoever shows a room
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

/**
 * Connects to a server, and stays connected until `close`.
 * @param {string} url like http://127.0.0.1:7400; in a page also a path of its own server
 * @param {import("./log.js").Options} options
 */
export function connect(url, options) {
  return new Log(url, options);
}
