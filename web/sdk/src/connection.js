// One socket at a time between a session and a server, and the clock.
//
// Enters: frames of the server, losses, the time. Leaves: what the session sends; its deliveries; a status.
// Invariants: there is one socket or a wait for the next one, until `close`; a loss is met by another try,
// with jittered backoff; what the session has to send waits while much is not yet on its way.

import { Backoff, isTransient } from "./backoff.js";
import { plain } from "./error.js";
import { Session } from "./session.js";

/** How long a connection may take to say `hello`, in ms. */
const HELLO_MS = 10_000;
/** Nothing more is given to a socket that has so many bytes to send. */
const UNSENT_BYTES = 256 * 1024;
/** When that is so, how long until the next look, in ms. */
const UNSENT_MS = 50;
/** After so many failed tries, and no connection ever, a program is told. */
const TELLING_TRIES = 3;
/** The mark of `login`. */
const LOGIN_REQ = 0;

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
  /** Tries without a connection yet; Infinity once there was one. */
  #failures = 0;

  /**
   * @param {string} url of the WebSocket
   * @param {{author?: string, token?: string}} login the members of `login`
   * @param {Surroundings} surroundings
   * @param {(delivery: import("./types.js").Delivery) => void} deliver
   * @param {(status: Status) => void} told when the status changes
   * @param {(reason: string) => void} unreachable when the first tries have failed
   */
  constructor(url, login, surroundings, deliver, told, unreachable) {
    this.url = url;
    this.login = login;
    this.surroundings = surroundings;
    this.deliver = deliver;
    this.told = told;
    this.unreachable = unreachable;
  }

  get now() { return this.surroundings.now(); }

  /** Makes a connection, unless there is one: at once, not when the wait is over. */
  open() {
    if (this.#socket || this.status.state === "closed" || this.status.state === "refused") return;
    clearTimeout(this.#timer);
    this.#say({ state: "connecting" });
    this.#greeted = false;
    this.#helloBy = this.now + HELLO_MS;
    let socket;
    try {
      socket = new this.surroundings.WebSocket(this.url, "roomlog.v1");
    } catch (error) {
      // A page over https may not connect to ws:, for example.
      return this.#lost(`cannot connect to ${this.url}: ${reasonOf(error)}`);
    }
    this.#socket = socket;
    let failure = "";
    const own = (/** @type {(event: any) => void} */ act) => (/** @type {any} */ event) => {
      if (this.#socket === socket) act(event);
    };
    socket.onmessage = own(({ data }) => this.#frame(data));
    socket.onclose = own(event => this.#lost(closeReason(event, failure, this.#greeted ? null : this.url)));
    // A close follows. Only outside of browsers is there something to learn from this.
    socket.onerror = own(event => { failure = reasonOf(event); });
    this.pump();
  }

  /** Ends it for good. What has no outcome stays in the outbox. */
  close() {
    this.#say({ state: "closed" });
    this.#drop();
    clearTimeout(this.#timer);
  }

  /** Says who it is from now on, on the connection that there is or the next one. @param {{author?: string, token?: string}} login */
  relogin(login) {
    this.login = login;
    this.session.loginRefused(null);
    if (this.status.state === "refused") this.#say({ state: "connecting" });
    if (this.#socket) this.#lost("another login");
    else this.open();
  }

  /** Sends what there is to send and looks at the clock; to be called when the session was given something. */
  pump() {
    const socket = this.#socket;
    if (!socket) return this.#deliver(); // The timer is that of the next try.
    clearTimeout(this.#timer);
    let wake = this.#helloBy;
    if (this.#greeted) {
      const looked = this.session.look(this.now);
      if ("dead" in looked) return this.#lost(looked.dead);
      wake = this.#send(socket) ? this.now + UNSENT_MS : this.#nextWake();
    } else if (this.now >= this.#helloBy) {
      return this.#lost(`no hello within ${HELLO_MS / 1e3} s`);
    }
    this.#timer = setTimeout(() => this.pump(), Math.max(1, Math.min(wake - this.now, 60_000)));
    this.#deliver();
  }

  #nextWake() {
    const looked = this.session.look(this.now);
    return "wake" in looked ? looked.wake : this.now;
  }

  /** Gives the socket what it takes; `true` when there may be more. @param {Socket} socket */
  #send(socket) {
    while (socket.bufferedAmount < UNSENT_BYTES) {
      const frame = this.session.nextFrame(this.now);
      if (!frame) return false;
      socket.send(JSON.stringify(frame));
    }
    return true;
  }

  /** @param {any} data */
  #frame(data) {
    const frame = parsed(data);
    if (frame?.type === "error") Object.assign(frame, { code: String(frame.code), message: plain(frame.message) });
    if (!frame) return this.#lost("the server sent what is no frame");
    if (frame.type === "hello") return this.#hello(frame);
    if (frame.type === "error" && frame.req === LOGIN_REQ) return isTransient(frame) ? this.#lost(frame.message) : this.#refused(frame);
    if (["appended", "reply", "heads", "pong"].includes(frame.type)) this.#backoff.reset();
    const useless = this.session.frame(frame, this.now, this.surroundings.random());
    if (useless !== null) return this.#lost(useless);
    this.#tell();
    this.pump();
  }

  /** @param {any} hello */
  #hello(hello) {
    if (hello.protocol !== 1) {
      const message = `the server speaks version ${Number(hello.protocol)} of the protocol, this client version 1; update the older of the two`;
      return this.#refused({ code: "bad_message", message });
    }
    this.#greeted = true;
    this.#failures = Infinity;
    this.#socket?.send(JSON.stringify({ type: "login", ...this.login, req: LOGIN_REQ }));
    this.session.connected(hello, this.now);
    this.#tell();
    this.pump();
  }

  /** Who this says it is cannot log in: trying again would change nothing. @param {import("./types.js").ErrorFrame} error */
  #refused(error) {
    this.#drop();
    clearTimeout(this.#timer);
    const { author } = this.login, isLogin = error.req === LOGIN_REQ;
    // A name that is wrong in itself stays wrong; other logins may be refused today and accepted tomorrow.
    const isWrong = isLogin && author !== undefined && (error.code === "bad_name" || /\p{Cs}/u.test(author));
    const message = isLogin ? `the login was refused: ${error.message}` : error.message;
    this.session.loginRefused({ code: error.code, message }, isWrong ? author : undefined);
    this.#say({ state: "refused", error });
    this.#deliver();
  }

  /** @param {string} reason */
  #lost(reason) {
    this.#drop();
    if (this.status.state === "closed") return;
    if (++this.#failures === TELLING_TRIES) this.unreachable(reason);
    const wait = this.#backoff.next(this.surroundings.random());
    this.#say({ state: "offline", reason, retryAt: this.now + wait });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.open(), wait);
    this.#deliver();
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.session.disconnected(this.now);
  }

  #tell() {
    const { caughtUp, behind } = this.session;
    this.#say(caughtUp ? { state: "live" } : { state: "catching-up", behind });
  }

  /** @param {Status} status */
  #say(status) {
    if (JSON.stringify(status) === JSON.stringify(this.status)) return;
    this.status = status;
    this.told(status);
  }

  #deliver() {
    for (let delivery; (delivery = this.session.nextDelivery());) this.deliver(delivery);
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
 * @param {string} failure what the runtime said
 * @param {string | null} url of a connection that did not come about
 */
function closeReason({ code, reason }, failure, url) {
  if (reason) return plain(reason);
  if (code === 1012) return "the server restarts";
  const why = failure && `: ${failure}`;
  return url === null ? `the connection was lost${why}` : `cannot connect to ${url}${why}`;
}

/** What an error, or an event that tells of one, says. @param {any} error */
function reasonOf(error) {
  const message = error?.error?.message || error?.message || error?.error?.code || "";
  return plain(message);
}
