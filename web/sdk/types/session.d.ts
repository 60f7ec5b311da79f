import { Outbox } from "./outbox.js";
import { Timeline } from "./timeline.js";
export type Delivery = import("./types.js").Delivery;
export type Entry = import("./types.js").Entry;
export type ErrorFrame = import("./types.js").ErrorFrame;
export type Limits = import("./types.js").Limits;
export type Reply = import("./types.js").Reply;
/** @typedef {import("./types.js").Delivery} Delivery */
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").ErrorFrame} ErrorFrame */
/** @typedef {import("./types.js").Limits} Limits */
/** @typedef {import("./types.js").Reply} Reply */
/** How often a room is asked whether anything was missed; up to half longer. */
export declare const CHECK_MS = 24000;
/** How long the answer to what is asked may take. A read may wait for the log as long as `ahead_ms`. */
export declare const ANSWER_MS = 10000;
/** After so long without a word the server is asked for one. */
export declare const QUIET_MS = 15000;
/** When a server that has fewer entries of a room than this client is reported, and reported again. */
export declare const AHEAD_MS = 60000;
export type Following = {
    timeline: Timeline;
    /**
     * on this connection
     */
    joined: boolean;
    /**
     * something is unanswered
     */
    asked: boolean;
    /**
     * a `join` was sent on this connection: the server may follow it
     */
    sent: boolean;
    /**
     * when to ask next
     */
    due: number;
    /**
     * since when the server has had less of the room than this; Infinity when it has not
     */
    aheadSince: number;
    /**
     * why the server does not let this connection follow it
     */
    refused: ErrorFrame | null;
};
/**
 * A room that is followed.
 * @typedef {object} Following
 * @property {Timeline} timeline
 * @property {boolean} joined on this connection
 * @property {boolean} asked something is unanswered
 * @property {boolean} sent a `join` was sent on this connection: the server may follow it
 * @property {number} due when to ask next
 * @property {number} aheadSince since when the server has had less of the room than this; Infinity when it has not
 * @property {ErrorFrame | null} refused why the server does not let this connection follow it
 */
export declare class Session {
    #private;
    outbox: Outbox;
    /** What the server takes, as its last `hello` said; null before the first. @type {Limits | null} */
    limits: Limits | null;
    /** The name of the server's log. */
    get log(): string | null;
    /** How many entries of followed rooms the server has and this does not. */
    get behind(): number;
    /** Whether every followed room has its reply on this connection. */
    get caughtUp(): boolean;
    /**
     * Follows a room.
     * @param {string} room
     * @param {number} count entries of the first reply
     * @param {number} now
     */
    follow(room: string, count: number, now: number): Timeline;
    /** @param {string} room */
    unfollow(room: string): void;
    /** Ends all reads: no answer will come. @param {ErrorFrame} error */
    end(error: ErrorFrame): void;
    /**
     * The login was refused, which is final until there is another.
     * @param {ErrorFrame | null} error null: another login is tried
     * @param {string} [author] a name that no server takes
     */
    loginRefused(error: ErrorFrame | null, author?: string): void;
    /**
     * Reads slots of a room that is followed: they go into its timeline, and those that are new to it
     * to `done`.
     * @param {string} room
     * @param {import("./reads.js").Read["members"]} members
     * @param {number} now
     * @param {import("./reads.js").Read["done"]} done
     */
    read(room: string, members: import("./reads.js").Read["members"], now: number, done: import("./reads.js").Read["done"]): void;
    /**
     * Reads slots before what is held of a room, once its first reply tells what that is.
     * @param {string} room
     * @param {number} count
     * @param {number} now
     * @param {import("./reads.js").Read["done"]} done
     */
    before(room: string, count: number, now: number, done: import("./reads.js").Read["done"]): void;
    /** Asks for the heads of all rooms, now and when they move. */
    watch(): void;
    /**
     * A connection stands.
     * @param {{log: string, limits: Limits}} hello
     * @param {number} now
     */
    connected(hello: {
        log: string;
        limits: Limits;
    }, now: number): void;
    /** The connection is gone. @param {number} now */
    disconnected(now: number): void;
    /**
     * Takes a frame of the server.
     * @param {any} frame
     * @param {number} now
     * @param {number} unit from 0 to 1
     * @returns {string | null} why the connection is of no more use
     */
    frame(frame: any, now: number, unit: number): string | null;
    /**
     * The next frame to send.
     * @param {number} now
     * @returns {object | null}
     */
    nextFrame(now: number): object | null;
    /**
     * Looks at the clock.
     * @param {number} now
     * @returns {{wake: number} | {dead: string}} when to look again, or why the connection is dead
     */
    look(now: number): {
        wake: number;
    } | {
        dead: string;
    };
    /** The next thing for those who listen. @returns {Delivery | undefined} */
    nextDelivery(): Delivery | undefined;
}
