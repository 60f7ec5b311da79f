// The outbox: appends without an outcome. No I/O: the caller passes in the time, in ms, and a random number from 0 to 1.
//
// In: appends in order, answers of the server, lost connections. Out: frames to send, and one outcome per append.
//
// Invariants: within a room and a connection, `seq` counts 0, 1, 2, … in the order of the appends; an append never changes
// its id; at most `appends_in_flight` frames are unanswered. Each frame has its own `req`, so an answer to an older copy of
// an append is not mistaken for one to the newest: an append is sent again only after an error, once per error. Answers are
// never matched by id, since two appends may share one. Slots (`after`, `ref`, `expect`) are sent only to the log that they
// belong to.

import { isTransient, retryDelay, withJitter } from "./backoff.js";
import { quoted } from "./error.js";

/** @typedef {import("./types.js").Append} Append */
/** @typedef {import("./types.js").Appended} Appended */
/** @typedef {import("./types.js").ErrorFrame} ErrorFrame */
/** @typedef {import("./types.js").Limits} Limits */

/** The delay before an append with the error `unknown_outcome` is sent again, in ms. */
const UNKNOWN_RETRY_MS = 200;

/** How many inconsistent `out_of_order` errors an append may get before the connection is dropped. */
const MAX_MISMATCHES = 8;

/** Not the name of any log: for stored appends of earlier versions, which do not name the log of their slots. */
const NO_LOG = "";

/** @type {ReadonlyMap<string, unknown>} */
const NONE = new Map();

const utf8 = new TextEncoder();

/**
 * An append without an outcome.
 * @typedef {object} Item
 * @property {Append} append
 * @property {string | null} log the log that its slots belong to; null: the first one that the client connects to
 * @property {number | null} seq null if not sent on this connection
 * @property {number} mismatches how many inconsistent `out_of_order` errors it got
 * @property {boolean} again whether to send it again, after an error
 */

/**
 * The appends of a room: those sent on this connection first, by `seq`.
 * @typedef {object} Queue
 * @property {Item[]} items
 * @property {number} nextSeq
 * @property {number} pauseUntil when the room may send again
 */

/**
 * The outcome of an append.
 * @typedef {{append: Append, appended: Appended} | {append: Append, error: ErrorFrame}} Outcome
 */

export class Outbox {
  /** By room, in round-robin order. @type {Map<string, Queue>} */
  #rooms = new Map();
  /** Unanswered frames, by `req`. @type {Map<number, {room: string, seq: number, sent: number}>} */
  #inFlight = new Map();
  /** @type {Outcome[]} */
  #settled = [];
  #nextReq = 1;
  #length = 0;
  /** The server's log. @type {string | null} */
  #log = null;
  /** Whether an append needs another connection, because this one may send to no more rooms. */
  #needsRoom = false;
  /** An author whose name the server rejects, and the error. @type {{author: string, error: ErrorFrame} | null} */
  #refusedAuthor = null;

