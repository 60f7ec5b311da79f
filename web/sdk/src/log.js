// A client: its rooms, its outbox, its connection.
//
// Enters: what a program calls. Leaves: promises and events. Invariants: an append is in the store before it
// is sent and until its outcome is known; what was left in the store goes before what is new.

import { Connection } from "./connection.js";
import { RoomlogError } from "./error.js";
import { Emitter } from "./events.js";
import { newId } from "./id.js";
import { Room } from "./room.js";
import { BrowserStore, NoStore } from "./store.js";
import { JOIN_COUNT } from "./timeline.js";

/** @typedef {import("./types.js").Append} Append */
/** @typedef {import("./types.js").Entry} Entry */

/**
 * @typedef {object} LogEvents
 * @property {import("./connection.js").Status} status
 * @property {Record<string, number>} heads latest slots of rooms, after `watch`
 * @property {RoomlogError} error
 * @property {import("./outbox.js").Outcome} settled an append of this client, an earlier page's too, has its outcome
 */

/**
 * @typedef {object} Options
 * @property {string} [author] who appends, on an open server
 * @property {string} [token] who appends, where the server asks for one
 * @property {import("./store.js").Store} [store] by default localStorage where there is one
 * @property {new (url: string, protocol: string) => any} [WebSocket] where the runtime has none
 */

/**
 * What a room asks of the client it is of.
 * @typedef {object} RoomsOwner
 * @property {(room: string) => Append[]} pending
 * @property {(room: Room, body: string, options: import("./room.js").AppendOptions) => Promise<{slot: number}>} append
 * @property {(room: Room, members: any) => Promise<Entry[]>} read
 * @property {(room: Room) => void} leave
 */

/** @extends {Emitter<LogEvents>} */
export class Log extends Emitter {
  /** @type {Connection} */
  #connection;
  /** @type {Map<string, Room>} */
  #rooms = new Map();
  /** By id. @type {Map<string, {resolve: (slot: any) => void, reject: (error: RoomlogError) => void}>} */
  #waiting = new Map();
  /** @type {import("./store.js").Store} */
  #store;
  /** Appends that came before the store was read. @type {Append[] | null} */
  #early = [];
  /** @type {string | undefined} */
  #author;
  /** @type {RoomsOwner} */
  #owner;
  #online = () => this.#connection.open();

