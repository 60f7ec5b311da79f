// Who a connection is: its login, and the renewal of its token.
//
// ```text
//   hello ─► open ────────────────────────────► login {author}
//         ─► token ─► getToken ─► login {token} ─► welcome
//         │              ▲                            │ after 75–90 % of the token's life
//         │              └────────────────────────────┘
//         └► session: the welcome comes unasked
// ```
//
// In: `hello`, `welcome`, errors of logins, lost connections, time. Out: frames to send, or why the connection must end.
// Invariants: a connection has one call of `getToken` or one `login` in flight at most; a token is kept from the call to its
// frame and nowhere else; it is in no message.

import { Backoff, isTransient } from "./backoff.js";
import { plain } from "./error.js";

/** @typedef {import("./types.js").ErrorFrame} ErrorFrame */

/** How long `getToken` may take, in ms: less than a server waits for a login by default. */
export const TOKEN_MS = 8_000;
/** How long the server may take to answer a login, in ms. */
const ANSWER_MS = 10_000;
/** When a token is renewed: the least and the most of its remaining life. */
const RENEW_FROM = 0.75, RENEW_UPTO = 0.9;
/** The least time between a welcome and the renewal, in ms. */
const MIN_RENEW_MS = 1_000;
/** The `req` of `login`; a welcome has none. */
const LOGIN_REQ = 0;

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

export class Login {
  #runtime;
  #onToken;
  /** The author of the last welcome. @type {string | null} */
  #author = null;
  /** Whether this connection is logged in. */
  #isIn = false;
  /** The call of `getToken` in flight, and until when it may take. @type {{by: number} | null} */
  #asked = null;
  /** The next frame. @type {object | null} */
  #frame = null;
  /** When the unanswered frame was sent. */
  #sentAt = Infinity;
  /** Why there is no token. @type {string | null} */
  #failure = null;
  /** Whether the server has refused the token before this one. */
  #isSecond = false;
  /** When the last token expires, by the clock on the wall, in ms. */
  #expiresAt = Infinity;
  /** When to renew it, by the same clock. */
  #renewAt = Infinity;
  #backoff = new Backoff();

  /**
   * @param {Who} who
   * @param {import("./connection.js").Runtime} runtime
   * @param {() => void} onToken called when `getToken` has returned or failed: call `tick` and `nextFrame`
   * @param {"open" | "token" | null} [auth] what the server was known to need
   */
  constructor(who, runtime, onToken, auth = null) {
    this.who = who;
    this.#runtime = runtime;
    this.#onToken = onToken;
    /** What the server needs; null before the first `hello`. @type {"open" | "token" | null} */
    this.auth = auth;
  }

  /** The author of appends; null while only the server knows. */
  get author() {
    const { author, getToken, session } = this.who;
    if (this.auth === "token") return this.#author;
    return this.auth === null && (getToken || session) ? null : author ?? null;
  }

  /** Whether a cookie says who this is, as far as is known. */
  get usesSession() { return this.auth !== "open" && Boolean(this.who.session) && !this.who.getToken; }

