// Connects a session to the server, over one WebSocket at a time, and runs its timers.
//
// In: frames from the server, lost connections, time. Out: the frames of the login and the session, deliveries, and a status.
// Invariants: until `close` there is either a socket or a timer for the next attempt; a lost connection is retried with
// jittered backoff; frames stay in the session while the socket's buffer is full, and until the login.

import { Backoff, MAX_DELAY_MS } from "./backoff.js";
import { plain } from "./error.js";
import { Login, sessionProblem } from "./login.js";
import { Session } from "./session.js";

/** How long to wait for `hello`, in ms. */
const HELLO_MS = 10_000;
/** A socket that has this many bytes buffered gets no more frames. */
const UNSENT_BYTES = 256 * 1024;
/** When to look at a full buffer again, in ms. */
const UNSENT_MS = 50;
/** After this many failed attempts without any connection yet, the program is notified. */
const REPORTED_ATTEMPTS = 3;
/** The close code for a token that has expired or is revoked, and for no login in time. */
const POLICY = 1008;

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

export class Connection {
  session = new Session();
  /** @type {Status} */
  status = { state: "connecting" };

  /** @type {Socket | null} */
  #socket = null;
  #backoff = new Backoff();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #helloBy = 0;
  #greeted = false;
  /** The `hello` of a connection that is not logged in yet. @type {any} */
  #hello = null;
  /** Whether the server closed the last connection because of its login. */
  #endedByPolicy = false;
  /** Until when answers do not reset the backoff: a token that is refused again and again must not be sent in a busy loop. */
  #backsOffUntil = 0;
  /** Failed attempts before the first connection; Infinity after it. */
  #failures = 0;

  /**
   * @param {string} url of the WebSocket
   * @param {import("./login.js").Who} who
   * @param {Runtime} runtime
   * @param {(delivery: import("./types.js").Delivery) => void} onDelivery
   * @param {(status: Status) => void} onStatus called when the status changes
   * @param {(reason: string) => void} onUnreachable called once, after REPORTED_ATTEMPTS failed attempts
   */
  constructor(url, who, runtime, onDelivery, onStatus, onUnreachable) {
    this.url = url;
    this.runtime = runtime;
    this.login = new Login(who, runtime, () => this.pump());
    this.onDelivery = onDelivery;
    this.onStatus = onStatus;
    this.onUnreachable = onUnreachable;
  }

  get now() { return this.runtime.now(); }

