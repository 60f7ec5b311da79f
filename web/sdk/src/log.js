// A client: rooms, an outbox, a store and a connection.
//
// In: calls of the program. Out: promises and events. Invariants: an append is stored before it is sent and until its
// outcome is known, if the store can hold it; stored appends are sent before new ones; no fault of the store blocks an
// append; each promise settles with the outcome of its own append.

import { membersOf, problemOf } from "./append.js";
import { Connection } from "./connection.js";
import { RoomlogError, plain, quoted } from "./error.js";
import { Emitter } from "./events.js";
import { newId } from "./id.js";
import { Room } from "./room.js";
import { GuardedStore, NoStore, browserStore } from "./store.js";
import { JOIN_COUNT } from "./timeline.js";

/** @typedef {import("./types.js").Append} Append */
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").ErrorFrame} ErrorFrame */

/** The limit of appends without an outcome; further ones are rejected with `busy`. */
const MAX_APPENDS = 1_000;
/** How long new appends wait for the stored ones to be loaded, in ms. */
const STORE_MS = 5_000;

/**
 * @typedef {object} LogEvents
 * @property {import("./connection.js").Status} status the new state of the connection
 * @property {string} log the name of the server's log, at first and whenever it changes; slots of another log are invalid
 * @property {Record<string, number>} heads the latest slots of rooms, after `watch`: of all rooms at first, then of those
 *   that changed
 * @property {RoomlogError} error an error of no room: `not_stored`, `unreachable`, or why the server refused this client
 * @property {import("./outbox.js").Outcome} settled the outcome of an append, also of one that an earlier page stored
 */

/**
 * @typedef {import("./login.js").Who & ClientOptions} Options
 *
 * @typedef {object} ClientOptions
 * @property {import("./store.js").Store} [store] keeps appends without an outcome; by default localStorage, if there is one
 * @property {new (url: string, protocol: string) => any} [WebSocket] by default the runtime's own
 */

/**
 * What a room needs from its client.
 * @typedef {object} RoomsOwner
 * @property {(room: string) => Append[]} pending
 * @property {(room: Room, body: string, options: import("./room.js").AppendOptions) => Promise<{slot: number}>} append
 * @property {(room: Room, members: any) => Promise<Entry[]>} read
 * @property {(room: Room, count: number) => Promise<Entry[]>} before
 * @property {(room: Room) => void} leave
 */

/** A client of one server, returned by `connect`. @extends {Emitter<LogEvents>} */
export class Log extends Emitter {
  /** @type {Connection} */
  #connection;
  /** @type {Map<string, Room>} */
  #rooms = new Map();
  /** Promises by append, not by id: two appends may share an id. @type {Map<Append, {resolve: (slot: any) => void, reject: (error: RoomlogError) => void}>} */
  #waiting = new Map();
  /** @type {GuardedStore} */
  #store;
  /** New appends, until the stored ones are loaded; then null. @type {Append[] | null} */
  #early = [];
  /** The log of the last `log` event. @type {string | null} */
  #reportedLog = null;
  /** @type {RoomsOwner} */
  #owner;
  #online = () => this.#connection.open();

