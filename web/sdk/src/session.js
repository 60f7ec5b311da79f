// The state of a client across its connections. No I/O: the caller passes in frames and the time.
//
// ```text
//  appends ──► Outbox ───┐               ┌──► outcomes
//  reads   ──►           ├─► frames  ────┤──► replies
//  rooms   ──► Timelines ┘   answers ◄───└──► deliveries
// ```
//
// In: calls, frames from the server, lost connections, the time in ms. Out: frames to send, answers to reads, and deliveries.
// Invariants: a read is requested until it is answered, or rejected because its room was left, the log changed or the client
// was closed; after a lost connection each room is joined again at the slot it had; a room has at most one unanswered `join`
// or `update`; the server is told to leave each room that was left; requests go before appends, so a long outbox does not
// delay reads. Answers are matched by `req`: positive for appends, negative for other requests.

import { isTransient, retryDelay, withJitter } from "./backoff.js";
import { Outbox } from "./outbox.js";
import { Reads } from "./reads.js";
import { Timeline } from "./timeline.js";

/** @typedef {import("./types.js").Delivery} Delivery */
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").ErrorFrame} ErrorFrame */
/** @typedef {import("./types.js").Limits} Limits */
/** @typedef {import("./types.js").Reply} Reply */

/** How often a room is checked for missed entries, in ms; jitter lengthens it by up to half. */
export const CHECK_MS = 24_000;
/** The timeout of a request, in ms. The server may hold one back for up to its `ahead_ms`. */
export const ANSWER_MS = 10_000;
/** After this long without a frame, the server gets a `ping`, in ms. */
export const QUIET_MS = 15_000;
/** How much longer than the server's `append_ms` an append may stay unanswered, in ms. */
const APPEND_SLACK_MS = 10_000;
/** How often it is reported that the server has fewer entries of a room than this client, in ms. */
export const AHEAD_MS = 60_000;

/**
 * A room that is followed.
 * @typedef {object} Following
 * @property {Timeline} timeline
 * @property {boolean} joined whether `join` was answered on this connection
 * @property {boolean} waiting whether a request is unanswered
 * @property {boolean} sent whether `join` was sent on this connection, so that the server may follow it
 * @property {number} due when to send the next request
 * @property {number} aheadSince since when the server has had fewer entries than this client; Infinity if it has not
 * @property {ErrorFrame | null} refused why this connection cannot follow it
 */

export class Session {
  outbox = new Outbox();
  /** @type {string | null} */
  #log = null;
  /** The limits of the last `hello`; null before the first. @type {Limits | null} */
  limits = null;
  /** The limits of this connection; null while there is none. @type {Limits | null} */
  #limits = null;
  /** @type {Map<string, Following>} */
  #rooms = new Map();
  #reads = new Reads();
  /** Unanswered requests, by `req`. @type {Map<number, {room: string, what: "join" | "page" | "read", sent: number}>} */
  #requests = new Map();
  /** The `req` of `watch` on this connection, and when to send it. @type {{req: number, due: number} | null} */
  #watch = null;
  /** Frames without an answer. @type {object[]} */
  #control = [];
  /** @type {Delivery[]} */
  #deliveries = [];
  #lastReq = 0;
  #lastFrameAt = 0;
  #pinged = false;

