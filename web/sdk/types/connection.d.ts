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
export type Surroundings = {
    WebSocket: new (url: string, protocol: string) => Socket;
    /**
     * ms of a clock that never goes back
     */
    now: () => number;
    /**
     * from 0 to 1
     */
    random: () => number;
};
/**
 * How things stand.
 * @typedef {{state: "connecting"}
 *   | {state: "catching-up", behind: number}
 *   | {state: "live"}
 *   | {state: "offline", reason: string, retryAt: number}
 *   | {state: "refused", error: import("./types.js").ErrorFrame}
 *   | {state: "closed"}} Status
 */
/**
 * What is used of a WebSocket.
 * @typedef {object} Socket
 * @property {number} bufferedAmount
 * @property {(text: string) => void} send
 * @property {() => void} close
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onclose
 * @property {((event: any) => void) | null} onerror
 */
/**
 * What a page's surroundings give; tests give others.
 * @typedef {object} Surroundings
 * @property {new (url: string, protocol: string) => Socket} WebSocket
 * @property {() => number} now ms of a clock that never goes back
 * @property {() => number} random from 0 to 1
 */
export declare class Connection {
    #private;
    url: string;
    login: {
        author?: string;
        token?: string;
    };
    surroundings: Surroundings;
    deliver: (delivery: import("./types.js").Delivery) => void;
    told: (status: Status) => void;
    unreachable: (reason: string) => void;
    session: Session;
    /** @type {Status} */
    status: Status;
    /**
     * @param {string} url of the WebSocket
     * @param {{author?: string, token?: string}} login the members of `login`
     * @param {Surroundings} surroundings
     * @param {(delivery: import("./types.js").Delivery) => void} deliver
     * @param {(status: Status) => void} told when the status changes
     * @param {(reason: string) => void} unreachable when the first tries have failed
     */
    constructor(url: string, login: {
        author?: string;
        token?: string;
    }, surroundings: Surroundings, deliver: (delivery: import("./types.js").Delivery) => void, told: (status: Status) => void, unreachable: (reason: string) => void);
    get now(): number;
    /** Makes a connection, unless there is one: at once, not when the wait is over. */
    open(): void;
    /** Ends it for good. What has no outcome stays in the outbox. */
    close(): void;
    /** Says who it is from now on, on the connection that there is or the next one. @param {{author?: string, token?: string}} login */
    relogin(login: {
        author?: string;
        token?: string;
    }): void;
    /** Sends what there is to send and looks at the clock; to be called when the session was given something. */
    pump(): void;
}
