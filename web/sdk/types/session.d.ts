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
/** How often a room is checked for missed entries, in ms; jitter lengthens it by up to half. */
export declare const CHECK_MS = 24000;
/** The timeout of a request, in ms. The server may hold one back for up to its `ahead_ms`. */
export declare const ANSWER_MS = 10000;
/** After this long without a frame, the server gets a `ping`, in ms. */
export declare const QUIET_MS = 15000;
/** How often it is reported that the server has fewer entries of a room than this client, in ms. */
export declare const AHEAD_MS = 60000;
export type Following = {
    timeline: Timeline;
    /**
     * whether `join` was answered on this connection
     */
    joined: boolean;
    /**
     * whether a request is unanswered
     */
    waiting: boolean;
    /**
     * whether `join` was sent on this connection, so that the server may follow it
     */
    sent: boolean;
    /**
     * when to send the next request
     */
    due: number;
    /**
     * since when the server has had fewer entries than this client; Infinity if it has not
     */
    aheadSince: number;
    /**
     * why this connection cannot follow it
     */
    refused: ErrorFrame | null;
};
/**
 * A room that is followed.
 * @typedef {object} Following
 * @property {Timeline} timeline
 * @property {boolean} joined whether `join` was answered on this connection
 * @property {boolean} waiting whether a request is unanswered
 * @property {boolean} sent whether `join` was sent on this connection, so that the server may follow it
 * @property {number} due when to send the next request
 * @property {number} aheadSince since when the server has had fewer entries than this client; Infinity if it has not
 * @property {ErrorFrame | null} refused why this connection cannot follow it
 */
export declare class Session {
    #private;
    outbox: Outbox;
    /** The limits of the last `hello`; null before the first. @type {Limits | null} */
    limits: Limits | null;
    /** The name of the server's log. */
    get log(): string | null;
    /** How many entries of followed rooms are still to come; of those that are refused, none will. */
    get behind(): number;
    /** Whether every followed room is up to date on this connection. */
    get caughtUp(): boolean;
    /**
     * Follows a room.
     * @param {string} room
     * @param {number} count how many entries the first reply should have
     * @param {number} now
     */
    follow(room: string, count: number, now: number): Timeline;
    /** @param {string} room */
    unfollow(room: string): void;
    /** Rejects all reads. @param {ErrorFrame} error */
    end(error: ErrorFrame): void;
    /**
     * The login was refused, which is final until the next one.
     * @param {ErrorFrame | null} error null: another login is in use
     * @param {string} [author] the author, if the name is invalid
     */
    loginRefused(error: ErrorFrame | null, author?: string): void;
    /**
     * Reads slots of a followed room into its timeline; `done` gets the entries that were not held before.
     * @param {string} room
     * @param {import("./reads.js").Read["members"]} members
     * @param {number} now
     * @param {import("./reads.js").Read["done"]} done
     */
    read(room: string, members: import("./reads.js").Read["members"], now: number, done: import("./reads.js").Read["done"]): void;
    /**
     * Reads the slots before those that are held of a room, once its first reply has come.
     * @param {string} room
     * @param {number} count
     * @param {number} now
     * @param {import("./reads.js").Read["done"]} done
     */
    before(room: string, count: number, now: number, done: import("./reads.js").Read["done"]): void;
    /** Starts `heads`: the latest slots of all rooms, now and whenever they change. */
    watch(): void;
    /**
     * The server has sent `hello`.
     * @param {{log: string, limits: Limits}} hello
     * @param {number} now
     */
    connected(hello: {
        log: string;
        limits: Limits;
    }, now: number): void;
    /** The connection was lost. @param {number} now */
    disconnected(now: number): void;
    /**
     * Handles a frame from the server.
     * @param {any} frame
     * @param {number} now
     * @param {number} random from 0 to 1
     * @returns {string | null} why to drop the connection, if it must be
     */
    frame(frame: any, now: number, random: number): string | null;
    /**
     * Takes the next frame to send; null if there is none.
     * @param {number} now
     * @returns {object | null}
     */
    nextFrame(now: number): object | null;
    /**
     * Checks the timeouts.
     * @param {number} now
     * @returns {{wake: number} | {dead: string}} when to call this again, or why to drop the connection
     */
    tick(now: number): {
        wake: number;
    } | {
        dead: string;
    };
    /** Takes the next delivery. @returns {Delivery | undefined} */
    nextDelivery(): Delivery | undefined;
}