  /** Connects now, unless there is a connection; does not wait for the backoff to end. */
  open() {
    if (this.#socket || this.status.state === "closed" || this.status.state === "refused") return;
    clearTimeout(this.#timer);
    this.#setStatus({ state: "connecting" });
    this.#greeted = false;
    this.#helloBy = this.now + HELLO_MS;
    let socket;
    try {
      socket = new this.runtime.WebSocket(this.url, "roomlog.v1");
    } catch (error) {
      // For example: a page over https must not connect to ws:.
      return this.#lost(`cannot connect to ${this.url}: ${reasonOf(error)}`);
    }
    this.#socket = socket;
    let failure = "";
    const ifCurrent = (/** @type {(event: any) => void} */ act) => (/** @type {any} */ event) => {
      if (this.#socket === socket) act(event);
    };
    socket.onmessage = ifCurrent(({ data }) => this.#frame(data));
    socket.onclose = ifCurrent(event => {
      this.#endedByPolicy = event.code === POLICY;
      this.#lost(closeReason(event, failure, this.#greeted ? null : this.url));
      if (!this.#greeted && this.login.usesSession) void this.#checkSession();
    });
    // `close` follows. Only outside of browsers does this event give a reason.
    socket.onerror = ifCurrent(event => { failure = reasonOf(event); });
    this.pump();
  }

  /** Disconnects for good. Appends without an outcome stay in the outbox. */
  close() {
    this.#setStatus({ state: "closed" });
    this.#drop();
    clearTimeout(this.#timer);
  }

  /** Reconnects with another login. @param {import("./login.js").Who} who */
  relogin(who) {
    this.login.disconnected();
    this.login = new Login(who, this.runtime, () => this.pump(), this.login.auth);
    this.session.loginRefused(null);
    if (this.status.state === "refused") this.#setStatus({ state: "connecting" });
    if (this.#socket) this.#lost("logging in again");
    else this.open();
  }

  /** Sends what is ready and checks the timeouts. Call it after every call that may give the session something to do. */
  pump() {
    const socket = this.#socket;
    if (!socket) return this.#deliver(); // The timer is for the next attempt.
    clearTimeout(this.#timer);
    let wake = this.#helloBy;
    if (this.#greeted) {
      const next = this.#tick();
      if ("dead" in next) return this.#lost(next.dead);
      wake = this.#send(socket) ? this.now + UNSENT_MS : this.#nextWake();
    } else if (this.now >= this.#helloBy) {
      return this.#lost(`no hello within ${HELLO_MS / 1e3} s`);
    }
    this.#timer = setTimeout(() => this.pump(), Math.max(1, Math.min(wake - this.now, 60_000)));
    this.#deliver();
  }

  /** Checks the timeouts. @returns {{wake: number} | {dead: string}} */
  #tick() {
    const login = this.login.tick(this.now);
    if (this.#hello || "dead" in login) return login;
    const session = this.session.tick(this.now);
    return "dead" in session ? session : { wake: Math.min(login.wake, session.wake) };
  }

  #nextWake() {
    const next = this.#tick();
    return "wake" in next ? next.wake : this.now;
  }

  /** Sends frames until the buffer is full; `true` if there may be more. @param {Socket} socket */
  #send(socket) {
    while (socket.bufferedAmount < UNSENT_BYTES) {
      const frame = this.login.nextFrame(this.now) ?? this.session.nextFrame(this.now);
      if (!frame) return false;
      socket.send(JSON.stringify(frame));
    }
    return true;
  }

  /** @param {any} data */
  #frame(data) {
    const frame = parsed(data);
    if (frame?.type === "error") Object.assign(frame, { code: String(frame.code), message: plain(frame.message) });
    if (!frame) return this.#lost("the server sent an invalid frame");
    if (frame.type === "hello") return this.#greet(frame);
    if (frame.type === "welcome") return this.#welcomed(frame);
    if (frame.type === "error" && this.login.isOf(frame)) return this.#next(this.login.refused(frame, this.now));
    const refusal = frame.type === "pong" ? this.login.ponged() : null;
    if (refusal) return this.#refused(refusal);
    if (["appended", "reply", "heads", "pong"].includes(frame.type) && this.now >= this.#backsOffUntil) this.#backoff.reset();
    const failure = this.session.frame(frame, this.now, this.runtime.random());
    if (failure !== null) return this.#lost(failure);
    this.#updateStatus();
    this.pump();
  }

  /** @param {any} hello */
  #greet(hello) {
    if (hello.protocol !== 1) {
      const message = `the server uses version ${Number(hello.protocol)} of the protocol, this client version 1; update the older one`;
      return this.#refused({ code: "bad_message", message });
    }
    this.#greeted = true;
    this.#failures = Infinity;
    this.#hello = hello;
    const refusal = this.login.connected(hello, this.now);
    if (refusal) return this.#refused(refusal);
    if (this.login.isReady) this.#enter();
    this.pump();
  }

  /** @param {{author: string}} welcome */
  #welcomed({ author }) {
    this.login.welcomed(author);
    if (this.#hello) this.#enter();
    this.pump();
  }

  /** The session may send. */
  #enter() {
    this.#backsOffUntil = this.#endedByPolicy ? this.now + MAX_DELAY_MS : 0;
    this.session.connected(this.#hello, this.now);
    this.#hello = null;
    this.#updateStatus();
  }

  /** @param {import("./login.js").Next} next */
  #next(next) {
    if ("refused" in next) this.#refused(next.refused);
    else if ("dead" in next) this.#lost(next.dead);
    else this.pump();
  }

  /** The handshake failed: perhaps because the server refuses the cookie. */
  async #checkSession() {
    const { login } = this, error = await sessionProblem(this.url, this.runtime.fetch);
    if (error && this.login === login && !this.#greeted && this.status.state !== "closed") this.#refused(error);
  }

  /** The server rejected the login: retrying it would change nothing. @param {import("./types.js").ErrorFrame} error */
  #refused(error) {
    this.#drop();
    clearTimeout(this.#timer);
    const isLogin = this.login.isOf(error), author = this.login.auth === "open" ? this.login.who.author : undefined;
    // An invalid name stays invalid; any other login may be accepted later.
    const isInvalid = isLogin && author !== undefined && (error.code === "bad_name" || /\p{Cs}/u.test(author));
    const message = isLogin ? `the login was refused: ${error.message}` : error.message;
    this.session.loginRefused({ code: error.code, message }, isInvalid ? author : undefined);
    this.#setStatus({ state: "refused", error });
    this.#deliver();
  }

  /** @param {string} reason */
  #lost(reason) {
    this.#drop();
    if (this.status.state === "closed") return;
    if (++this.#failures === REPORTED_ATTEMPTS) this.onUnreachable(reason);
    const wait = this.#backoff.next(this.runtime.random());
    this.#setStatus({ state: "offline", reason, retryAt: this.now + wait });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.open(), wait);
    this.#deliver();
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#hello = null;
    socket?.close();
    this.login.disconnected();
    this.session.disconnected(this.now);
  }

  #updateStatus() {
    const { caughtUp, behind } = this.session;
    this.#setStatus(caughtUp ? { state: "live" } : { state: "catching-up", behind });
  }

  /** @param {Status} status */
  #setStatus(status) {
    if (JSON.stringify(status) === JSON.stringify(this.status)) return;
    this.status = status;
    this.onStatus(status);
  }

  #deliver() {
    for (let delivery; (delivery = this.session.nextDelivery());) this.onDelivery(delivery);
  }
}

/** @param {any} data */
function parsed(data) {
  try {
    const frame = JSON.parse(data);
    return typeof frame?.type === "string" ? frame : null;
  } catch {
    return null;
  }
}

/**
 * @param {{code?: number, reason?: string}} event
 * @param {string} failure the runtime's message
 * @param {string | null} url of a connection that was never established
 */
function closeReason({ code, reason }, failure, url) {
  if (reason) return plain(reason);
  if (code === 1012) return "the server is restarting";
  const why = failure && `: ${failure}`;
  return url === null ? `the connection was lost${why}` : `cannot connect to ${url}${why}`;
}

/** The message of an error or an error event. @param {any} error */
function reasonOf(error) {
  const message = error?.error?.message || error?.message || error?.error?.code || "";
  return plain(message);
}
