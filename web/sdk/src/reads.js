// Reads without an answer.
//
// In: reads, errors, lost connections. Out: requests to send, and one answer per read. Invariants: there are at most MAX_READS;
// a read is requested until it is answered, and rejected when no answer can come.

import { isTransient } from "./backoff.js";

/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").ErrorFrame} ErrorFrame */

/** The limit of reads without an answer; further ones are rejected with `busy`. */
export const MAX_READS = 32;

/**
 * @typedef {object} Read
 * @property {string} room
 * @property {{count: number, upto: number | null} | {after: number, count?: number}} members of the request; `upto` is null
 *   while the first slot that is held is unknown
 * @property {number} due when to send the request; Infinity while it is unanswered, or `upto` is null
 * @property {(error: ErrorFrame | null, entries: Entry[]) => void} done
 */

export class Reads {
  /** By `req`. @type {Map<number, Read>} */
  #reads = new Map();
  /** The error of a refused login, which rejects all reads. @type {ErrorFrame | null} */
  #refused = null;

  /**
   * Adds a read, unless there are too many.
   * @param {number} req
   * @param {Read} read
   */
  add(req, read) {
    const { room, done } = read;
    if (this.#refused) done({ ...this.#refused, room }, []);
    else if (this.#reads.size < MAX_READS) this.#reads.set(req, read);
    else done({ code: "busy", message: `${MAX_READS} reads are waiting for their answer; wait for some of them, then try again`, room }, []);
  }

  /**
   * The first slot that is held of a room is known, so reads of the slots before it can be sent.
   * @param {string} room
   * @param {number | null} first null: still unknown
   * @param {number} now
   */
  setFirst(room, first, now) {
    if (first === null) return;
    for (const [req, read] of this.#withoutUpto(room)) {
      if (first === 0) this.answered(req)?.done(null, []);
      else Object.assign(read, { members: { ...read.members, upto: first - 1 }, due: now });
    }
  }

  /** Rejects reads of a room whose first slot stays unknown. @param {ErrorFrame} error @param {string} room */
  rejectWithoutUpto(error, room) {
    for (const [req] of this.#withoutUpto(room)) this.answered(req)?.done(error, []);
  }

  /** @param {string} room */
  #withoutUpto(room) {
    return [...this.#reads].filter(([, read]) => read.room === room && "upto" in read.members && read.members.upto === null);
  }

  /** When the next request is due. */
  get due() { return Math.min(...[...this.#reads.values()].map(it => it.due)); }

  /** Takes the next request that is due. @param {number} now @returns {[number, Read] | undefined} */
  next(now) {
    const next = [...this.#reads].find(([, read]) => now >= read.due);
    if (next) next[1].due = Infinity;
    return next;
  }

  /** The connection was lost: all requests are sent again. @param {number} now */
  disconnected(now) {
    for (const read of this.#reads.values()) {
      if (!("upto" in read.members) || read.members.upto !== null) read.due = now;
    }
  }

  /** Removes and returns the read that was answered. @param {number} req */
  answered(req) {
    const read = this.#reads.get(req);
    this.#reads.delete(req);
    return read;
  }

  /**
   * Handles an error: schedules a retry or rejects the read.
   * @param {number} req
   * @param {ErrorFrame} error
   * @param {number} again when to retry
   * @param {number} latest the latest known slot of the room: slots after it may never exist
   */
  refused(req, error, again, latest) {
    const read = this.#reads.get(req);
    if (!read) return;
    const after = "after" in read.members ? read.members.after : -1;
    if (isTransient(error) && (error.code !== "ahead" || after <= latest)) {
      read.due = again;
      return;
    }
    this.#reads.delete(req);
    read.done(error, []);
  }

  /** The login was refused: rejects all reads, now and later; null: another login is in use. @param {ErrorFrame | null} error */
  loginRefused(error) {
    this.#refused = error;
    if (error) this.end(error);
  }

  /** Rejects the reads of a room, or all of them. @param {ErrorFrame} error @param {string} [room] */
  end(error, room) {
    for (const [req, read] of this.#reads) {
      if (room !== undefined && read.room !== room) continue;
      this.#reads.delete(req);
      read.done({ ...error, room: read.room }, []);
    }
  }
}