  /** The name of the server's log. */
  get log() { return this.#log; }

  /** How many entries of followed rooms are still to come; of those that are refused, none will. */
  get behind() {
    let sum = 0;
    for (const { timeline, refused } of this.#rooms.values()) {
      sum += timeline.last === null || refused ? 0 : Math.max(0, timeline.latest - timeline.last);
    }
    return sum;
  }

  /** Whether every followed room is up to date on this connection. */
  get caughtUp() {
    return [...this.#rooms.values()].every(it => it.joined || it.refused) && this.behind === 0;
  }

  /**
   * Follows a room.
   * @param {string} room
   * @param {number} count how many entries the first reply should have
   * @param {number} now
   */
  follow(room, count, now) {
    const timeline = new Timeline(room, count);
    this.#drop(room);
    this.#rooms.set(room, { timeline, joined: false, waiting: false, sent: false, due: now, aheadSince: Infinity, refused: null });
    return timeline;
  }

  /** @param {string} room */
  unfollow(room) {
    const following = this.#rooms.get(room);
    // The server follows a room from `join` on, answered or not. If it refused the `join`, it would refuse a `leave` too.
    if (following?.sent && !following.refused) this.#control.push({ type: "leave", room });
    this.#rooms.delete(room);
    this.#drop(room);
    this.#reads.end({ code: "left", message: "the room was left before the answer came", room }, room);
  }

  /** Rejects all reads. @param {ErrorFrame} error */
  end(error) { this.#reads.end(error); }

  /**
   * The login was refused, which is final until the next one.
   * @param {ErrorFrame | null} error null: another login is in use
   * @param {string} [author] the author, if the name is invalid
   */
  loginRefused(error, author) {
    this.#reads.loginRefused(error);
    this.outbox.authorRefused(error && author !== undefined ? { author, error } : null);
    this.#takeOutcomes();
  }

  /**
   * Reads slots of a followed room into its timeline; `done` gets the entries that were not held before.
   * @param {string} room
   * @param {import("./reads.js").Read["members"]} members
   * @param {number} now
   * @param {import("./reads.js").Read["done"]} done
   */
  read(room, members, now, done) {
    this.#reads.add(--this.#lastReq, { room, members, due: now, done });
  }

  /**
   * Reads the slots before those that are held of a room, once its first reply has come.
   * @param {string} room
   * @param {number} count
   * @param {number} now
   * @param {import("./reads.js").Read["done"]} done
   */
  before(room, count, now, done) {
    this.#reads.add(--this.#lastReq, { room, members: { count, upto: null }, due: Infinity, done });
    const { timeline, refused } = this.#rooms.get(room) ?? {};
    this.#reads.setFirst(room, timeline?.first ?? null, now);
    if (refused) this.#reads.rejectWithoutUpto(refused, room);
  }

  /** Starts `heads`: the latest slots of all rooms, now and whenever they change. */
  watch() {
    this.#watch ??= { req: --this.#lastReq, due: 0 };
  }

  /**
   * The server has sent `hello`.
   * @param {{log: string, limits: Limits}} hello
   * @param {number} now
   */
  connected(hello, now) {
    this.outbox.connected(hello.log);
    this.#takeOutcomes();
    if (this.#log !== null && this.#log !== hello.log) {
      for (const [room, following] of this.#rooms) this.#reset(room, following, "new_log", now);
    }
    this.#log = hello.log;
    this.limits = this.#limits = hello.limits;
    this.#control = [];
    this.#received(now);
  }

  /** The connection was lost. @param {number} now */
  disconnected(now) {
    this.outbox.disconnected();
    this.#requests.clear();
    this.#control = [];
    const initial = { joined: false, waiting: false, sent: false, due: now, aheadSince: Infinity, refused: null };
    for (const following of this.#rooms.values()) Object.assign(following, initial);
    this.#reads.disconnected(now);
    if (this.#watch) this.#watch = { req: --this.#lastReq, due: now };
    this.#limits = null;
  }

  /**
   * Handles a frame from the server.
   * @param {any} frame
   * @param {number} now
   * @param {number} random from 0 to 1
   * @returns {string | null} why to drop the connection, if it must be
   */
  frame(frame, now, random) {
    this.#received(now);
    let failure = null;
    switch (frame.type) {
      case "appended": failure = this.outbox.appended(frame); break;
      case "ack": this.#ack(frame, now); break;
      case "reply": this.#reply(frame, now, random); break;
      case "heads": this.#deliveries.push({ type: "heads", rooms: byName(frame.rooms) }); break;
      case "error":
        if (frame.req > 0) failure = this.outbox.refused(frame, now, random);
        else failure = this.#refused(frame, now, random);
        break;
    }
    this.#takeOutcomes();
    return failure;
  }

  /**
   * Takes the next frame to send; null if there is none.
   * @param {number} now
   * @returns {object | null}
   */
  nextFrame(now) {
    if (!this.#limits) return null;
    const frame = this.#control.shift() ?? this.#nextRequest(now) ?? this.outbox.nextFrame(now, this.#limits, this.#rooms);
    this.#takeOutcomes(); // An append that is too large has its outcome without being sent.
    return frame;
  }

  /**
   * Checks the timeouts.
   * @param {number} now
   * @returns {{wake: number} | {dead: string}} when to call this again, or why to drop the connection
   */
  tick(now) {
    const oldest = Math.min(...[...this.#requests.values()].map(it => it.sent));
    if (now >= oldest + ANSWER_MS) return { dead: `the server left a request unanswered for ${ANSWER_MS / 1e3} s` };
    const timeout = (this.#limits?.append_ms ?? 0) + APPEND_SLACK_MS;
    const appended = this.outbox.oldestUnanswered ?? Infinity;
    if (now >= appended + timeout) return { dead: `the server left an append unanswered for ${timeout / 1e3} s` };
    if (this.outbox.isExhausted) return { dead: "another connection is needed: this one has reached its limit of rooms" };
    if (now >= this.#lastFrameAt + QUIET_MS + ANSWER_MS) return { dead: "the server did not answer a ping" };
    if (now >= this.#lastFrameAt + QUIET_MS && !this.#pinged && this.#limits) {
      this.#pinged = true;
      this.#control.push({ type: "ping" });
    }
    const quiet = this.#lastFrameAt + QUIET_MS + (this.#pinged ? ANSWER_MS : 0);
    const due = [...this.#rooms.values()].filter(it => !it.waiting).map(it => it.due);
    const wake = Math.min(
      quiet, oldest + ANSWER_MS, appended + timeout, this.outbox.nextWake(), this.#reads.due, this.#watch?.due ?? Infinity, ...due,
    );
    return { wake: this.#control.length > 0 ? now : wake };
  }

  /** Takes the next delivery. @returns {Delivery | undefined} */
  nextDelivery() {
    this.#takeOutcomes(); // An append that cannot be sent has its outcome as soon as it is in the outbox.
    return this.#deliveries.shift();
  }

  /** @param {number} now */
  #received(now) {
    this.#lastFrameAt = now;
    this.#pinged = false;
  }

  /** Takes the next request that is due: `watch`, then rooms, then reads. @param {number} now */
  #nextRequest(now) {
    if (this.#watch && now >= this.#watch.due) {
      this.#watch.due = Infinity;
      return { type: "watch", req: this.#watch.req };
    }
    for (const [room, following] of this.#rooms) {
      if (following.waiting || now < following.due) continue;
      const { timeline, joined } = following;
      following.waiting = true;
      if (joined) return this.#request("page", room, { type: "update", room, ...timeline.update() }, now);
      following.sent = true;
      return this.#request("join", room, { type: "join", room, ...timeline.join() }, now);
    }
    const next = this.#reads.next(now);
    if (!next) return null;
    const [req, { room, members }] = next;
    return this.#request("read", room, { type: "update", room, ...members }, now, req);
  }

  /**
   * @param {"join" | "page" | "read"} what
   * @param {string} room
   * @param {object} frame
   * @param {number} now
   */
  #request(what, room, frame, now, req = --this.#lastReq) {
    this.#requests.set(req, { room, what, sent: now });
    return { ...frame, req };
  }

  /** @param {{room: string, entries: Entry[]}} ack @param {number} now */
  #ack({ room, entries }, now) {
    const following = this.#rooms.get(room);
    if (following?.joined) this.#step(room, following, following.timeline.ack(entries), now);
  }

  /** @param {Reply} reply @param {number} now @param {number} random */
  #reply(reply, now, random) {
    const req = /** @type {number} */ (reply.req), request = this.#requests.get(req);
    if (!request) return;
    this.#requests.delete(req);
    const { room } = request, following = this.#rooms.get(room);
    if (!following) return;
    if (request.what === "read") return this.#readDone(req, following, reply, now);
    Object.assign(following, { waiting: false, due: now + withJitter(CHECK_MS, random), aheadSince: Infinity });
    const { timeline } = following, isFirst = timeline.last === null;
    if (request.what === "page") return this.#step(room, following, timeline.page(reply), now);
    const step = timeline.joined(reply);
    if (step.far) {
      timeline.leap();
      following.due = now;
      this.#deliveries.push({ type: "gap", room });
      return;
    }
    following.joined = true;
    this.#step(room, following, step, now);
    // The first reply is always reported, even if the room is empty.
    if (isFirst && timeline.last !== null && step.entries.length === 0) this.#deliveries.push({ type: "entries", room, entries: [] });
    this.#reads.setFirst(room, timeline.first, now);
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
    if (step.missing && !following.waiting) following.due = now;
  }

  /** @param {string} room @param {Following} following @param {"new_log" | "diverged"} why @param {number} now */
  #reset(room, following, why, now) {
    following.timeline.reset();
    this.#drop(room);
    Object.assign(following, { joined: false, waiting: false, due: now, aheadSince: Infinity });
    if (why === "diverged") this.outbox.diverged(room);
    this.#deliveries.push({ type: "reset", room, why });
    const what = why === "new_log" ? "the server has another log now" : "the server's log of this room has changed";
    this.#reads.end({ code: why, message: `${what}; read again`, room }, room);
  }

  /**
   * Handles an error of a request; without `req`, the server has ended a following or the watch.
   * @param {ErrorFrame} error
   * @param {number} now
   * @param {number} random
   * @returns {string | null} why to drop the connection, if it must be
   */
  #refused(error, now, random) {
    const again = now + retryDelay(error, random);
    if (error.code === "login_required" || error.code === "unauthorized") return `${error.code}: ${error.message}`;
    if (error.req === undefined) this.#ended(error, again);
    else if (this.#watch?.req === error.req) this.#watchRefused(error, again);
    const request = error.req === undefined ? undefined : this.#requests.get(error.req);
    // There is none if the room was left or reset in the meantime.
    if (!request) return null;
    const req = /** @type {number} */ (error.req), following = this.#rooms.get(request.room);
    this.#requests.delete(req);
    if (request.what === "read") this.#reads.refused(req, error, again, following?.timeline.latest ?? -1);
    else if (following) this.#requestRefused(request.room, following, error, now, again);
    return null;
  }

  /** The server has ended a following or the watch. @param {ErrorFrame} error @param {number} again */
  #ended(error, again) {
    const room = error.room ?? null, following = room === null ? undefined : this.#rooms.get(room);
    if (following && room !== null && !isTransient(error)) {
      // A new token may not read it: a request in flight would get no other answer.
      this.#drop(room);
      this.#requestRefused(room, Object.assign(following, { joined: false }), error, 0, Infinity);
    } else if (following) Object.assign(following, { joined: false, due: following.waiting ? following.due : again });
    else if (room === null && this.#watch && isTransient(error)) this.#watchRefused(error, again);
    else this.#deliveries.push({ type: "error", room, error });
  }

  /** @param {ErrorFrame} error @param {number} again */
  #watchRefused(error, again) {
    if (isTransient(error)) this.#watch = { req: --this.#lastReq, due: again };
    else this.#deliveries.push({ type: "error", room: null, error });
  }

  /** @param {string} room @param {Following} following @param {ErrorFrame} error @param {number} now @param {number} again */
  #requestRefused(room, following, error, now, again) {
    Object.assign(following, { waiting: false, due: again });
    if (error.code === "diverged") return this.#reset(room, following, "diverged", now);
    if (error.code === "ahead") return this.#stillAhead(room, following, error, now);
    if (isTransient(error)) return;
    this.#reads.rejectWithoutUpto(error, room);
    following.refused = error;
    following.due = Infinity; // A retry on this connection would get the same answer.
    this.#deliveries.push({ type: "error", room, error });
  }

  /** @param {string} room @param {Following} following @param {ErrorFrame} error @param {number} now */
  #stillAhead(room, following, error, now) {
    following.aheadSince = Math.min(following.aheadSince, now);
    if (now < following.aheadSince + AHEAD_MS) return;
    following.aheadSince = now;
    const message = `the server's latest slot is ${error.latest}, but this client has seen slot ${following.timeline.last}; `
      + "the server is far behind, or an older state was restored: leave the room and follow it again to see what it has";
    this.#deliveries.push({ type: "error", room, error: { ...error, message } });
  }

  /** Ignores answers to the requests that were sent for a following until now. @param {string} room */
  #drop(room) {
    for (const [req, request] of this.#requests) {
      if (request.room === room && request.what !== "read") this.#requests.delete(req);
    }
  }

  #takeOutcomes() {
    for (let outcome; (outcome = this.outbox.nextSettled());) this.#deliveries.push({ type: "settled", outcome });
  }
}

/** Without a prototype: a room may be named like a member of Object. @param {Record<string, number>} rooms */
function byName(rooms) {
  return Object.assign(Object.create(null), rooms);
}
