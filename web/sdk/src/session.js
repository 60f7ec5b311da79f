// One client's dealings with a server, over all its connections, without a socket and without a clock.
//
// ```text
//  appends ──► Outbox ───┐               ┌──► outcomes
//  reads   ──►           ├─► frames  ────┤──► replies
//  rooms   ──► Timelines ┘   answers ◄───└──► deliveries
// ```
//
// Enters: what callers want, frames of the server, losses, the time in ms. Leaves: frames to send, answers
// to reads, and deliveries. Invariants: a read is asked until it has one answer, and has one when its room is left,
// the log changes or the client ends; a room is joined anew after each loss, at the slot it had; of a room at most
// one `join` or `update` is unanswered, and no room that was left is followed by the server; appends go behind
// what is asked, so that a long outbox holds up no read. Answers are matched by their marks (`req`): those of
// appends are positive, those of what is asked negative.

import { isTransient, retryIn, stretched } from "./backoff.js";
import { Outbox } from "./outbox.js";
import { Reads } from "./reads.js";
import { Timeline } from "./timeline.js";

/** @typedef {import("./types.js").Delivery} Delivery */
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
/** When a server that has fewer entries of a room than this client is reported, and reported again. */
export const AHEAD_MS = 60_000;

/**
 * A room that is followed.
 * @typedef {object} Following
 * @property {Timeline} timeline
 * @property {boolean} joined on this connection
 * @property {boolean} asked something is unanswered
 * @property {boolean} sent a `join` was sent on this connection: the server may follow it
 * @property {number} due when to ask next
 * @property {number} aheadSince since when the server has had less of the room than this; Infinity when it has not
 * @property {ErrorFrame | null} refused why the server does not let this connection follow it
 */

export class Session {
  outbox = new Outbox();
  /** @type {string | null} */
  #log = null;
  /** What the server takes, as its last `hello` said; null before the first. @type {Limits | null} */
  limits = null;
  /** Those of the connection; null while there is none. @type {Limits | null} */
  #limits = null;
  /** @type {Map<string, Following>} */
  #rooms = new Map();
  #reads = new Reads();
  /** What is unanswered, by mark. @type {Map<number, {room: string, what: "join" | "page" | "read", sent: number}>} */
  #asked = new Map();
  /** The mark of the `watch` of this connection, and when to send it. @type {{req: number, due: number} | null} */
  #watch = null;
  /** Frames that need no answer. @type {object[]} */
  #control = [];
  /** @type {Delivery[]} */
  #deliveries = [];
  #lastReq = 0;
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
    return [...this.#rooms.values()].every(it => it.joined || it.refused) && this.behind === 0;
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
    this.#rooms.set(room, { timeline, joined: false, asked: false, sent: false, due: now, aheadSince: Infinity, refused: null });
    return timeline;
  }

  /** @param {string} room */
  unfollow(room) {
    const following = this.#rooms.get(room);
    // A `join` that has no answer yet is a following too; one that was refused is none, and the server would refuse its `leave`.
    if (following?.sent && !following.refused) this.#control.push({ type: "leave", room });
    this.#rooms.delete(room);
    this.#drop(room);
    this.#reads.end({ code: "left", message: "the room was left before the answer came", room }, room);
  }