  get length() { return this.#length; }

  /** The appends of a room without an outcome, in order. @param {string} room @returns {Append[]} */
  appendsTo(room) {
    return this.#rooms.get(room)?.items.map(item => item.append) ?? [];
  }

  /** Whether everything that this connection can send is answered, and the rest needs another connection. */
  get isExhausted() { return this.#needsRoom && this.#inFlight.size === 0; }

  /** When the oldest unanswered frame was sent; undefined if there is none. @returns {number | undefined} */
  get oldestUnanswered() {
    return this.#inFlight.values().next().value?.sent;
  }

  /**
   * Adds an append. The caller limits how many there are.
   * @param {Append} append
   * @param {{stored?: boolean}} [options] `stored`: an earlier client stored it, so its slots may belong to another log
   */
  push(append, { stored = false } = {}) {
    const queue = this.#rooms.get(append.room) ?? { items: [], nextSeq: 0, pauseUntil: 0 };
    this.#rooms.set(append.room, queue);
    const log = append.log ?? (stored ? NO_LOG : this.#log);
    const item = { append, log, seq: null, mismatches: 0, again: false };
    queue.items.push(item);
    this.#length++;
    if (this.#log !== null) this.#checkLog(append.room, item, this.#log);
    this.#refuseAuthor(append.room, item);
  }

  /**
   * Takes the next frame to send; null if there is none or the limits do not allow it.
   * @param {number} now
   * @param {Limits} limits
   * @param {ReadonlyMap<string, unknown>} [followed] rooms that the connection follows, which count against its limit too
   * @returns {(Omit<Append, "log"> & {type: "append", seq: number, req: number}) | null}
   */
  nextFrame(now, limits, followed = NONE) {
    if (this.#inFlight.size >= limits.appends_in_flight) return null;
    for (const [room, queue] of [...this.#rooms]) {
      if (now < queue.pauseUntil || !this.#maySend(room, queue, limits, followed)) continue;
      for (let item; (item = due(queue));) {
        const seq = item.seq ?? queue.nextSeq, req = this.#nextReq;
        const { log: _, ...append } = item.append;
        const frame = /** @type {const} */ ({ type: "append", ...append, seq, req });
        const problem = tooLarge(frame, limits);
        if (problem !== null) {
          this.#settle(room, item, { error: { code: "too_large", message: problem, room, id: item.append.id } });
          continue;
        }
        if (item.seq === null) queue.nextSeq++;
        item.seq = seq;
        item.again = false;
        this.#inFlight.set(req, { room, seq, sent: now });
        this.#nextReq++;
        // Move the room to the end of the round-robin.
        if (this.#rooms.delete(room)) this.#rooms.set(room, queue);
        return frame;
      }
    }
    return null;
  }

  /** When to call `nextFrame` again if nothing else happens. @returns {number} */
  nextWake() {
    const waiting = [...this.#rooms.values()].filter(queue => due(queue) && !(this.#needsRoom && queue.nextSeq === 0));
    return Math.min(...waiting.map(queue => queue.pauseUntil));
  }

  /**
   * Handles `appended`. A second answer to the same append is ignored.
   * @param {Appended} appended
   * @returns {string | null} why to drop the connection, if it must be
   */
  appended(appended) {
    if (appended.req !== undefined) this.#inFlight.delete(appended.req);
    const item = this.#item(appended.room, appended.seq);
    if (!item) return null;
    if (item.append.id !== appended.id) return "the server answered an append with the id of another one";
    this.#settle(appended.room, item, { appended });
    return null;
  }

  /**
   * Handles an `error` that answers an append.
   * @param {ErrorFrame} error
   * @param {number} now
   * @param {number} random from 0 to 1
   * @returns {string | null} why to drop the connection, if it must be
   */
  refused(error, now, random) {
    const frame = error.req === undefined ? undefined : this.#inFlight.get(error.req);
    if (!frame) return null;
    this.#inFlight.delete(/** @type {number} */ (error.req));
    const { room, seq } = frame, item = this.#item(room, seq);
    if (!item) return null; // `appended` has answered it before.
    if (error.code === "out_of_order") return this.#outOfOrder(room, item, error.seq);
    if (error.code === "unknown_outcome") {
      this.#wait(room, item, now + withJitter(UNKNOWN_RETRY_MS, random));
      return null;
    }
    if (error.code === "login_required" || error.code === "unauthorized") return `${error.code}: ${error.message}`;
    if (isTransient(error)) {
      this.#wait(room, item, now + retryDelay(error, random));
      return null;
    }
    this.#settle(room, item, { error });
    return null;
  }

  /** The connection was lost: all appends are sent again on the next one, in order. */
  disconnected() {
    this.#inFlight.clear();
    this.#needsRoom = false;
    for (const [room, queue] of this.#rooms) {
      if (queue.items.length === 0) this.#rooms.delete(room);
      for (const item of queue.items) Object.assign(item, { seq: null, mismatches: 0, again: false });
      Object.assign(queue, { nextSeq: 0, pauseUntil: 0 });
    }
  }

  /**
   * Rejects all appends of an author whose name is invalid, now and later. Appends of other authors stay queued.
   * @param {{author: string, error: ErrorFrame} | null} refused null: another login is in use
   */
  authorRefused(refused) {
    this.#refusedAuthor = refused;
    for (const [room, queue] of this.#rooms) for (const item of [...queue.items]) this.#refuseAuthor(room, item);
  }

  /**
   * The server has this log. Of appends whose slots belong to another log, `after` is dropped; those with `ref` or `expect`
   * are rejected with `new_log`.
   * @param {string} log
   */
  connected(log) {
    this.#log = log;
    for (const [room, queue] of this.#rooms) for (const item of [...queue.items]) this.#checkLog(room, item, log);
  }

  /** The server's log of a room differs from the one that was held: slots in appends to it are invalid. @param {string} room */
  diverged(room) {
    for (const item of [...this.#rooms.get(room)?.items ?? []]) {
      // The server answers what is in flight; if the connection is lost, its slots belong to another log.
      if (item.seq === null) this.#dropSlots(room, item, "diverged");
      else Object.assign(item, { log: NO_LOG });
      delete item.append.after;
    }
  }

  /** Takes the next outcome. @returns {Outcome | undefined} */
  nextSettled() {
    return this.#settled.shift();
  }

  /** @param {string} room @param {Item} item */
  #refuseAuthor(room, item) {
    const refused = this.#refusedAuthor, { author, id } = item.append;
    if (refused && refused.author === author) this.#settle(room, item, { error: { ...refused.error, room, id } });
  }

  /** @param {string} room @param {Item} item @param {string} log */
  #checkLog(room, item, log) {
    const was = item.log ?? log;
    item.log = log;
    if (was !== log) this.#dropSlots(room, item, "new_log");
  }

  /** @param {string} room @param {Item} item @param {"new_log" | "diverged"} code */
  #dropSlots(room, item, code) {
    const { append } = item;
    delete append.after;
    if (append.ref === undefined && append.expect === undefined) return;
    const why = code === "new_log" ? "the server has another log now" : "the server's log of this room has changed";
    const message = `${why}, and this refers to a slot of the previous one; check the room, then append it again`;
    this.#settle(room, item, { error: { code, message, room, id: append.id } });
  }

  /**
   * Whether this connection may send appends to a room. A room counts against the limit until the connection ends, so a
   * client of many rooms uses several connections, one after the other.
   * @param {string} room
   * @param {Queue} queue
   * @param {Limits} limits
   * @param {ReadonlyMap<string, unknown>} followed
   */
  #maySend(room, queue, limits, followed) {
    if (queue.nextSeq > 0 || followed.has(room) || !due(queue)) return true;
    const used = [...this.#rooms].filter(([name, { nextSeq }]) => nextSeq > 0 && !followed.has(name)).length;
    // With none used yet, another connection could send no more than this one: let the server answer.
    if (used === 0 || used + followed.size < (limits.rooms_per_connection ?? Infinity)) return true;
    this.#needsRoom = true;
    return false;
  }

  /** @param {string} room @param {number | undefined} seq */
  #item(room, seq) {
    if (seq === undefined) return undefined;
    return this.#rooms.get(room)?.items.find(item => item.seq === seq);
  }

  /**
   * The server expects another `seq` first. If that append is still here, it is in flight or will be sent again before this
   * one.
   * @param {string} room
   * @param {Item} item
   * @param {number | undefined} expected
   */
  #outOfOrder(room, item, expected) {
    const isExplained = expected !== undefined && expected < (item.seq ?? 0) && this.#item(room, expected);
    if (!isExplained && ++item.mismatches > MAX_MISMATCHES) {
      return `the server expects seq ${expected} of room ${quoted(room)}, which it has answered already`;
    }
    item.again = true;
    return null;
  }

  /** @param {string} room @param {Item} item @param {number} until */
  #wait(room, item, until) {
    item.again = true;
    const queue = this.#rooms.get(room);
    if (queue) queue.pauseUntil = Math.max(queue.pauseUntil, until);
  }

  /**
   * @param {string} room
   * @param {Item} item
   * @param {{appended: Appended} | {error: ErrorFrame}} outcome
   */
  #settle(room, item, outcome) {
    const items = this.#rooms.get(room)?.items ?? [], at = items.indexOf(item);
    if (at < 0) return;
    items.splice(at, 1);
    this.#length--;
    this.#settled.push({ append: item.append, ...outcome });
  }
}

/** The next append to send: first one to send again, then a new one. @param {Queue} queue */
function due(queue) {
  return queue.items.find(item => item.again || item.seq === null);
}

/**
 * Checks a frame against the server's limits.
 * @param {Append} frame
 * @param {Limits} limits
 * @returns {string | null} why it is too large; null if it is not
 */
function tooLarge(frame, limits) {
  const check = (/** @type {string} */ what, /** @type {string} */ text, /** @type {number} */ max) => {
    // A UTF-16 unit has at most three bytes of UTF-8, so short texts need not be encoded.
    if (text.length * 3 <= max) return null;
    const bytes = utf8.encode(text).length;
    return bytes > max ? `${what} has ${bytes} bytes; the limit is ${max}` : null;
  };
  return check("body", frame.body, limits.body_bytes)
    ?? check("meta", frame.meta ?? "", limits.meta_bytes)
    ?? check("the frame", JSON.stringify(frame), limits.frame_bytes);
}
