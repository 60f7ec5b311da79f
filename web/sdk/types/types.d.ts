export type Entry = {
    /**
     * its position in the room, from 0
     */
    slot: number;
    author: string;
    /**
     * the author's id of the append
     */
    id: string;
    /**
     * absent if redacted
     */
    body?: string;
    /**
     * ms since the Unix epoch, by the server's clock
     */
    committed_at: number;
    /**
     * ms since the Unix epoch, by the author's clock
     */
    sent_at?: number;
    /**
     * `text` if absent
     */
    kind?: string;
    /**
     * the slot that it is about
     */
    ref?: number;
    /**
     * a text for programs; absent if redacted
     */
    meta?: string;
    /**
     * what the server added to the hash of body and meta, in base64url; absent if redacted
     */
    salt?: string;
    redacted?: boolean;
    /**
     * if redacted: the hash of salt, body and meta, in hex
     */
    commitment?: string;
};
export type Append = {
    room: string;
    id: string;
    body: string;
    /**
     * by default that of the connection
     */
    author?: string;
    /**
     * the last slot that the author had received
     */
    after?: number;
    /**
     * the name of the log that `after`, `ref` and `expect` belong to; not sent
     */
    log?: string;
    /**
     * the slot that it must get
     */
    expect?: number;
    kind?: string;
    ref?: number;
    meta?: string;
    sent_at?: number;
};
export type Reply = {
    entries: Entry[];
    latest: number;
    digest_at: number;
    digest: string;
    req?: number;
};
export type Appended = {
    room: string;
    id: string;
    slot: number;
    committed_at: number;
    repeat?: boolean;
    seq?: number;
    req?: number;
};
export type ErrorFrame = {
    code: string;
    message: string;
    room?: string;
    id?: string;
    seq?: number;
    req?: number;
    slot?: number;
    latest?: number;
    retry_after_ms?: number;
};
export type Limits = {
    /**
     * the longest body, in bytes of UTF-8
     */
    body_bytes: number;
    /**
     * the longest author, in bytes of UTF-8
     */
    author_bytes: number;
    /**
     * the longest meta, in bytes of UTF-8
     */
    meta_bytes: number;
    /**
     * the longest frame, in bytes of UTF-8
     */
    frame_bytes: number;
    /**
     * the most entries of a reply
     */
    page_entries: number;
    /**
     * how long the server may take to answer an append, in ms
     */
    append_ms: number;
    /**
     * the most unanswered appends of a connection
     */
    appends_in_flight: number;
    /**
     * the most rooms that a connection may follow or append to
     */
    rooms_per_connection?: number;
};
export type Delivery = {
    type: "entries";
    room: string;
    entries: Entry[];
} | {
    type: "gap";
    room: string;
} | {
    type: "reset";
    room: string;
    why: "new_log" | "diverged";
} | {
    type: "error";
    room: string | null;
    error: ErrorFrame;
} | {
    type: "heads";
    rooms: Record<string, number>;
} | {
    type: "settled";
    outcome: import("./outbox.js").Outcome;
};
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
