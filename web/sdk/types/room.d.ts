import { Emitter } from "./events.js";
export type Entry = import("./types.js").Entry;
export type Append = import("./types.js").Append;
export type RoomEvents = {
    /**
     * the next entries, in slot order: first those of the first reply, then live ones. The first
     * reply, and the first after a `reset`, always emits this event, with an empty array if the room is empty
     */
    entries: Entry[];
    /**
     * slots that were skipped because there are more than 5,000; `before` reads them
     */
    gap: {
        first: number;
        last: number;
    };
    /**
     * drop what you hold of the room: the server has another log, or its digest differs;
     * the entries that it has follow
     */
    reset: "new_log" | "diverged";
    /**
     * the new value of `pending`
     */
    pending: Append[];
    /**
     * the room cannot be followed, or, with `ahead`, the server has had fewer
     * entries of it than this client for a minute
     */
    error: import("./error.js").RoomlogError;
};
export type AppendOptions = {
    kind?: string;
    ref?: number;
    meta?: string;
    expect?: number;
    id?: string;
    sent_at?: number;
};
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").Append} Append */
/**
 * @typedef {object} RoomEvents
 * @property {Entry[]} entries the next entries, in slot order: first those of the first reply, then live ones. The first
 *   reply, and the first after a `reset`, always emits this event, with an empty array if the room is empty
 * @property {{first: number, last: number}} gap slots that were skipped because there are more than 5,000; `before` reads them
 * @property {"new_log" | "diverged"} reset drop what you hold of the room: the server has another log, or its digest differs;
 *   the entries that it has follow
 * @property {Append[]} pending the new value of `pending`
 * @property {import("./error.js").RoomlogError} error the room cannot be followed, or, with `ahead`, the server has had fewer
 *   entries of it than this client for a minute
 */
/**
 * Optional members of an append: `kind` (`text` by default); `ref`, a slot that it is about; `meta`, a text for programs;
 * `expect`, the slot that it must get; `id`, a unique id by default; `sent_at`, now by default, in ms since the Unix epoch.
 * @typedef {{kind?: string, ref?: number, meta?: string, expect?: number, id?: string, sent_at?: number}} AppendOptions
 */
/** A room that is followed, returned by `Log.room`. @extends {Emitter<RoomEvents>} */
export declare class Room extends Emitter<RoomEvents> {
    #private;
    /** The name of the room. */
    name: string;
    /** The entries that are held. */
    timeline: import("./timeline.js").Timeline;
    /**
     * Use `Log.room`.
     * @param {string} name
     * @param {import("./timeline.js").Timeline} timeline
     * @param {import("./log.js").RoomsOwner} owner
     */
    constructor(name: string, timeline: import("./timeline.js").Timeline, owner: import("./log.js").RoomsOwner);
    /** The last slot received: −1 if the room is empty, null before the first reply. */
    get last(): number | null;
    /** Appends to this room without an outcome, in order. @returns {Append[]} */
    get pending(): Append[];
    /**
     * Appends an entry. It is sent until it is in the log or rejected for good, over reconnects and, with a store, reloads.
     * @param {string} body at most `log.limits.body_bytes` bytes of UTF-8
     * @param {AppendOptions} [options]
     * @returns {Promise<{slot: number, repeat?: boolean}>} `repeat`: it was in the log already. Rejected with a `RoomlogError`:
     *   `bad_message` (a member is invalid), `too_large`, `busy` (1,000 appends are pending), `new_log` or `diverged` (its slots
     *   are of another log), `closed`, or an error of the server, like `id_reused` or `expect_failed`
     */
    append(body: string, options?: AppendOptions): Promise<{
        slot: number;
        repeat?: boolean;
    }>;
    /**
     * Reads the entries before a slot.
     * @param {number} [count] at most; the server's limit is `log.limits.page_entries`
     * @param {number} [slot] by default the first slot of the newest span, once the first reply has come
     * @returns {Promise<Entry[]>} in slot order, without those that were held already; empty at slot 0. Rejected with a
     *   `RoomlogError`: `busy` (32 reads are pending), `new_log`, `diverged`, `left`, `closed`, or an error of the server
     */
    before(count?: number, slot?: number): Promise<Entry[]>;
    /**
     * Reads the entries after a slot, at most `log.limits.page_entries`.
     * @param {number} slot
     * @returns {Promise<Entry[]>} as `before`; also rejected with `ahead` if the room does not reach the slot
     */
    behind(slot: number): Promise<Entry[]>;
    /**
     * Reads the entries around a slot, half of them before it.
     * @param {number} slot
     * @param {number} [count]
     * @returns {Promise<Entry[]>} as `before`
     */
    around(slot: number, count?: number): Promise<Entry[]>;
    /** Stops following the room. Its pending appends are still sent; its pending reads are rejected with `left`. */
    leave(): void;
}