  /**
   * Made by `connect`.
   * @param {string} url
   * @param {Options} options
   */
  constructor(url, options) {
    super();
    const WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!WebSocket) throw new TypeError("this runtime has no WebSocket: pass one, connect(url, { WebSocket })");
    const address = socketUrl(url);
    this.#author = options.author;
    this.#store = options.store ?? (globalThis.localStorage ? new BrowserStore(address) : new NoStore());
    const surroundings = { WebSocket, now: () => performance.now(), random: Math.random };
    this.#connection = new Connection(
      address, loginOf(options), surroundings, it => this.#delivered(it), status => this.emit("status", status),
    );
    this.#owner = {
      pending: room => this.#pending(room),
      append: (room, body, extra) => this.#append(room, body, extra),
      read: (room, members) => this.#read(room, members),
      leave: room => this.#leave(room),
    };
    globalThis.addEventListener?.("online", this.#online);
    this.#start();
  }

  /** How things stand. */
  get status() { return this.#connection.status; }

  /** The name of the server's log, once it is known. */
  get id() { return this.#connection.session.log; }

  /**
   * Follows a room.
   * @param {string} name
   * @param {{count?: number}} [options] how many of the newest entries to begin with
   * @returns {Room} the same one as long as it is followed
   */
  room(name, { count = JOIN_COUNT } = {}) {
    const known = this.#rooms.get(name);
    if (known) return known;
    const { session } = this.#connection;
    const room = new Room(name, session.follow(name, count, this.#connection.now), this.#owner);
    this.#rooms.set(name, room);
    this.#connection.pump();
    return room;
  }

  /** Asks for the latest slots of all rooms: `heads` events, now and when they move. */
  watch() {
    this.#connection.session.watch();
    this.#connection.pump();
  }

  /** Appends as another author from now on, or with a fresh token. @param {{author?: string, token?: string}} who */
  login(who) {
    this.#author = who.author;
    this.#connection.relogin(loginOf(who));
  }

  /** Ends it. What has no outcome stays in the store, and its promises are rejected. */
  close() {
    this.#connection.close();
    this.#store.close?.();
    globalThis.removeEventListener?.("online", this.#online);
    const closed = { code: "closed", message: "the client was closed; whether the entry is in the log is not known" };
    for (const { reject } of this.#waiting.values()) reject(new RoomlogError(closed));
    this.#waiting.clear();
  }

  async #start() {
    const { outbox } = this.#connection.session;
    // Nothing that is read waits for the store; what is appended does, behind what was kept.
    this.#connection.open();
    try {
      for (const append of await this.#store.load()) outbox.push(append);
    } catch (error) {
      this.emit("error", notStored(error));
    }
    for (const append of this.#early ?? []) outbox.push(append);
    this.#early = null;
    this.#connection.pump();
  }

  /** @param {string} room */
  #pending(room) {
    const appends = [...this.#connection.session.outbox.appends, ...this.#early ?? []];
    return appends.filter(append => append.room === room);
  }

  /** @param {Room} room @param {string} body @param {import("./room.js").AppendOptions} options */
  #append(room, body, options) {
    const { last } = room;
    /** @type {Append} */
    const append = { room: room.name, id: newId(), body, sent_at: Date.now(), ...options };
    if (this.#author !== undefined) append.author = this.#author;
    if (last !== null && append.after === undefined) append.after = last;
    return new Promise((resolve, reject) => {
      try {
        if (this.#early) this.#early.push(append);
        else this.#connection.session.outbox.push(append);
      } catch (error) {
        return reject(new RoomlogError({ code: "busy", message: String(/** @type {Error} */ (error).message) }));
      }
      try {
        this.#store.put(append);
      } catch (error) {
        // It is sent all the same; what it does not survive is a reload.
        this.emit("error", notStored(error));
      }
      this.#waiting.set(append.id, { resolve, reject });
      room.emit("pending", room.pending);
      this.#connection.pump();
    });
  }

  /** @param {Room} room @param {any} members @returns {Promise<Entry[]>} */
  #read(room, members) {
    return new Promise((resolve, reject) => {
      this.#connection.session.read(room.name, members, this.#connection.now, (error, entries) => {
        if (error) reject(new RoomlogError(error));
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

  /** @param {import("./session.js").Delivery} delivery */
  #delivered(delivery) {
    if (delivery.type === "settled") return this.#settled(delivery.outcome);
    if (delivery.type === "heads") return this.emit("heads", delivery.rooms);
    const room = delivery.room === null ? undefined : this.#rooms.get(delivery.room);
    if (delivery.type === "error") {
      const error = new RoomlogError(delivery.error);
      return room ? room.emit("error", error) : this.emit("error", error);
    }
    if (delivery.type === "entries") room?.emit("entries", delivery.entries);
    else if (delivery.type === "gap") this.#gap(room);
    else room?.emit("reset", delivery.why);
  }

  /** A gap has its end when the newest entries have come. @param {Room | undefined} room */
  #gap(room) {
    const off = room?.on("entries", () => {
      off?.();
      const gap = room.timeline.gaps.at(-1);
      if (gap) room.emit("gap", gap);
    });
  }

  /** @param {import("./outbox.js").Outcome} outcome */
  #settled(outcome) {
    const { append } = outcome;
    this.#store.remove(append);
    const waiting = this.#waiting.get(append.id);
    this.#waiting.delete(append.id);
    if ("error" in outcome) waiting?.reject(new RoomlogError(outcome.error));
    else waiting?.resolve({ slot: outcome.appended.slot, ...(outcome.appended.repeat && { repeat: true }) });
    this.emit("settled", outcome);
    const room = this.#rooms.get(append.room);
    room?.emit("pending", room.pending);
  }
}

/** @param {unknown} error */
function notStored(error) {
  const message = `what is not sent yet cannot be kept for the next time this page is opened: ${error}`;
  return new RoomlogError({ code: "not_stored", message });
}

/** The members of `login`. @param {{author?: string, token?: string}} who */
function loginOf({ author, token }) {
  return token === undefined ? { author } : { token };
}

/** The address of the WebSocket of a server. @param {string} url */
function socketUrl(url) {
  const base = new URL(url, globalThis.location?.href);
  base.protocol = base.protocol.replace(/^http/, "ws");
  if (!/^wss?:$/.test(base.protocol)) throw new TypeError(`${url}: not an address like http://127.0.0.1:7400`);
  if (!base.pathname.endsWith("/v1/ws")) base.pathname = `${base.pathname.replace(/\/$/, "")}/v1/ws`;
  base.hash = "";
  return base.href;
}
