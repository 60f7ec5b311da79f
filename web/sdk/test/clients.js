// A server for each test of a file, and clients of it, which are closed after the test.

import { afterEach, beforeEach } from "node:test";
import { WebSocket } from "ws";

import { connect } from "../src/index.js";
import { Server } from "./server.js";

/** Call it once, at the top of a file. @param {string[]} [flags] further flags of `serve` @param {Record<string, string>} [headers] of the server's own requests */
export function clients(flags, headers = {}) {
  /** @type {import("../src/index.js").Log[]} */
  let logs = [];
  const made = {
    server: /** @type {Server} */ (/** @type {unknown} */ (null)),
    /** Makes a client. @param {string} author @param {Partial<import("../src/log.js").Options>} [options] */
    as(author, options = {}) {
      const log = connect(made.server.url, { author, WebSocket, ...options });
      logs.push(log);
      return log;
    },
    /** The bodies of a room on the server, in order. @param {string} room @returns {Promise<string[]>} */
    async bodies(room) {
      return (await made.server.entries(room)).map(entry => entry.body);
    },
  };
  beforeEach(async () => { made.server = Object.assign(await Server.start(flags), { headers }); });
  afterEach(async () => {
    logs.forEach(log => log.close());
    logs = [];
    await made.server.end();
  });
  return made;
}

/** The outcomes of promises: slots or error codes. @param {Promise<{slot: number}>[]} promises */
export async function outcomes(promises) {
  const settled = await Promise.allSettled(promises);
  return settled.map(it => (it.status === "fulfilled" ? it.value.slot : it.reason.code ?? it.reason));
}

/** A fake localStorage; `room` is how many characters it can hold. */
export class Storage {
  /** @type {Map<string, string>} */
  items = new Map();
  room = Infinity;
  get length() { return this.items.size; }
  get used() { return [...this.items].reduce((sum, [key, value]) => sum + key.length + value.length, 0); }
  key(/** @type {number} */ at) { return [...this.items.keys()][at] ?? null; }
  getItem(/** @type {string} */ key) { return this.items.get(key) ?? null; }
  setItem(/** @type {string} */ key, /** @type {string} */ value) {
    const old = this.items.has(key) ? key.length + (this.items.get(key) ?? "").length : 0;
    if (this.used - old + key.length + value.length > this.room) throw new DOMException("full", "QuotaExceededError");
    this.items.set(key, value);
  }
  removeItem(/** @type {string} */ key) { this.items.delete(key); }
}
