export type ErrorFrame = import("./types.js").ErrorFrame;
/** @typedef {import("./types.js").ErrorFrame} ErrorFrame */
/** How long `getToken` may take, in ms: less than a server waits for a login by default. */
export declare const TOKEN_MS = 8000;
export type Who = {
    /**
     * the author of appends on an open server
     */
    author?: string;
    /**
     * returns a token that is valid now. Called for each login, and again
     * before the token expires; it has eight seconds. If it fails, it is called again, after longer and longer delays
     */
    getToken?: () => string | Promise<string>;
    /**
     * in a page of the server: the cookie of `POST /v1/session` says who it is
     */
    session?: boolean;
};
export type Fetch = (url: string, options: {
    signal: any;
}) => Promise<{
    status: number;
    json: () => Promise<any>;
}>;
export type Next = {
    wake: number;
} | {
    dead: string;
} | {
    refused: ErrorFrame;
};
/**
 * Who a client is. On an open server `author` counts; on one with tokens `getToken`, or else `session`.
 * @typedef {object} Who
 * @property {string} [author] the author of appends on an open server
 * @property {() => string | Promise<string>} [getToken] returns a token that is valid now. Called for each login, and again
 *   before the token expires; it has eight seconds. If it fails, it is called again, after longer and longer delays
 * @property {boolean} [session] in a page of the server: the cookie of `POST /v1/session` says who it is
 */
/**
 * The part of `fetch` that is used.
 * @typedef {(url: string, options: {signal: any}) => Promise<{status: number, json: () => Promise<any>}>} Fetch
 */
/**
 * What is left to do: when to look again, why to drop the connection, or why not to connect again.
 * @typedef {{wake: number} | {dead: string} | {refused: ErrorFrame}} Next
 */
export declare class Login {
    #private;
    who: Who;
    /** What the server needs; null before the first `hello`. @type {"open" | "token" | null} */
    auth: "open" | "token" | null;
    /**
     * @param {Who} who
     * @param {import("./connection.js").Runtime} runtime
     * @param {() => void} onToken called when `getToken` has returned or failed: call `tick` and `nextFrame`
     * @param {"open" | "token" | null} [auth] what the server was known to need
     */
    constructor(who: Who, runtime: import("./connection.js").Runtime, onToken: () => void, auth?: "open" | "token" | null);
    /** The author of appends; null while only the server knows. */
    get author(): string | null;
    /** Whether a cookie says who this is, as far as is known. */
    get usesSession(): boolean;
    /** Whether requests may be sent: on an open server without waiting for the welcome. */
    get isReady(): boolean;
    /**
     * The server has sent `hello`.
     * @param {{auth?: string}} hello
     * @param {number} now
     * @returns {ErrorFrame | null} why this client cannot log in
     */
    connected(hello: {
        auth?: string;
    }, now: number): ErrorFrame | null;
    /** The connection was lost. */
    disconnected(): void;
    /** The server has welcomed this client. @param {string} author */
    welcomed(author: string): void;
    /** A pong has come. @returns {ErrorFrame | null} why this client cannot log in */
    ponged(): ErrorFrame | null;
    /** Whether an error answers a login. @param {ErrorFrame} error */
    isOf(error: ErrorFrame): boolean;
    /**
     * The server has refused a login.
     * @param {ErrorFrame} error
     * @param {number} now
     * @returns {Next}
     */
    refused(error: ErrorFrame, now: number): Next;
    /** Takes the next frame; null if there is none. @param {number} now */
    nextFrame(now: number): object | null;
    /**
     * Checks the timeouts, and asks for a new token if it is time.
     * @param {number} now
     * @returns {{wake: number} | {dead: string}}
     */
    tick(now: number): {
        wake: number;
    } | {
        dead: string;
    };
}
/**
 * Asks the server why it refuses the cookie of a session; null if it does not. Browsers do not tell a page why a handshake
 * failed.
 * @param {string} url of the WebSocket
 * @param {Fetch} fetch
 * @returns {Promise<ErrorFrame | null>}
 */
export declare function sessionProblem(url: string, fetch: Fetch): Promise<ErrorFrame | null>;
