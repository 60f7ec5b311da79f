// Types of the wire format, docs/PROTOCOL.md.

/**
 * An entry of a room.
 * @typedef {object} Entry
 * @property {number} slot its position in the room, from 0
 * @property {string} author
 * @property {string} id the author's id of the append
 * @property {string} [body] absent if redacted
 * @property {number} committed_at ms since the Unix epoch, by the server's clock
 * @property {number} [sent_at] ms since the Unix epoch, by the author's clock
 * @property {string} [kind] `text` if absent
 * @property {number} [ref] the slot that it is about
 * @property {string} [meta] a text for programs; absent if redacted
 * @property {string} [salt] what the server added to the hash of body and meta, in base64url; absent if redacted
 * @property {boolean} [redacted]
 * @property {string} [commitment] if redacted: the hash of salt, body and meta, in hex
 */

/**
 * An append.
 * @typedef {object} Append
 * @property {string} room
 * @property {string} id
 * @property {string} body
 * @property {string} [author] by default that of the connection
 * @property {number} [after] the last slot that the author had received
 * @property {string} [log] the name of the log that `after`, `ref` and `expect` belong to; not sent
 * @property {number} [expect] the slot that it must get
 * @property {string} [kind]
 * @property {number} [ref]
 * @property {string} [meta]
 * @property {number} [sent_at]
 */

/**
 * @typedef {object} Reply
 * @property {Entry[]} entries
 * @property {number} latest
 * @property {number} digest_at
 * @property {string} digest
 * @property {number} [req]
 */

/**
 * @typedef {object} Appended
 * @property {string} room
 * @property {string} id
 * @property {number} slot
 * @property {number} committed_at
 * @property {boolean} [repeat]
 * @property {number} [seq]
 * @property {number} [req]
 */

/**
 * @typedef {object} ErrorFrame
 * @property {string} code
 * @property {string} message
 * @property {string} [room]
 * @property {string} [id]
 * @property {number} [seq]
 * @property {number} [req]
 * @property {number} [slot]
 * @property {number} [latest]
 * @property {number} [retry_after_ms]
 */

/**
 * The server's limits, from `hello`.
 * @typedef {object} Limits
 * @property {number} body_bytes the longest body, in bytes of UTF-8
 * @property {number} author_bytes the longest author, in bytes of UTF-8
 * @property {number} meta_bytes the longest meta, in bytes of UTF-8
 * @property {number} frame_bytes the longest frame, in bytes of UTF-8
 * @property {number} page_entries the most entries of a reply
 * @property {number} append_ms how long the server may take to answer an append, in ms
 * @property {number} appends_in_flight the most unanswered appends of a connection
 * @property {number} [rooms_per_connection] the most rooms that a connection may follow or append to
 */

/**
 * What a session delivers to the client's listeners.
 * @typedef {{type: "entries", room: string, entries: Entry[]}
 *   | {type: "gap", room: string}
 *   | {type: "reset", room: string, why: "new_log" | "diverged"}
 *   | {type: "error", room: string | null, error: ErrorFrame}
 *   | {type: "heads", rooms: Record<string, number>}
 *   | {type: "settled", outcome: import("./outbox.js").Outcome}} Delivery
 */

export {};
