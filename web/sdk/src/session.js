// One client's dealings with a server, over all its connections, without a socket and without a clock.
//
// ```text
//  appends ──► Outbox ───┐               ┌──► outcomes
//  reads   ──►           ├─► frames  ────┤──► replies
//  rooms   ──► Timelines ┘   answers ◄───└──► deliveries
// ```
//
// Enters: what callers want, frames of the server, losses, the time in ms. Leaves: frames to send, answers
// to reads, and deliveries. Invariants: a read is asked until it has one answer; a room is joined anew after
// each loss, at the slot it had; of a room at most one `join` or `update` is unanswered; appends go
// behind what is asked, so that a long outbox holds up no read. Marks (`req`) of appends are positive,
// those of what is asked negative.

import { isTransient, retryIn, stretched } from "./backoff.js";
import { Outbox } from "./outbox.js";
import { Timeline } from "./timeline.js";

/** @typedef {import("./types.js").Append} Append */
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").ErrorFrame} ErrorFrame */
/** @typedef {import("./types.js").Limits} Limits */
/** @typedef {import("./types.js").Reply} Reply */

/** How often a room is asked whether anything was missed; up to half longer. */
export const CHECK_MS = 24_000;
/** How long the answer to what is asked may take. A read may wait for the log as long as `ahead_ms`. */
export const ANSWER_MS = 10_000;
/** After so long without a word the server is asked for one. */
export const QUIET_MS = 15_000;
/** How much longer than the server's own bound the answer to an append is waited for. */
const APPEND_SLACK_MS = 10_000;
/** Reads without an answer, at most. */
export const READS = 32;

/**
 * A room that is followed.
 * @typedef {object} Following
 * @property {Timeline} timeline
 * @property {boolean} joined on this connection
 * @property {boolean} asked something is unanswered
 * @property {number} due when to ask next
 */

/**
 * A read that has no answer.
 * @typedef {object} Read
 * @property {string} room
 * @property {{count: number, upto: number} | {after: number, count?: number}} members
 * @property {number} due when to ask; Infinity while it is asked
 * @property {(error: ErrorFrame | null, entries: Entry[]) => void} done
 */

/**
 * @typedef {{type: "entries", room: string, entries: Entry[]}
 *   | {type: "gap", room: string}
 *   | {type: "reset", room: string, why: "new_log" | "diverged"}
 *   | {type: "error", room: string | null, error: ErrorFrame}
 *   | {type: "heads", rooms: Record<string, number>}
 *   | {type: "settled", outcome: import("./outbox.js").Outcome}} Delivery
 */

export class Session {
  outbox = new Outbox();
  /** @type {string | null} */
  #log = null;
  /** @type {Limits | null} */
  #limits = null;
  /** @type {Map<string, Following>} */
  #rooms = new Map();
  /** @type {Map<number, Read>} */
  #reads = new Map();
  /** What is unanswered, by mark. @type {Map<number, {room: string | null, what: "join" | "page" | "read", sent: number}>} */
  #asked = new Map();
  /** Frames that need no answer. @type {object[]} */
  #control = [];
  /** @type {Delivery[]} */
  #deliveries = [];
  #lastReq = 0;
  #watches = false;
  #heard = 0;
  #pinged = false;

