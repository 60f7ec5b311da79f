// Pages of another origin, which the server accepts or refuses. Browsers do not tell a page that it was refused.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { WebSocket } from "ws";

import { connect } from "../src/index.js";
import { Server } from "./server.js";
import { until } from "./wait.js";

const ORIGIN = "http://app.test:8080";

/** The WebSocket of a page of this origin. */
class PageSocket extends WebSocket {
  constructor(/** @type {string} */ url, /** @type {string} */ protocol) {
    super(url, protocol, { origin: globalThis.location.origin });
  }
}

/** @type {Server} */
let server;
/** @type {import("../src/index.js").Log[]} */
let logs = [];
const place = (/** @type {string} */ origin) => Object.assign(globalThis, { location: { origin, href: `${origin}/` } });

beforeEach(() => place(ORIGIN));
afterEach(async () => {
  logs.forEach(log => log.close());
  logs = [];
  delete /** @type {any} */ (globalThis).location;
  await server.end();
});

/** A page that connects: its errors, and how many there were after each failed try. */
function page() {
  const log = connect(server.url, { author: "ada", WebSocket: PageSocket }), errors = /** @type {any[]} */ ([]), failed = /** @type {number[]} */ ([]);
  log.on("error", error => errors.push(error));
  log.on("status", ({ state }) => { if (state === "offline") failed.push(errors.length); });
  logs.push(log);
  return { log, errors, failed };
}

test("after the third attempt a page is told once that its origin may be refused, and which flag allows it", async () => {
  server = await Server.start();
  const { errors, failed } = page();
  await until(() => failed.length >= 5);
  assert.deepEqual(failed.slice(0, 5), [0, 0, 1, 1, 1]);
  assert.deepEqual(errors.map(error => error.code), ["unreachable"]);
  assert.match(errors[0].message, /^Cannot connect to ws:\/\/127\.0\.0\.1:\d+\/v1\/ws.*--allow-origin http:\/\/app\.test:8080 makes it accept this page\.$/);
});

test("a listed origin appends and reads", async () => {
  server = await Server.start(["--allow-origin", ORIGIN]);
  const { log, errors } = page();
  assert.deepEqual(await log.room("general").append("hi"), { slot: 0 });
  assert.deepEqual(errors, []);
});

test("the server's own page gets no such error, nor does one that was connected before", async () => {
  server = await Server.start(["--allow-origin", ORIGIN]);
  const other = page();
  place(server.url);
  const own = page();
  await until(() => [own, other].every(it => it.log.status.state === "live"));
  await server.stop();
  await until(() => [own, other].every(it => it.failed.length > 4));
  assert.deepEqual([own.errors, other.errors], [[], []]);
});

test("a WebSocket constructor that throws is a failed attempt", async () => {
  server = await Server.start();
  let tries = 0;
  class Forbidden {
    constructor() {
      tries++;
      throw new DOMException("An insecure WebSocket may not be made by a page over https", "SecurityError");
    }
  }
  const log = connect(server.url, { author: "ada", WebSocket: /** @type {any} */ (Forbidden) });
  logs.push(log);
  await until(() => tries >= 4);
  assert.match(JSON.stringify(log.status), /insecure WebSocket/);
});
