// The outbox: what was asked to be appended and has no outcome yet.
//
// Enters: appends in their author's order, answers of the server, losses of the connection. Leaves:
// frames to send, and one outcome for each append. No clock, no socket, no randomness: time is handed
// in as milliseconds since some start, jitter as a number from 0 to 1.
//
// Invariants: within a room, frames carry `seq` 0, 1, 2, … of this connection in the order of the appends;
// an append keeps its id for ever; at most `appends_in_flight` frames are unanswered. Every frame has a
// mark (`req`) of its own, so an answer to an older copy of an append is told from one to the newest:
// only what the server refused is sent again, and only once for each refusal. Ids match nothing: callers choose them,
// and two appends may have one. Slots (`after`, `ref`, `expect`) go only to the log in which their author saw them.

import { isTransient, retryIn, stretched } from "./backoff.js";
import { quoted } from "./error.js";

/** @typedef {import("./types.js").Append} Append */
/** @typedef {import("./types.js").Appended} Appended */
/** @typedef {import("./types.js").ErrorFrame} ErrorFrame */
/** @typedef {import("./types.js").Limits} Limits */

/** How long to wait before asking again for an outcome that the server did not know, in ms. */
const UNKNOWN_RETRY_MS = 200;

/** How often an answer that does not fit what was sent is met by sending again. */
const MOST_PUZZLES = 8;

/** No log has this name: appends kept by an earlier version do not say which log their slots are of. */
const NO_LOG = "";

/** @type {ReadonlyMap<string, unknown>} */
const NONE = new Map();

const utf8 = new TextEncoder();

/**
 * An append that is not answered yet.
 * @typedef {object} Item
 * @property {Append} append
 * @property {string | null} log the one its slots are of; null: the first one that is met
 * @property {number | null} seq
 * @property {number} puzzles how often it was refused in a way that sending again does not explain
 * @property {boolean} again it was refused, and is to be sent again
 */

/**
 * One room's appends: those that were numbered on this connection come first, in ascending order.
 * @typedef {object} Queue
 * @property {Item[]} items
 * @property {number} nextSeq
 * @property {number} pauseUntil nothing is sent before
 */

/**
 * What became of an append.
 * @typedef {{append: Append, appended: Appended} | {append: Append, error: ErrorFrame}} Outcome
 */

export class Outbox {
  /** In the order in which they take turns. @type {Map<string, Queue>} */
  #rooms = new Map();
  /** By mark. @type {Map<number, {room: string, seq: number, sent: number}>} */
  #flights = new Map();
  /** @type {Outcome[]} */
  #settled = [];
  #nextReq = 1;
  #length = 0;
  /** The server's log. @type {string | null} */
  #log = null;
  /** Whether an append waits for a connection that may number its room. */
  #needsRoom = false;
  /** An author as whom nothing can be sent, and why. @type {{author: string, error: ErrorFrame} | null} */
  #refusedAuthor = null;

