import { RoomlogError } from "./error.js";
import { Emitter } from "./events.js";
import { Room } from "./room.js";
export type Append = import("./types.js").Append;
export type Entry = import("./types.js").Entry;
export type ErrorFrame = import("./types.js").ErrorFrame;
export type LogEvents = {
    status: import("./connection.js").Status;
    /**
     * the name of the server's log: at first, and when it is another one; slots of the one before
     * mean nothing any more
     */
    log: string;
    /**
     * latest slots of rooms, after `watch`
     */
    heads: Record<string, number>;
    error: RoomlogError;
    /**
     * an append of this client, an earlier page's too, has its outcome
     */
    settled: import("./outbox.js").Outcome;
};
export type Options = {
    /**
     * who appends, on an open server
     */
    author?: string;
    /**
     * who appends, where the server asks for one
     */
    token?: string;
    /**
     * by default localStorage where there is one
     */
    store?: import("./store.js").Store;
    /**
     * where the runtime has none
     */
    WebSocket?: new (url: string, protocol: string) => any;
};
export type RoomsOwner = {
    pending: (room: string) => Append[];
    append: (room: Room, body: string, options: import("./room.js").AppendOptions) => Promise<{
        slot: number;
    }>;
    read: (room: Room, members: any) => Promise<Entry[]>;
    before: (room: Room, count: number) => Promise<Entry[]>;
    leave: (room: Room) => void;
};
/**
 * @typedef {object} LogEvents
 * @property {import("./connection.js").Status} status
 * @property {string} log the name of the server's log: at first, and when it is another one; slots of the one before
 *   mean nothing any more
 * @property {Record<string, number>} heads latest slots of rooms, after `watch`
 * @property {RoomlogError} error
 * @property {import("./outbox.js").Outcome} settled an append of this client, an earlier page's too, has its outcome
 */
/**
 * @typedef {object} Options
 * @property {string} [author] who appends, on an open server
 * @property {string} [token] who appends, where the server asks for one
 * @property {import("./store.js").Store} [store] by default localStorage where there is one
 * @property {new (url: string, protocol: string) => any} [WebSocket] where the runtime has none
 */
/**
 * What a room asks of the client it is of.
 * @typedef {object} RoomsOwner
 * @property {(room: string) => Append[]} pending
 * @property {(room: Room, body: string, options: import("./room.js").AppendOptions) => Promise<{slot: number}>} append
 * @property {(room: Room, members: any) => Promise<Entry[]>} read
 * @property {(room: Room, count: number) => Promise<Entry[]>} before
 * @property {(room: Room) => void} leave
 */
/** @extends {Emitter<LogEvents>} */
export declare class Log extends Emitter<LogEvents> {
    #private;
    /**
     * Made by `connect`.
     * @param {string} url
     * @param {Options} options
     */
    constructor(url: string, options: Options);
    /** How things stand. */
    get status(): import("./connection.js").Status;
    /** The name of the server's log, once it is known. */
    get id(): string | null;
    /** What the server takes (docs/PROTOCOL.md, `hello`), once it is known. */
    get limits(): import("./types.js").Limits | null;
    /**
     * Follows a room.
     * @param {string} name
     * @param {{count?: number}} [options] how many of the newest entries to begin with
     * @returns {Room} the same one as long as it is followed
     */
    room(name: string, { count }?: {
        count?: number;
    }): Room;
    /** Asks for the latest slots of all rooms: `heads` events, now and when they move. */
    watch(): void;
    /** Appends as another author from now on, or with a fresh token. @param {{author?: string, token?: string}} who */
    login(who: {
        author?: string;
        token?: string;
    }): void;
    /** Ends it. What has no outcome stays in the store, and its promises are rejected. */
    close(): void;
}
