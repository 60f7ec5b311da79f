import { RoomlogError } from "./error.js";
import { Emitter } from "./events.js";
import { Room } from "./room.js";
export type Append = import("./types.js").Append;
export type Entry = import("./types.js").Entry;
export type ErrorFrame = import("./types.js").ErrorFrame;
export type LogEvents = {
    /**
     * the new state of the connection
     */
    status: import("./connection.js").Status;
    /**
     * the name of the server's log, at first and whenever it changes; slots of another log are invalid
     */
    log: string;
    /**
     * the latest slots of rooms, after `watch`: of all rooms at first, then of those
     * that changed
     */
    heads: Record<string, number>;
    /**
     * an error of no room: `not_stored`, `unreachable`, or why the server refused this client
     */
    error: RoomlogError;
    /**
     * the outcome of an append, also of one that an earlier page stored
     */
    settled: import("./outbox.js").Outcome;
};
export type Options = import("./login.js").Who & ClientOptions;
export type ClientOptions = {
    /**
     * keeps appends without an outcome; by default localStorage, if there is one
     */
    store?: import("./store.js").Store;
    /**
     * by default the runtime's own
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
 * @property {import("./connection.js").Status} status the new state of the connection
 * @property {string} log the name of the server's log, at first and whenever it changes; slots of another log are invalid
 * @property {Record<string, number>} heads the latest slots of rooms, after `watch`: of all rooms at first, then of those
 *   that changed
 * @property {RoomlogError} error an error of no room: `not_stored`, `unreachable`, or why the server refused this client
 * @property {import("./outbox.js").Outcome} settled the outcome of an append, also of one that an earlier page stored
 */
/**
 * @typedef {import("./login.js").Who & ClientOptions} Options
 *
 * @typedef {object} ClientOptions
 * @property {import("./store.js").Store} [store] keeps appends without an outcome; by default localStorage, if there is one
 * @property {new (url: string, protocol: string) => any} [WebSocket] by default the runtime's own
 */
/**
 * What a room needs from its client.
 * @typedef {object} RoomsOwner
 * @property {(room: string) => Append[]} pending
 * @property {(room: Room, body: string, options: import("./room.js").AppendOptions) => Promise<{slot: number}>} append
 * @property {(room: Room, members: any) => Promise<Entry[]>} read
 * @property {(room: Room, count: number) => Promise<Entry[]>} before
 * @property {(room: Room) => void} leave
 */
/** A client of one server, returned by `connect`. @extends {Emitter<LogEvents>} */
export declare class Log extends Emitter<LogEvents> {
    #private;
    /**
     * Use `connect`.
     * @param {string} url
     * @param {Options} options
     */
    constructor(url: string, options: Options);
    /** The state of the connection. */
    get status(): import("./connection.js").Status;
    /** The name of the server's log; null before the first connection. */
    get id(): string | null;
    /** What the server needs, an author or a token: `open` or `token`; null before the first connection. */
    get auth(): "open" | "token" | null;
    /** The author of appends: on a server with tokens that of the last login, null before the first. */
    get author(): string | null;
    /** The server's limits (docs/PROTOCOL.md, `hello`); null before the first connection. */
    get limits(): import("./types.js").Limits | null;
    /**
     * Follows a room. Whether the server accepts the name comes later, as an `error` event of the room.
     * @param {string} name
     * @param {{count?: number}} [options] `count`: how many of the newest entries to start with, 50 by default
     * @returns {Room} the same object until `leave`
     * @throws {TypeError} if `name` is not a string
     */
    room(name: string, { count }?: {
        count?: number;
    }): Room;
    /** Starts `heads` events: the latest slots of all rooms, now and whenever they change. */
    watch(): void;
    /** Reconnects as somebody else. Appends that have an author keep it. @param {import("./login.js").Who} who */
    login(who: import("./login.js").Who): void;
    /** Disconnects for good. Pending promises are rejected with `closed`; appends without an outcome stay in the store. */
    close(): void;
}