  get length() { return this.#length; }

  /** What has no outcome in a room, in order. @param {string} room @returns {Append[]} */
  appendsTo(room) {
    return this.#rooms.get(room)?.items.map(item => item.append) ?? [];
  }

  /** Whether all is answered that this connection can take, and the rest needs another one. */
  get isExhausted() { return this.#needsRoom && this.#flights.size === 0; }

  /** When the oldest unanswered frame was sent. @returns {number | undefined} */
  get oldestUnanswered() {
    return this.#flights.values().next().value?.sent;
  }

  /**
   * Takes an append. How many there may be is for the caller to bound.
   * @param {Append} append
   * @param {{kept?: boolean}} [options] whether an earlier client kept it: it may be about another log
   */
  push(append, { kept = false } = {}) {
    const queue = this.#rooms.get(append.room) ?? { items: [], nextSeq: 0, pauseUntil: 0 };
    this.#rooms.set(append.room, queue);
    const log = append.log ?? (kept ? NO_LOG : this.#log);
    const item = { append, log, seq: null, puzzles: 0, again: false };
    queue.items.push(item);
    this.#length++;
    if (this.#log !== null) this.#meet(append.room, item, this.#log);
    this.#refuseAuthor(append.room, item);
  }

  /**
   * The next frame to send, when there is one and the limits allow it.
   * @param {number} now
   * @param {Limits} limits
   * @param {ReadonlyMap<string, unknown>} [followed] rooms that the connection follows: they count as well
   * @returns {(Omit<Append, "log"> & {type: "append", seq: number, req: number}) | null}
   */
  nextFrame(now, limits, followed = NONE) {
    if (this.#flights.size >= limits.appends_in_flight) return null;
    for (const [room, queue] of [...this.#rooms]) {
      if (now < queue.pauseUntil || !this.#mayNumber(room, queue, limits, followed)) continue;
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
        this.#flights.set(req, { room, seq, sent: now });
        this.#nextReq++;
        // The next turn is another room's.
        if (this.#rooms.delete(room)) this.#rooms.set(room, queue);
        return frame;
      }
    }
    return null;
  }

  /** When to look for a next frame again, although nothing came in. @returns {number} */
  nextWake() {
    const waiting = [...this.#rooms.values()].filter(queue => due(queue) && !(this.#needsRoom && queue.nextSeq === 0));
    return Math.min(...waiting.map(queue => queue.pauseUntil));
  }

  /**
   * Takes `appended`. A second answer to one append is no news.
   * @param {Appended} appended
   * @returns {string | null} why the connection is of no more use
   */
  appended(appended) {
    if (appended.req !== undefined) this.#flights.delete(appended.req);
    const item = this.#item(appended.room, appended.seq);
    if (!item) return null;
    if (item.append.id !== appended.id) return "the server answered an append with the id of another one";
    this.#settle(appended.room, item, { appended });
    return null;
  }

  /**
   * Takes an `error` that answers an append.
   * @param {ErrorFrame} error
   * @param {number} now
   * @param {number} unit from 0 to 1
   * @returns {string | null} why the connection is of no more use: make another one
   */
  refused(error, now, unit) {
    const flight = error.req === undefined ? undefined : this.#flights.get(error.req);
    if (!flight) return null;
    this.#flights.delete(/** @type {number} */ (error.req));
    const { room, seq } = flight, item = this.#item(room, seq);
    if (!item) return null; // It was answered by `appended` before.
    if (error.code === "out_of_order") return this.#outOfOrder(room, item, error.seq);
    if (error.code === "unknown_outcome") {
      this.#wait(room, item, now + stretched(UNKNOWN_RETRY_MS, unit));
      return null;
    }
    if (error.code === "login_required" || error.code === "unauthorized") return `${error.code}: ${error.message}`;
    if (isTransient(error)) {
      this.#wait(room, item, now + retryIn(error, unit));
      return null;
    }
    this.#settle(room, item, { error });
    return null;
  }

  /** The connection is gone. Nothing is forgotten; all without an outcome is sent again, in order. */
  disconnected() {
    this.#flights.clear();
    this.#needsRoom = false;
    for (const [room, queue] of this.#rooms) {
      if (queue.items.length === 0) this.#rooms.delete(room);
      for (const item of queue.items) Object.assign(item, { seq: null, puzzles: 0, again: false });
      Object.assign(queue, { nextSeq: 0, pauseUntil: 0 });
    }
  }

  /**
   * No server takes anything from this author: appends of this name are refused. Others wait for their own login.
   * @param {{author: string, error: ErrorFrame} | null} refused null: another login is tried
   */
  authorRefused(refused) {
    this.#refusedAuthor = refused;
    for (const [room, queue] of this.#rooms) for (const item of [...queue.items]) this.#refuseAuthor(room, item);
  }

  /**
   * The server has this log. Slots of another one mean nothing in it: `after` is dropped, and what refers to a slot by
   * `ref` or `expect` goes back to its author.
   * @param {string} log
   */
  connected(log) {
    this.#log = log;
    for (const [room, queue] of this.#rooms) for (const item of [...queue.items]) this.#meet(room, item, log);
  }

  /** What was held of a room is not what the server has: slots of it that appends name mean nothing any more. @param {string} room */
  diverged(room) {
    for (const item of [...this.#rooms.get(room)?.items ?? []]) {
      // What is under way has its outcome from the server; after a loss it is about another log.
      if (item.seq === null) this.#forgetSlots(room, item, "diverged");
      else Object.assign(item, { log: NO_LOG });
      delete item.append.after;
    }
  }

  /** The next append that has its outcome. @returns {Outcome | undefined} */
  nextSettled() {
    return this.#settled.shift();
  }

  /** @param {string} room @param {Item} item */
  #refuseAuthor(room, item) {
    const refused = this.#refusedAuthor, { author, id } = item.append;
    if (refused && refused.author === author) this.#settle(room, item, { error: { ...refused.error, room, id } });
  }

  /** @param {string} room @param {Item} item @param {string} log */
  #meet(room, item, log) {
    const was = item.log ?? log;
    item.log = log;
    if (was !== log) this.#forgetSlots(room, item, "new_log");
  }

  /** @param {string} room @param {Item} item @param {"new_log" | "diverged"} code */
  #forgetSlots(room, item, code) {
    const { append } = item;
    delete append.after;
    if (append.ref === undefined && append.expect === undefined) return;
    const why = code === "new_log" ? "the server has another log now" : "the server's log of this room is another one";
    const message = `${why}, and this refers to a slot of the one before; look at what the room has now, then send it anew`;
    this.#settle(room, item, { error: { code, message, room, id: append.id } });
  }

  /**
   * Whether the connection may number the appends of this room. A room keeps its place until the connection ends, so a client
   * of many rooms needs several, one after the other.
   * @param {string} room
   * @param {Queue} queue
   * @param {Limits} limits
   * @param {ReadonlyMap<string, unknown>} followed
   */
  #mayNumber(room, queue, limits, followed) {
    if (queue.nextSeq > 0 || followed.has(room) || !due(queue)) return true;
    const numbered = [...this.#rooms].filter(([name, { nextSeq }]) => nextSeq > 0 && !followed.has(name)).length;
    // With none numbered another connection could do no more: the server's answer says so.
    if (numbered === 0 || numbered + followed.size < (limits.rooms_per_connection ?? Infinity)) return true;
    this.#needsRoom = true;
    return false;
  }

  /** @param {string} room @param {number | undefined} seq */
  #item(room, seq) {
    if (seq === undefined) return undefined;
    return this.#rooms.get(room)?.items.find(item => item.seq === seq);
  }

  /**
   * The server did not take it because it expects another number first. Whatever holds that number
   * was refused itself, or is on its way: it is, or will be, sent before this one.
   * @param {string} room
   * @param {Item} item
   * @param {number | undefined} expected
   */
  #outOfOrder(room, item, expected) {
    const explained = expected !== undefined && expected < (item.seq ?? 0) && this.#item(room, expected);
    if (!explained && ++item.puzzles > MOST_PUZZLES) {
      return `the server expects seq ${expected} of room ${quoted(room)}, which has its outcome`;
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

/** What a queue has to send next: what was refused first, then what is new. @param {Queue} queue */
function due(queue) {
  return queue.items.find(item => item.again || item.seq === null);
}

/**
 * Why no server with these limits takes a frame.
 * @param {Append} frame
 * @param {Limits} limits
 * @returns {string | null}
 */
function tooLarge(frame, limits) {
  const check = (/** @type {string} */ what, /** @type {string} */ text, /** @type {number} */ most) => {
    // A unit of UTF-16 is three bytes at most: most texts need not be counted.
    if (text.length * 3 <= most) return null;
    const bytes = utf8.encode(text).length;
    return bytes > most ? `${what} has ${bytes} bytes, more than ${most}` : null;
  };
  return check("body", frame.body, limits.body_bytes)
    ?? check("meta", frame.meta ?? "", limits.meta_bytes)
    ?? check("the frame", JSON.stringify(frame), limits.frame_bytes);
}
