// Reads that have no answer yet.
//
// Enters: what is to be read, refusals, losses. Leaves: what to ask, and one answer for each read. Invariants: there are
// at most READS; each is asked until it has its answer, and has one when there can be none any more.

import { isTransient } from "./backoff.js";

/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").ErrorFrame} ErrorFrame */

/** Reads without an answer, at most. */
export const READS = 32;

/**
 * @typedef {object} Read
 * @property {string} room
 * @property {{count: number, upto: number | null} | {after: number, count?: number}} members `upto` null: before what is
 *   held, which is not known yet
 * @property {number} due when to ask; Infinity while it is asked, or not known what
 * @property {(error: ErrorFrame | null, entries: Entry[]) => void} done
 */

export class Reads {
  /** By mark. @type {Map<number, Read>} */
  #reads = new Map();
  /** Why there are no answers: the login was refused. @type {ErrorFrame | null} */
  #refused = null;

  /**
   * Takes a read, unless there are too many.
   * @param {number} req
   * @param {Read} read
   */
  add(req, read) {
    const { room, done } = read;
    if (this.#refused) done({ ...this.#refused, room }, []);
    else if (this.#reads.size < READS) this.#reads.set(req, read);
    else done({ code: "busy", message: `${READS} reads wait for their answer; ask again when some have theirs`, room }, []);
  }

  /**
   * What is held of a room begins at this slot: reads of what precedes it can be asked.
   * @param {string} room
   * @param {number | null} first null: that is not known yet
   * @param {number} now
   */
  begin(room, first, now) {
    if (first === null) return;
    for (const [req, read] of this.#unbegun(room)) {
      if (first === 0) this.answered(req)?.done(null, []);
      else Object.assign(read, { members: { ...read.members, upto: first - 1 }, due: now });
    }
  }

  /** The room has no first reply. @param {ErrorFrame} error @param {string} room */
  endUnbegun(error, room) {
    for (const [req] of this.#unbegun(room)) this.answered(req)?.done(error, []);
  }

  /** @param {string} room */
  #unbegun(room) {
    return [...this.#reads].filter(([, read]) => read.room === room && "upto" in read.members && read.members.upto === null);
  }

  /** When there is something to ask. */
  get due() { return Math.min(...[...this.#reads.values()].map(it => it.due)); }

  /** What is to be asked now, which counts as asked from then on. @param {number} now @returns {[number, Read] | undefined} */
  next(now) {
    const next = [...this.#reads].find(([, read]) => now >= read.due);
    if (next) next[1].due = Infinity;
    return next;
  }

  /** All are to be asked again: the connection is gone. @param {number} now */
  disconnected(now) {
    for (const read of this.#reads.values()) {
      if (!("upto" in read.members) || read.members.upto !== null) read.due = now;
    }
  }

  /** The answer to this mark is here. @param {number} req */
  answered(req) {
    const read = this.#reads.get(req);
    this.#reads.delete(req);
    return read;
  }

  /**
   * @param {number} req
   * @param {ErrorFrame} error
   * @param {number} again when to ask again, if that can help
   * @param {number} latest the latest slot that the room was seen to have: a later one may never come
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

  /** The login is refused, so that all reads have this for an answer; null: another login is tried. @param {ErrorFrame | null} error */
  loginRefused(error) {
    this.#refused = error;
    if (error) this.end(error);
  }

  /** Reads, of one room or of all, have this for an answer. @param {ErrorFrame} error @param {string} [room] */
  end(error, room) {
    for (const [req, read] of this.#reads) {
      if (room !== undefined && read.room !== room) continue;
      this.#reads.delete(req);
      read.done({ ...error, room: read.room }, []);
    }
  }
}
