import { Login } from "./login.js";
import { Session } from "./session.js";
export type Status = {
    state: "connecting";
} | {
    state: "catching-up";
    behind: number;
} | {
    state: "live";
} | {
    state: "offline";
    reason: string;
    retryAt: number;
} | {
    state: "refused";
    error: import("./types.js").ErrorFrame;
} | {
    state: "closed";
};
export type Socket = {
    bufferedAmount: number;
    send: (text: string) => void;
    close: () => void;
    onmessage: ((event: any) => void) | null;
    onclose: ((event: any) => void) | null;
    onerror: ((event: any) => void) | null;
};
export type Runtime = {
    WebSocket: new (url: string, protocol: string) => Socket;
    /**
     * ms of a monotonic clock
     */
    now: () => number;
    /**
     * from 0 to 1
     */
    random: () => number;
    /**
     * ms since the Unix epoch
     */
    clock: () => number;
    fetch: import("./login.js").Fetch;
};
/**
 * The state of a client. `behind` counts the entries of followed rooms that are still to come. `retryAt` is when the next
 * attempt to connect starts, in ms of `performance.now()`. After `refused` there are no more attempts until `login`.
 * @typedef {{state: "connecting"}
 *   | {state: "catching-up", behind: number}
 *   | {state: "live"}
 *   | {state: "offline", reason: string, retryAt: number}
 *   | {state: "refused", error: import("./types.js").ErrorFrame}
 *   | {state: "closed"}} Status
 */
/**
 * The part of a WebSocket that is used.
 * @typedef {object} Socket
 * @property {number} bufferedAmount
 * @property {(text: string) => void} send
 * @property {() => void} close
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onclose
 * @property {((event: any) => void) | null} onerror
 */
/**
 * What the runtime provides; tests replace it.
 * @typedef {object} Runtime
 * @property {new (url: string, protocol: string) => Socket} WebSocket
 * @property {() => number} now ms of a monotonic clock
 * @property {() => number} random from 0 to 1
 * @property {() => number} clock ms since the Unix epoch
 * @property {import("./login.js").Fetch} fetch
 */
export declare class Connection {
    #private;
    url: string;
    runtime: Runtime;
    login: Login;
    onDelivery: (delivery: import("./types.js").Delivery) => void;
    onStatus: (status: Status) => void;
    onUnreachable: (reason: string) => void;
    session: Session;
    /** @type {Status} */
    status: Status;
    /**
     * @param {string} url of the WebSocket
     * @param {import("./login.js").Who} who
     * @param {Runtime} runtime
     * @param {(delivery: import("./types.js").Delivery) => void} onDelivery
     * @param {(status: Status) => void} onStatus called when the status changes
     * @param {(reason: string) => void} onUnreachable called once, after REPORTED_ATTEMPTS failed attempts
     */
    constructor(url: string, who: import("./login.js").Who, runtime: Runtime, onDelivery: (delivery: import("./types.js").Delivery) => void, onStatus: (status: Status) => void, onUnreachable: (reason: string) => void);
    get now(): number;
    /** Connects now, unless there is a connection; does not wait for the backoff to end. */
    open(): void;
    /** Disconnects for good. Appends without an outcome stay in the outbox. */
    close(): void;
    /** Reconnects with another login. @param {import("./login.js").Who} who */
    relogin(who: import("./login.js").Who): void;
    /** Sends what is ready and checks the timeouts. Call it after every call that may give the session something to do. */
    pump(): void;
}