  /** Ends all reads: no answer will come. @param {ErrorFrame} error */
  end(error) { this.#reads.end(error); }

  /**
   * The login was refused, which is final until there is another.
   * @param {ErrorFrame | null} error null: another login is tried
   * @param {string} [author] a name that no server takes
   */
  loginRefused(error, author) {
    this.#reads.loginRefused(error);
    this.outbox.authorRefused(error && author !== undefined ? { author, error } : null);
    this.#handOut();
  }

  /**
   * Reads slots of a room that is followed: they go into its timeline, and those that are new to it
   * to `done`.
   * @param {string} room
   * @param {import("./reads.js").Read["members"]} members
   * @param {number} now
   * @param {import("./reads.js").Read["done"]} done
   */
  read(room, members, now, done) {
    this.#reads.add(--this.#lastReq, { room, members, due: now, done });
  }

  /**
   * Reads slots before what is held of a room, once its first reply tells what that is.
   * @param {string} room
   * @param {number} count
   * @param {number} now
   * @param {import("./reads.js").Read["done"]} done
   */
  before(room, count, now, done) {
    this.#reads.add(--this.#lastReq, { room, members: { count, upto: null }, due: Infinity, done });
    const { timeline, refused } = this.#rooms.get(room) ?? {};
    this.#reads.begin(room, timeline?.first ?? null, now);
    if (refused) this.#reads.endUnbegun(refused, room);
  }

  /** Asks for the heads of all rooms, now and when they move. */
  watch() {
    this.#watch ??= { req: --this.#lastReq, due: 0 };
  }

  /**
   * A connection stands.
   * @param {{log: string, limits: Limits}} hello
   * @param {number} now
   */
  connected(hello, now) {
    this.outbox.connected(hello.log);
    this.#handOut();
    if (this.#log !== null && this.#log !== hello.log) {
      for (const [room, following] of this.#rooms) this.#reset(room, following, "new_log", now);
    }
    this.#log = hello.log;
    this.limits = this.#limits = hello.limits;
    this.#control = [];
    this.#heardAt(now);
  }

  /** The connection is gone. @param {number} now */
  disconnected(now) {
    this.outbox.disconnected();
    this.#asked.clear();
    this.#control = [];
    const unasked = { joined: false, asked: false, sent: false, due: now, aheadSince: Infinity, refused: null };
    for (const following of this.#rooms.values()) Object.assign(following, unasked);
    this.#reads.disconnected(now);
    if (this.#watch) this.#watch = { req: --this.#lastReq, due: now };
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
      case "appended": useless = this.outbox.appended(frame); break;
      case "ack": this.#ack(frame, now); break;
      case "reply": this.#reply(frame, now, unit); break;
      case "heads": this.#deliveries.push({ type: "heads", rooms: byName(frame.rooms) }); break;
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
    const frame = this.#control.shift() ?? this.#nextAsk(now) ?? this.outbox.nextFrame(now, this.#limits, this.#rooms);
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
    if (this.outbox.isExhausted) return { dead: "another connection is needed: this one has as many rooms as it may" };
    if (now >= this.#heard + QUIET_MS + ANSWER_MS) return { dead: "the server does not answer a ping" };
    if (now >= this.#heard + QUIET_MS && !this.#pinged && this.#limits) {
      this.#pinged = true;
      this.#control.push({ type: "ping" });
    }
    const quiet = this.#heard + QUIET_MS + (this.#pinged ? ANSWER_MS : 0);
    const due = [...this.#rooms.values()].filter(it => !it.asked).map(it => it.due);
    const wake = Math.min(
      quiet, asked + ANSWER_MS, appended + patience, this.outbox.nextWake(), this.#reads.due, this.#watch?.due ?? Infinity, ...due,
    );
    return { wake: this.#control.length > 0 ? now : wake };
  }

  /** The next thing for those who listen. @returns {Delivery | undefined} */
  nextDelivery() {
    this.#handOut(); // An append that cannot be sent has its outcome as soon as it is in the outbox.
    return this.#deliveries.shift();
  }

  /** @param {number} now */
  #heardAt(now) {
    this.#heard = now;
    this.#pinged = false;
  }

  /** What is due to be asked: followings, then reads. @param {number} now */
  #nextAsk(now) {
    if (this.#watch && now >= this.#watch.due) {
      this.#watch.due = Infinity;
      return { type: "watch", req: this.#watch.req };
    }
    for (const [room, following] of this.#rooms) {
      if (following.asked || now < following.due) continue;
      const { timeline, joined } = following;
      following.asked = true;
      if (joined) return this.#ask("page", room, { type: "update", room, ...timeline.update() }, now);
      following.sent = true;
      return this.#ask("join", room, { type: "join", room, ...timeline.join() }, now);
    }
    const next = this.#reads.next(now);
    if (!next) return null;
    const [req, { room, members }] = next;
    return this.#ask("read", room, { type: "update", room, ...members }, now, req);
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
    const { room } = asked, following = this.#rooms.get(room);
    if (!following) return;
    if (asked.what === "read") return this.#readDone(req, following, reply, now);
    Object.assign(following, { asked: false, due: now + stretched(CHECK_MS, unit), aheadSince: Infinity });
    const { timeline } = following, begins = timeline.last === null;
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
    // Whoever waits for the room's beginning hears that it is here, even when it holds nothing.
    if (begins && timeline.last !== null && step.entries.length === 0) this.#deliveries.push({ type: "entries", room, entries: [] });
    this.#reads.begin(room, timeline.first, now);
  }

  /** @param {number} req @param {Following} following @param {Reply} reply @param {number} now */
  #readDone(req, following, reply, now) {
    const { timeline } = following, step = timeline.fill(reply);
    if (step.diverged) this.#reset(timeline.room, following, "diverged", now);
    else this.#reads.answered(req)?.done(null, step.entries);
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
    Object.assign(following, { joined: false, asked: false, due: now, aheadSince: Infinity });
    if (why === "diverged") this.outbox.diverged(room);
    this.#deliveries.push({ type: "reset", room, why });
    const what = why === "new_log" ? "the server has another log than before" : "the server's log is not the one that was held";
    this.#reads.end({ code: why, message: `${what}; read again`, room }, room);
  }

  /**
   * What was asked is refused; or, without a mark, a following or the watch has ended.
   * @param {ErrorFrame} error
   * @param {number} now
   * @param {number} unit
   * @returns {string | null}
   */
  #refused(error, now, unit) {
    const again = now + retryIn(error, unit);
    if (error.code === "login_required" || error.code === "unauthorized") return `${error.code}: ${error.message}`;
    if (error.req === undefined) this.#ended(error, again);
    else if (this.#watch?.req === error.req) this.#watchRefused(error, again);
    const asked = error.req === undefined ? undefined : this.#asked.get(error.req);
    // Without one: the answer to what was asked for a following that has ended since.
    if (!asked) return null;
    const req = /** @type {number} */ (error.req), following = this.#rooms.get(asked.room);
    this.#asked.delete(req);
    if (asked.what === "read") this.#reads.refused(req, error, again, following?.timeline.latest ?? -1);
    else if (following) this.#askRefused(asked.room, following, error, now, again);
    return null;
  }

  /** What the server sent unasked has ended: a following, or the watch. @param {ErrorFrame} error @param {number} again */
  #ended(error, again) {
    const room = error.room ?? null, following = room === null ? undefined : this.#rooms.get(room);
    if (following) Object.assign(following, { joined: false, due: following.asked ? following.due : again });
    else if (room === null && this.#watch && isTransient(error)) this.#watchRefused(error, again);
    else this.#deliveries.push({ type: "error", room, error });
  }

  /** @param {ErrorFrame} error @param {number} again */
  #watchRefused(error, again) {
    if (isTransient(error)) this.#watch = { req: --this.#lastReq, due: again };
    else this.#deliveries.push({ type: "error", room: null, error });
  }

  /** @param {string} room @param {Following} following @param {ErrorFrame} error @param {number} now @param {number} again */
  #askRefused(room, following, error, now, again) {
    Object.assign(following, { asked: false, due: again });
    if (error.code === "diverged") return this.#reset(room, following, "diverged", now);
    if (error.code === "ahead") return this.#stillAhead(room, following, error, now);
    if (isTransient(error)) return;
    this.#reads.endUnbegun(error, room);
    following.refused = error;
    following.due = Infinity; // It is not asked again: nothing here would change the answer.
    this.#deliveries.push({ type: "error", room, error });
  }

  /** @param {string} room @param {Following} following @param {ErrorFrame} error @param {number} now */
  #stillAhead(room, following, error, now) {
    following.aheadSince = Math.min(following.aheadSince, now);
    if (now < following.aheadSince + AHEAD_MS) return;
    following.aheadSince = now;
    const message = `the server ends at slot ${error.latest}, this client has seen slot ${following.timeline.last}; `
      + "the server is far behind, or its data was set back: leave the room and open it again to see what it has";
    this.#deliveries.push({ type: "error", room, error: { ...error, message } });
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

/** Names are other people's: no member of an object may stand for one that is not there. @param {Record<string, number>} rooms */
function byName(rooms) {
  return Object.assign(Object.create(null), rooms);
}
