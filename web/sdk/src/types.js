// The shapes of the wire, by docs/PROTOCOL.md. Nothing here runs.

/**
 * An entry of a room.
 * @typedef {object} Entry
 * @property {number} slot
 * @property {string} author
 * @property {string} id
 * @property {string} [body] absent when redacted
 * @property {number} committed_at ms since the Unix epoch
 * @property {number} [sent_at] ms since the Unix epoch, by the author's clock
 * @property {string} [kind] absent: `text`
 * @property {number} [ref] a slot
 * @property {string} [meta]
 * @property {boolean} [redacted]
 * @property {string} [body_sha256]
 * @property {string} [meta_sha256]
 */

/**
 * What an author wants to be appended.
 * @typedef {object} Append
 * @property {string} room
 * @property {string} id
 * @property {string} body
 * @property {string} [author] whose it is, where that is not the connection's
 * @property {number} [after] the last slot the author had
 * @property {string} [log] the name of the log that `after`, `ref` and `expect` are about; not sent
 * @property {number} [expect]
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
 * What the server lets a client do, from `hello`.
 * @typedef {object} Limits
 * @property {number} body_bytes the longest body, in bytes of UTF-8
 * @property {number} author_bytes the longest author, in bytes of UTF-8
 * @property {number} meta_bytes the longest meta, in bytes of UTF-8
 * @property {number} frame_bytes
 * @property {number} page_entries
 * @property {number} append_ms
 * @property {number} appends_in_flight
 * @property {number} [rooms_per_connection]
 */

/**
 * What a session has for those who listen.
 * @typedef {{type: "entries", room: string, entries: Entry[]}
 *   | {type: "gap", room: string}
 *   | {type: "reset", room: string, why: "new_log" | "diverged"}
 *   | {type: "error", room: string | null, error: ErrorFrame}
 *   | {type: "heads", rooms: Record<string, number>}
 *   | {type: "settled", outcome: import("./outbox.js").Outcome}} Delivery
 */

export {};