  /**
   * Use `connect`.
   * @param {string} url
   * @param {Options} options
   */
  constructor(url, options) {
    super();
    const WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!WebSocket) {
      throw new TypeError('this runtime has no WebSocket: npm install ws, import WebSocket from "ws", connect(url, { WebSocket })');
    }
    const address = socketUrl(url);
    this.#store = new GuardedStore(options.store ?? browserStore(address) ?? new NoStore(), error => this.emit("error", error));
    const runtime = { WebSocket, now: () => performance.now(), random: Math.random, clock: Date.now, fetch: globalThis.fetch };
    this.#connection = new Connection(
      address, whoOf(options), runtime, it => this.#delivered(it), status => this.#changed(status),
      reason => this.#unreachable(address, reason),
    );
    this.#owner = {
      pending: room => this.#pending(room),
      append: (room, body, extra) => this.#append(room, body, extra),
      read: (room, members) => this.#read(room, (session, ...rest) => session.read(room.name, members, ...rest)),
      before: (room, count) => this.#read(room, (session, ...rest) => session.before(room.name, count, ...rest)),
      leave: room => this.#leave(room),
    };
    globalThis.addEventListener?.("online", this.#online);
    this.#start();
  }

  /** The state of the connection. */
  get status() { return this.#connection.status; }

  /** The name of the server's log; null before the first connection. */
  get id() { return this.#connection.session.log; }

  /** What the server needs, an author or a token: `open` or `token`; null before the first connection. */
  get auth() { return this.#connection.login.auth; }

  /** The author of appends: on a server with tokens that of the last login, null before the first. */
  get author() { return this.#connection.login.author; }

  /** The server's limits (docs/PROTOCOL.md, `hello`); null before the first connection. */
  get limits() { return this.#connection.session.limits; }

  /**
   * Follows a room. Whether the server accepts the name comes later, as an `error` event of the room.
   * @param {string} name
   * @param {{count?: number}} [options] `count`: how many of the newest entries to start with, 50 by default
   * @returns {Room} the same object until `leave`
   * @throws {TypeError} if `name` is not a string
   */
  room(name, { count = JOIN_COUNT } = {}) {
    if (typeof name !== "string") throw new TypeError(`log.room needs the name of a room, a string, but got ${plain(name)}`);
    const known = this.#rooms.get(name);
    if (known) return known;
    const { session } = this.#connection;
    const room = new Room(name, session.follow(name, count, this.#connection.now), this.#owner);
    this.#rooms.set(name, room);
    this.#connection.pump();
    return room;
  }

  /** Starts `heads` events: the latest slots of all rooms, now and whenever they change. */
  watch() {
    this.#connection.session.watch();
    this.#connection.pump();
  }

  /** Reconnects as somebody else. Appends that have an author keep it. @param {import("./login.js").Who} who */
  login(who) {
    this.#connection.relogin(whoOf(who));
  }

  /** Disconnects for good. Pending promises are rejected with `closed`; appends without an outcome stay in the store. */
  close() {
    this.#connection.close();
    this.#store.close();
    globalThis.removeEventListener?.("online", this.#online);
    for (const [append, { reject }] of this.#waiting) reject(closed(`the outcome of the append to room ${quoted(append.room)} is unknown`));
    this.#waiting.clear();
    this.#connection.session.end({ code: "closed", message: "the client was closed before the answer came" });
  }

  #start() {
    // Reads do not wait for the store; appends do, because the stored ones go first.
    this.#connection.open();
    const limit = setTimeout(() => this.#sendEarly(), STORE_MS);
    void this.#store.load(stored => this.#takeStored(stored)).then(() => {
      clearTimeout(limit);
      this.#sendEarly();
    });
  }

  /** Queues appends that an earlier client stored. @param {Append[]} stored */
  #takeStored(stored) {
    if (this.#isClosed) return;
    const { outbox } = this.#connection.session, rooms = new Set();
    for (const append of stored) {
      // A custom store may return what was put into it meanwhile.
      if (this.#early?.some(it => isSame(it, append))) continue;
      outbox.push(append, { stored: true });
      rooms.add(append.room);
    }
    for (const name of rooms) this.#pendingChanged(name);
    this.#connection.pump();
  }

  /** Queues the new appends: the stored ones are in the outbox, or took too long. */
  #sendEarly() {
    for (const append of this.#early ?? []) this.#connection.session.outbox.push(append);
    this.#early = null;
    this.#connection.pump();
  }

  get #isClosed() { return this.status.state === "closed"; }

  /** @param {string} room */
  #pending(room) {
    const early = (this.#early ?? []).filter(append => append.room === room);
    return [...this.#connection.session.outbox.appendsTo(room), ...early];
  }

  /** @param {string} name */
  #pendingChanged(name) {
    const room = this.#rooms.get(name);
    room?.emit("pending", room.pending);
  }

  /** @param {Room} room @param {string} body @param {import("./room.js").AppendOptions} options @returns {Promise<{slot: number}>} */
  #append(room, body, options) {
    const append = this.#newAppend(room, body, options), what = `The append to room ${quoted(room.name)} failed`;
    if (this.#isClosed) return Promise.reject(closed("connect again to append"));
    const problem = problemOf(append);
    if (problem !== null) return Promise.reject(new RoomlogError({ code: "bad_message", message: problem }, what));
    const { outbox } = this.#connection.session;
    if (outbox.length + (this.#early?.length ?? 0) >= MAX_APPENDS) {
      const message = `${MAX_APPENDS} appends are waiting for their outcome; wait for some of them, then try again`;
      return Promise.reject(new RoomlogError({ code: "busy", message }, what));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.set(append, { resolve, reject });
      // If the store fails, the append is sent all the same, but does not survive a reload.
      this.#store.put(append);
      if (this.#early) this.#early.push(append);
      else outbox.push(append);
      room.emit("pending", room.pending);
      this.#connection.pump();
    });
  }

  /** @param {Room} room @param {string} body @param {import("./room.js").AppendOptions} options @returns {Append} */
  #newAppend(room, body, options) {
    const append = membersOf({ .../** @type {any} */ (options), room: room.name, body });
    append.id ??= newId();
    append.sent_at ??= Date.now();
    if (this.author !== null) append.author = this.author;
    // The slots of a room that was left may be from another log.
    const last = this.#rooms.get(room.name) === room ? room.last : null;
    if (last !== null) append.after ??= last;
    const namesSlots = append.after !== undefined || append.ref !== undefined || append.expect !== undefined;
    delete append.log;
    if (namesSlots && this.id !== null) append.log = this.id;
    return append;
  }

  /**
   * @param {Room} room
   * @param {(session: Connection["session"], now: number, done: import("./reads.js").Read["done"]) => void} ask
   * @returns {Promise<Entry[]>}
   */
  #read(room, ask) {
    if (this.#isClosed) return Promise.reject(closed("connect again to read"));
    const what = `Reading room ${quoted(room.name)} failed`;
    if (this.#rooms.get(room.name) !== room) {
      return Promise.reject(new RoomlogError({ code: "left", message: "the room was left; follow it again with log.room()" }, what));
    }
    return new Promise((resolve, reject) => {
      ask(this.#connection.session, this.#connection.now, (error, entries) => {
        if (error) reject(new RoomlogError(error, what));
        else resolve(entries);
      });
      this.#connection.pump();
    });
  }

  /** @param {Room} room */
  #leave(room) {
    if (this.#rooms.get(room.name) !== room) return;
    this.#rooms.delete(room.name);
    this.#connection.session.unfollow(room.name);
    this.#connection.pump();
  }

  /** @param {import("./connection.js").Status} status */
  #changed(status) {
    if (this.id !== null && this.id !== this.#reportedLog) {
      this.#reportedLog = this.id;
      this.emit("log", this.id);
    }
    this.emit("status", status);
    if (status.state === "refused") this.emit("error", new RoomlogError(status.error, "The server refused this client"));
  }

  /** @param {import("./types.js").Delivery} delivery */
  #delivered(delivery) {
    if (delivery.type === "settled") return this.#settled(delivery.outcome);
    if (delivery.type === "heads") return this.emit("heads", delivery.rooms);
    const room = delivery.room === null ? undefined : this.#rooms.get(delivery.room);
    if (delivery.type === "error") {
      if (!room) return this.emit("error", new RoomlogError(delivery.error));
      const what = delivery.error.code === "ahead" ? "is not up to date" : "cannot be followed";
      return room.emit("error", new RoomlogError(delivery.error, `Room ${quoted(room.name)} ${what}`));
    }
    if (delivery.type === "entries") room?.emit("entries", delivery.entries);
    else if (delivery.type === "gap") this.#gap(room);
    else room?.emit("reset", delivery.why);
  }

  /** Reports a gap when the newest entries have come: only then is its end known. @param {Room | undefined} room */
  #gap(room) {
    const off = room?.on("entries", () => {
      off?.();
      const gap = room.timeline.gaps.at(-1);
      if (gap) room.emit("gap", gap);
    });
  }

  /** @param {import("./outbox.js").Outcome} outcome */
  #settled(outcome) {
    const { append } = outcome, waiting = this.#waiting.get(append);
    this.#waiting.delete(append);
    this.#store.remove(append);
    if ("error" in outcome) waiting?.reject(new RoomlogError(outcome.error, `The append to room ${quoted(append.room)} failed`));
    else waiting?.resolve({ slot: outcome.appended.slot, ...(outcome.appended.repeat && { repeat: true }) });
    this.emit("settled", outcome);
    this.#pendingChanged(append.room);
  }

  /** @param {string} address @param {string} reason */
  #unreachable(address, reason) {
    const { origin } = globalThis.location ?? {}, { host } = new URL(address);
    // The server accepts pages of its own origin.
    if (origin === undefined || origin === `http://${host}`) return;
    const remedy = origin === "null" ? "open this page from an http address, whose origin --allow-origin can name"
      : `the flag --allow-origin ${origin} makes it accept this page`;
    const message = `${reason}, three times in a row. Either the server is down, or it refuses this page's origin: browsers `
      + `do not tell which. If the server is running, ${remedy}`;
    this.emit("error", new RoomlogError({ code: "unreachable", message }));
  }
}

/** @param {string} what */
function closed(what) {
  return new RoomlogError({ code: "closed", message: what }, "The client was closed");
}

/** Whether two objects are the same append: one may have been serialized in between. @param {Append} a @param {Append} b */
function isSame(a, b) {
  return a === b || (a.id === b.id && a.room === b.room && a.author === b.author && a.body === b.body);
}

/** @param {import("./login.js").Who} who */
function whoOf({ author, getToken, session }) {
  return { author, getToken, session };
}

/** The address of the WebSocket of a server. @param {string} url */
function socketUrl(url) {
  const base = URL.canParse(url, globalThis.location?.href) ? new URL(url, globalThis.location?.href) : null;
  if (base) base.protocol = base.protocol.replace(/^http/, "ws");
  if (!base || !/^wss?:$/.test(base.protocol)) {
    throw new TypeError(`connect needs the address of a server, like http://127.0.0.1:7400; ${quoted(url)} is not one`);
  }
  if (!base.pathname.endsWith("/v1/ws")) base.pathname = `${base.pathname.replace(/\/$/, "")}/v1/ws`;
  base.hash = "";
  return base.href;
}