  /** The name of the server's log. */
  get log() { return this.#log; }

  /** How many entries of followed rooms the server has and this does not. */
  get behind() {
    let sum = 0;
    for (const { timeline } of this.#rooms.values()) {
      sum += timeline.last === null ? 0 : Math.max(0, timeline.latest - timeline.last);
    }
    return sum;
  }

  /** Whether every followed room has its reply on this connection. */
  get caughtUp() {
    return [...this.#rooms.values()].every(it => it.joined) && this.behind === 0;
  }

  /**
   * Follows a room.
   * @param {string} room
   * @param {number} count entries of the first reply
   * @param {number} now
   */
  follow(room, count, now) {
    const timeline = new Timeline(room, count);
    this.#drop(room);
    this.#rooms.set(room, { timeline, joined: false, asked: false, due: now });
    return timeline;
  }

  /** @param {string} room */
  unfollow(room) {
    if (this.#rooms.get(room)?.joined) this.#control.push({ type: "leave", room });
    this.#rooms.delete(room);
    this.#drop(room);
  }

  /**
   * Reads slots of a room that is followed: they go into its timeline, and those that are new to it
   * to `done`.
   * @param {string} room
   * @param {Read["members"]} members
   * @param {number} now
   * @param {Read["done"]} done
   */
  read(room, members, now, done) {
    if (this.#reads.size >= READS) {
      done({ code: "busy", message: `${READS} reads wait for their answer`, room }, []);
      return;
    }
    this.#reads.set(--this.#lastReq, { room, members, due: now, done });
  }

  /** Asks for the heads of all rooms, now and when they move. */
  watch() {
    if (!this.#watches && this.#limits) this.#control.push({ type: "watch" });
    this.#watches = true;
  }

  /**
   * A connection stands.
   * @param {{log: string, limits: Limits}} hello
   * @param {number} now
   */
  connected(hello, now) {
    if (this.#log !== null && this.#log !== hello.log) {
      this.outbox.newLog();
      this.#handOut();
      for (const [room, following] of this.#rooms) this.#reset(room, following, "new_log", now);
    }
    this.#log = hello.log;
    this.#limits = hello.limits;
    this.#control = this.#watches ? [{ type: "watch" }] : [];
    this.#heardAt(now);
  }

  /** The connection is gone. @param {number} now */
  disconnected(now) {
    this.outbox.disconnected();
    this.#asked.clear();
    this.#control = [];
    for (const following of this.#rooms.values()) Object.assign(following, { joined: false, asked: false, due: now });
    for (const read of this.#reads.values()) read.due = now;
    this.#limits = null;
  }

  /**
   * Takes a frame of the server.
   * @param {any} frame
   * @param {number} now
   * @param {number} unit from 0 to 1
   * @returns {string | null} why the connection is of no more use
   */
  frame(frame, now, unit) {
    this.#heardAt(now);
    let useless = null;
    switch (frame.type) {
      case "appended": this.outbox.appended(frame); break;
      case "ack": this.#ack(frame, now); break;
      case "reply": this.#reply(frame, now, unit); break;
      case "heads": this.#deliveries.push({ type: "heads", rooms: frame.rooms }); break;
      case "error":
        if (frame.req > 0) useless = this.outbox.refused(frame, now, unit);
        else useless = this.#refused(frame, now, unit);
        break;
    }
    this.#handOut();
    return useless;
  }

  /**
   * The next frame to send.
   * @param {number} now
   * @returns {object | null}
   */
  nextFrame(now) {
    if (!this.#limits) return null;
    const frame = this.#control.shift() ?? this.#nextAsk(now) ?? this.outbox.nextFrame(now, this.#limits);
    this.#handOut(); // What is too large has its outcome without being sent.
    return frame;
  }

  /**
   * Looks at the clock.
   * @param {number} now
   * @returns {{wake: number} | {dead: string}} when to look again, or why the connection is dead
   */
  look(now) {
    const asked = Math.min(...[...this.#asked.values()].map(it => it.sent));
    if (now >= asked + ANSWER_MS) return { dead: `the server left a question unanswered for ${ANSWER_MS / 1e3} s` };
    const patience = (this.#limits?.append_ms ?? 0) + APPEND_SLACK_MS;
    const appended = this.outbox.oldestUnanswered ?? Infinity;
    if (now >= appended + patience) return { dead: `the server left an append unanswered for ${patience / 1e3} s` };
    if (now >= this.#heard + QUIET_MS + ANSWER_MS) return { dead: "the server does not answer a ping" };
    if (now >= this.#heard + QUIET_MS && !this.#pinged && this.#limits) {
      this.#pinged = true;
      this.#control.push({ type: "ping" });
    }
    const quiet = this.#heard + QUIET_MS + (this.#pinged ? ANSWER_MS : 0);
    const due = [...this.#rooms.values()].filter(it => !it.asked).map(it => it.due);
    const reads = [...this.#reads.values()].map(it => it.due);
    const wake = Math.min(quiet, asked + ANSWER_MS, appended + patience, this.outbox.nextWake(), ...due, ...reads);
    return { wake: this.#control.length > 0 ? now : wake };
  }

  /** The next thing for those who listen. @returns {Delivery | undefined} */
  nextDelivery() {
    return this.#deliveries.shift();
  }

  /** @param {number} now */
  #heardAt(now) {
    this.#heard = now;
    this.#pinged = false;
  }

  /** What is due to be asked: followings, then reads. @param {number} now */
  #nextAsk(now) {
    for (const [room, following] of this.#rooms) {
      if (following.asked || now < following.due) continue;
      following.asked = true;
      const { timeline, joined } = following;
      if (joined) return this.#ask("page", room, { type: "update", room, ...timeline.update() }, now);
      return this.#ask("join", room, { type: "join", room, ...timeline.join() }, now);
    }
    for (const [req, read] of this.#reads) {
      if (now < read.due) continue;
      read.due = Infinity;
      return this.#ask("read", read.room, { type: "update", room: read.room, ...read.members }, now, req);
    }
    return null;
  }

  /**
   * @param {"join" | "page" | "read"} what
   * @param {string} room
   * @param {object} frame
   * @param {number} now
   */
  #ask(what, room, frame, now, req = --this.#lastReq) {
    this.#asked.set(req, { room, what, sent: now });
    return { ...frame, req };
  }

  /** @param {{room: string, entries: Entry[]}} ack @param {number} now */
  #ack({ room, entries }, now) {
    const following = this.#rooms.get(room);
    if (following?.joined) this.#step(room, following, following.timeline.ack(entries), now);
  }

  /** @param {Reply} reply @param {number} now @param {number} unit */
  #reply(reply, now, unit) {
    const req = /** @type {number} */ (reply.req), asked = this.#asked.get(req);
    if (!asked) return;
    this.#asked.delete(req);
    const room = /** @type {string} */ (asked.room), following = this.#rooms.get(room);
    if (asked.what === "read") this.#readDone(req, following, reply, now);
    if (!following || asked.what === "read") return;
    Object.assign(following, { asked: false, due: now + stretched(CHECK_MS, unit) });
    const { timeline } = following;
    if (asked.what === "page") return this.#step(room, following, timeline.page(reply), now);
    const step = timeline.joined(reply);
    if (step.far) {
      timeline.leap();
      following.due = now;
      this.#deliveries.push({ type: "gap", room });
      return;
    }
    following.joined = true;
    this.#step(room, following, step, now);
  }

  /** @param {number} req @param {Following | undefined} following @param {Reply} reply @param {number} now */
  #readDone(req, following, reply, now) {
    const read = this.#reads.get(req);
    if (!read) return;
    this.#reads.delete(req);
    if (!following) return read.done({ code: "left", message: "the room was left", room: read.room }, []);
    const step = following.timeline.fill(reply);
    if (step.diverged) {
      this.#reset(read.room, following, "diverged", now);
      return read.done({ code: "diverged", message: "the server's log is not the one that was held", room: read.room }, []);
    }
    read.done(null, step.entries);
  }

  /** @param {string} room @param {Following} following @param {import("./timeline.js").Step} step @param {number} now */
  #step(room, following, step, now) {
    if (step.diverged) return this.#reset(room, following, "diverged", now);
    if (step.entries.length > 0) this.#deliveries.push({ type: "entries", room, entries: step.entries });
    if (step.missing && !following.asked) following.due = now;
  }

  /** @param {string} room @param {Following} following @param {"new_log" | "diverged"} why @param {number} now */
  #reset(room, following, why, now) {
    following.timeline.reset();
    this.#drop(room);
    Object.assign(following, { joined: false, asked: false, due: now });
    this.#deliveries.push({ type: "reset", room, why });
  }

  /**
   * What was asked is refused; or, without a mark, a following has ended.
   * @param {ErrorFrame} error
   * @param {number} now
   * @param {number} unit
   * @returns {string | null}
   */
  #refused(error, now, unit) {
    const again = now + retryIn(error, unit);
    const asked = error.req === undefined ? undefined : this.#asked.get(error.req);
    const room = asked?.room ?? error.room ?? null, following = room === null ? undefined : this.#rooms.get(room);
    if (error.req === undefined && following) {
      Object.assign(following, { joined: false, due: following.asked ? following.due : again });
      return null;
    }
    if (error.code === "login_required" || error.code === "unauthorized") return `${error.code}: ${error.message}`;
    if (!asked) {
      // With a mark: the answer to what was asked for a following that has ended since.
      if (error.req === undefined) this.#deliveries.push({ type: "error", room, error });
      return null;
    }
    const req = /** @type {number} */ (error.req);
    this.#asked.delete(req);
    if (asked.what === "read") this.#readRefused(req, error, again);
    else if (following) this.#askRefused(/** @type {string} */ (room), following, error, now, again);
    return null;
  }

  /** @param {number} req @param {ErrorFrame} error @param {number} again */
  #readRefused(req, error, again) {
    const read = this.#reads.get(req);
    if (!read) return;
    if (isTransient(error)) {
      read.due = again;
      return;
    }
    this.#reads.delete(req);
    read.done(error, []);
  }

  /** @param {string} room @param {Following} following @param {ErrorFrame} error @param {number} now @param {number} again */
  #askRefused(room, following, error, now, again) {
    Object.assign(following, { asked: false, due: again });
    if (error.code === "diverged") return this.#reset(room, following, "diverged", now);
    if (isTransient(error)) return;
    following.due = Infinity; // It is not asked again: nothing here would change the answer.
    this.#deliveries.push({ type: "error", room, error });
  }

  /** Answers to what was asked for a following until now are of no use any more. @param {string} room */
  #drop(room) {
    for (const [req, asked] of this.#asked) {
      if (asked.room === room && asked.what !== "read") this.#asked.delete(req);
    }
  }

  #handOut() {
    for (let outcome; (outcome = this.outbox.nextSettled());) this.#deliveries.push({ type: "settled", outcome });
  }
}
