import { Emitter } from "./events.js";
export type Entry = import("./types.js").Entry;
export type Append = import("./types.js").Append;
export type RoomEvents = {
    /**
     * entries that come next, in slot order: those of the first reply, then live ones. The first reply
     * always brings this event, with an empty array when it has no entries; so does the first reply after a `reset`
     */
    entries: Entry[];
    /**
     * slots that were left out, because there are many; `before` reads them
     */
    gap: {
        first: number;
        last: number;
    };
    /**
     * all that was held is void: the server has another log, or its
     * digest differs; entries of the log that it has follow
     */
    reset: "new_log" | "diverged";
    /**
     * what has no outcome has changed
     */
    pending: Append[];
    /**
     * the room cannot be followed, or has fewer entries on the server than here
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
 * @property {Entry[]} entries entries that come next, in slot order: those of the first reply, then live ones. The first reply
 *   always brings this event, with an empty array when it has no entries; so does the first reply after a `reset`
 * @property {{first: number, last: number}} gap slots that were left out, because there are many; `before` reads them
 * @property {"new_log" | "diverged"} reset all that was held is void: the server has another log, or its
 *   digest differs; entries of the log that it has follow
 * @property {Append[]} pending what has no outcome has changed
 * @property {import("./error.js").RoomlogError} error the room cannot be followed, or has fewer entries on the server than here
 */
/**
 * What may be said of an append.
 * @typedef {{kind?: string, ref?: number, meta?: string, expect?: number, id?: string, sent_at?: number}} AppendOptions
 */
/** @extends {Emitter<RoomEvents>} */
export declare class Room extends Emitter<RoomEvents> {
    #private;
    name: string;
    timeline: import("./timeline.js").Timeline;
    /**
     * Made by `Log.room`.
     * @param {string} name
     * @param {import("./timeline.js").Timeline} timeline
     * @param {import("./log.js").RoomsOwner} owner
     */
    constructor(name: string, timeline: import("./timeline.js").Timeline, owner: import("./log.js").RoomsOwner);
    /** The last slot of the following: −1 on an empty log, null while nothing is known. */
    get last(): number | null;
    /** Appends of this client to this room that have no outcome, in order. @returns {Append[]} */
    get pending(): Append[];
    /**
     * Appends. It is kept until it is in the log or refused for good: over reconnects, and over reloads of
     * a page.
     * @param {string} body
     * @param {AppendOptions} [options]
     * @returns {Promise<{slot: number, repeat?: boolean}>} rejected with a RoomlogError when it is refused for good
     */
    append(body: string, options?: AppendOptions): Promise<{
        slot: number;
        repeat?: boolean;
    }>;
    /**
     * Reads the entries before a slot.
     * @param {number} [count] at most; as many as a page of the server holds
     * @param {number} [slot] by default the first slot of the newest span, once the first reply tells it
     * @returns {Promise<Entry[]>} in slot order, without those that were held; none at the beginning
     */
    before(count?: number, slot?: number): Promise<Entry[]>;
    /**
     * Reads the entries behind a slot: after a jump into the middle.
     * @param {number} slot
     * @returns {Promise<Entry[]>} a page at most
     */
    behind(slot: number): Promise<Entry[]>;
    /**
     * Reads what lies around a slot, half before and half behind it.
     * @param {number} slot
     * @param {number} [count]
     * @returns {Promise<Entry[]>}
     */
    around(slot: number, count?: number): Promise<Entry[]>;
    /** Stops following. Appends without an outcome are still sent. */
    leave(): void;
}