  /** Whether requests may be sent: on an open server without waiting for the welcome. */
  get isReady() { return this.#isIn || this.auth === "open"; }

  /**
   * The server has sent `hello`.
   * @param {{auth?: string}} hello
   * @param {number} now
   * @returns {ErrorFrame | null} why this client cannot log in
   */
  connected(hello, now) {
    this.auth = hello.auth === "token" ? "token" : "open";
    if (this.auth === "open" && this.who.author === undefined) return { code: "bad_message", message: "this server is open: pass author to connect()" };
    if (this.auth === "open") this.#frame = { type: "login", author: this.who.author, req: LOGIN_REQ };
    else if (this.who.getToken) this.#ask(now);
    // The server answers in order: without a session, the pong comes and no welcome before it.
    else if (this.usesSession) this.#frame = { type: "ping" };
    else return { code: "login_required", message: "this server needs a token, and this client has none: pass getToken to connect()" };
    return null;
  }

  /** The connection was lost. */
  disconnected() {
    this.#asked = this.#frame = this.#failure = null;
    this.#isIn = this.#isSecond = false;
    this.#sentAt = this.#renewAt = Infinity;
  }

  /** The server has welcomed this client. @param {string} author */
  welcomed(author) {
    this.#author = author;
    this.#isIn = true;
    this.#isSecond = false;
    this.#sentAt = Infinity;
    this.#backoff.reset();
    // If it seems to have expired, one of the clocks is wrong: the server ends the connection in time.
    const { random, clock } = this.#runtime, left = this.#expiresAt - clock();
    if (this.auth !== "token" || !this.who.getToken || left <= 0) return;
    this.#renewAt = clock() + Math.max(MIN_RENEW_MS, left * (RENEW_FROM + (RENEW_UPTO - RENEW_FROM) * random()));
  }

  /** A pong has come. @returns {ErrorFrame | null} why this client cannot log in */
  ponged() {
    if (this.isReady || !this.usesSession) return null;
    return { code: "login_required", message: "there is no session: log in" };
  }

  /** Whether an error answers a login. @param {ErrorFrame} error */
  isOf(error) { return error.req === LOGIN_REQ; }

  /**
   * The server has refused a login.
   * @param {ErrorFrame} error
   * @param {number} now
   * @returns {Next}
   */
  refused(error, now) {
    this.#sentAt = Infinity;
    if (this.auth === "token" && error.code === "unauthorized" && !this.#isSecond) {
      this.#isSecond = true;
      this.#ask(now);
    } else if (this.#isIn && error.code === "forbidden") {
      return { dead: error.message }; // The new token is for another author, who needs a new connection.
    } else if (this.#isIn) this.#renewLater();
    else return isTransient(error) ? { dead: error.message } : { refused: error };
    return this.tick(now);
  }

  /** Takes the next frame; null if there is none. @param {number} now */
  nextFrame(now) {
    const frame = this.#frame;
    this.#frame = null;
    if (frame && this.auth === "token") this.#sentAt = now;
    return frame;
  }

  /**
   * Checks the timeouts, and asks for a new token if it is time.
   * @param {number} now
   * @returns {{wake: number} | {dead: string}}
   */
  tick(now) {
    if (this.#asked && now >= this.#asked.by) {
      this.#asked = null; // What still comes is ignored.
      this.#failure = `getToken gave no token within ${TOKEN_MS / 1e3} s`;
    }
    if (this.#failure !== null && !this.#isIn) return { dead: this.#failure };
    if (this.#failure !== null) this.#renewLater();
    if (now >= this.#sentAt + ANSWER_MS) return { dead: `the server left a login unanswered for ${ANSWER_MS / 1e3} s` };
    if (this.#runtime.clock() >= this.#renewAt) this.#ask(now);
    const untilRenewal = Math.max(0, this.#renewAt - this.#runtime.clock());
    return { wake: Math.min(this.#asked?.by ?? Infinity, this.#sentAt + ANSWER_MS, now + untilRenewal) };
  }

  /** The last token is still valid, so there is time to try again. */
  #renewLater() {
    this.#failure = null;
    this.#isSecond = false;
    this.#renewAt = this.#runtime.clock() + MIN_RENEW_MS + this.#backoff.next(this.#runtime.random());
  }

  /** @param {number} now */
  #ask(now) {
    const { getToken } = this.who, asked = this.#asked = { by: now + TOKEN_MS };
    this.#renewAt = Infinity;
    const done = (/** @type {() => void} */ act) => {
      if (this.#asked !== asked) return; // It came too late, or for an earlier connection.
      this.#asked = null;
      act();
      this.#onToken();
    };
    void (async () => getToken?.())().then(
      token => done(() => this.#take(token)),
      error => done(() => { this.#failure = `getToken failed: ${plain(error?.message ?? error)}`; }),
    );
  }

  /** @param {unknown} token */
  #take(token) {
    if (typeof token !== "string" || token === "") {
      this.#failure = "getToken returned no token";
      return;
    }
    this.#expiresAt = expiryOf(token);
    this.#frame = { type: "login", token, req: LOGIN_REQ };
  }
}

/**
 * Asks the server why it refuses the cookie of a session; null if it does not. Browsers do not tell a page why a handshake
 * failed.
 * @param {string} url of the WebSocket
 * @param {Fetch} fetch
 * @returns {Promise<ErrorFrame | null>}
 */
export async function sessionProblem(url, fetch) {
  try {
    const answer = await fetch(url.replace(/^ws/, "http").replace(/ws$/, "rooms?limit=1"), { signal: AbortSignal.timeout(ANSWER_MS) });
    if (answer.status !== 401) return null;
    const { error } = await answer.json();
    return { code: String(error.code), message: plain(error.message) };
  } catch {
    return null; // The server is down.
  }
}

/** When a token expires, in ms since the Unix epoch; Infinity if it does not say. The server checks it. @param {string} token */
function expiryOf(token) {
  try {
    const claims = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return typeof claims.exp === "number" ? claims.exp * 1_000 : Infinity;
  } catch {
    return Infinity;
  }
}
