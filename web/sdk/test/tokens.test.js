// Clients of a server that needs tokens.

import assert from "node:assert/strict";
import { test } from "node:test";

import { clients, outcomes } from "./clients.js";
import { issuer } from "./issuer.js";
import { eventually, until } from "./wait.js";

const { token, flags, headers } = issuer();
const made = clients(flags, headers);

/** A client, and what became of it. @param {() => string | Promise<string>} getToken @param {any} [options] */
function client(getToken, options = {}) {
  const states = /** @type {string[]} */ ([]), errors = /** @type {any[]} */ ([]);
  const it = { asked: 0, states, errors };
  const log = made.as("ignored", { getToken: () => { it.asked++; return getToken(); }, ...options });
  log.on("status", status => states.push(status.state === "offline" ? status.reason : status.state));
  log.on("error", error => errors.push(error));
  return Object.assign(it, { log });
}

test("the author is that of the token; what was appended before the login is theirs too", async () => {
  const { log, asked } = client(async () => token("ada")), room = log.room("general");
  const early = room.append("early");
  assert.deepEqual([log.author, log.auth, asked], [null, null, 0]);
  assert.deepEqual(await early, { slot: 0 });
  assert.deepEqual([log.author, log.auth], ["ada", "token"]);
  assert.deepEqual(await room.append("later"), { slot: 1 });
  assert.deepEqual((await made.server.entries("general")).map(it => [it.author, it.body]), [["ada", "early"], ["ada", "later"]]);
});

test("a token is renewed before it expires, on the same connection: nothing is interrupted", async () => {
  const ada = client(() => token("ada", { life: 4 })), room = ada.log.room("general");
  await room.append("first");
  await until(() => ada.asked === 3);
  await room.append("last");
  assert.deepEqual(ada.states.filter(state => !["connecting", "catching-up", "live"].includes(state)), []);
  assert.deepEqual(ada.errors, []);
});

test("a token that expires without a new one ends the connection; the next one has a new token, and appends are not lost", async () => {
  let life = 2, isDown = false;
  const ada = client(async () => {
    if (isDown) throw new Error("the issuer is down");
    isDown = true;
    return token("ada", { life });
  }), room = ada.log.room("general");
  await room.append("first");
  await until(() => ada.states.includes("the token has expired; log in with a new one"));
  const waits = room.append("meanwhile");
  await until(() => ada.states.includes("getToken failed: the issuer is down"));
  [life, isDown] = [3_600, false];
  assert.deepEqual(await waits, { slot: 1 });
  assert.deepEqual(ada.errors, []);
});

test("a revoked token ends the connection at once; the next login asks for another one", async () => {
  let jti = "stolen";
  const ada = client(() => token("ada", { jti })), room = ada.log.room("general");
  await room.append("first");
  jti = "fresh";
  await made.server.revoke(["--jti", "stolen"]);
  await until(() => ada.states.some(state => /revoked/.test(state)));
  assert.deepEqual(await room.append("second"), { slot: 1 });
  assert.deepEqual([ada.asked, ada.errors], [2, []]);
});

test("a token that stays refused is asked for once more; then the client is refused, and says why", async () => {
  const ada = client(() => token("ada", { jti: "stolen" })), room = ada.log.room("general");
  await room.append("first");
  await made.server.revoke(["--jti", "stolen"]);
  await until(() => ada.log.status.state === "refused");
  assert.equal(ada.asked, 3);
  assert.deepEqual(ada.errors.map(error => [error.code, error.message]), [["unauthorized", "The server refused this client: the token was revoked; get a new one."]]);
  await assert.rejects(room.before(5, 1), { code: "unauthorized", message: /the login was refused: the token was revoked/ });
  const waits = room.append("second");
  ada.log.login({ getToken: () => token("ada") });
  assert.deepEqual(await waits, { slot: 1 });
});

test("a token that is no token is refused with the server's reason", async () => {
  const ada = client(() => "nonsense");
  await until(() => ada.log.status.state === "refused");
  assert.match(ada.errors[0].message, /not a signed JSON Web Token/);
  assert.equal(ada.asked, 2);
});

test("a client without getToken is refused for good, with a message that names it", async () => {
  const log = made.as("ada"), errors = /** @type {any[]} */ ([]);
  log.on("error", error => errors.push(error));
  await assert.rejects(log.room("general").before(), { code: "login_required" });
  assert.deepEqual(errors.map(error => error.message), ["The server refused this client: this server needs a token, and this client has none: pass getToken to connect()."]);
});

test("each reconnect asks for a token, and a token that expires at once makes no busy loop", async () => {
  const ada = client(() => token("ada")), room = ada.log.room("general");
  await room.append("first");
  await made.server.stop("SIGKILL");
  await until(() => ada.states.some(state => /^cannot connect/.test(state)));
  await made.server.start();
  assert.deepEqual(await room.append("second"), { slot: 1 });
  assert.equal(ada.asked, 2);

  // Clocks may differ by 30 s, so the server welcomes this one and ends the connection within a second.
  const bo = client(() => token("bo", { life: -29 })), began = performance.now();
  bo.log.room("general");
  await until(() => bo.asked === 7);
  // Without a backoff these would take less than half a second.
  assert.ok(performance.now() - began > 2_000, `${performance.now() - began} ms`);
});

test("a following that a later token does not cover ends, and its room is told; others go on", async () => {
  /** @type {Record<string, string[]>} */
  let rooms = { "*": ["read", "append", "create"] };
  const ada = client(() => token("ada", { rooms, life: 4 })), errors = /** @type {string[]} */ ([]), seen = /** @type {string[]} */ ([]);
  await made.server.put([{ body: "secret" }], "board");
  const board = ada.log.room("board"), general = ada.log.room("general");
  board.on("error", error => errors.push(`${error.code}: ${error.message}`));
  general.on("entries", entries => seen.push(...entries.map(it => it.body ?? "")));
  await until(() => board.last === 0 && general.last === -1);
  rooms = { general: ["read", "append"] };
  await until(() => errors.length > 0);
  await made.server.put([{ body: "more secrets" }], "board");
  await made.server.put([{ body: "hello" }]);
  await eventually(() => seen, ["hello"]);
  assert.deepEqual([errors, board.last], [['forbidden: Room "board" cannot be followed: your new token may not read this room; following has ended.'], 0]);
  assert.deepEqual(await outcomes([board.append("x"), general.append("y")]), ["forbidden", 1]);
  await assert.rejects(board.before(5, 1), { code: "not_found" });
});

test("what a token may not do is rejected: another author, another room, a new room", async () => {
  await made.server.put([{ body: "x" }], "readable");
  const { log } = client(() => token("ada", { rooms: { readable: ["read"], "new-*": ["read", "append"] } }));
  const heads = /** @type {Record<string, number>[]} */ ([]), gone = log.room("general");
  log.on("heads", now => heads.push(now));
  log.watch();
  assert.equal(await new Promise(told => gone.on("error", error => told(error.code))), "not_found");
  const readable = log.room("readable");
  await until(() => readable.last === 0 && heads.length > 0);
  assert.deepEqual({ ...heads[0] }, { readable: 0 });
  assert.deepEqual(await outcomes([readable.append("x"), log.room("new-1").append("x")]), ["forbidden", "forbidden"]);
  log.login({ getToken: () => token("grace") });
  assert.deepEqual(await outcomes([readable.append("hers")]), [1]);
  assert.equal(log.author, "grace");
});

test("neither a store nor an error nor a status ever holds a token", async () => {
  const secret = token("ada"), put = /** @type {any[]} */ ([]), urls = /** @type {string[]} */ ([]);
  const store = { load: async () => [], put: (/** @type {any} */ it) => void put.push(it), remove: () => {} };
  const { WebSocket } = await import("ws");
  class Noted extends WebSocket {
    constructor(/** @type {string} */ url, /** @type {string} */ protocol) {
      super(url, protocol);
      urls.push(url);
    }
  }
  const ada = client(() => secret, { store, WebSocket: Noted });
  await ada.log.room("general").append("x");
  await made.server.revoke(["--everybody"]);
  await until(() => ada.log.status.state === "refused");
  const all = JSON.stringify([put, urls, ada.states, ada.errors.map(error => [error, error.message, error.stack]), ada.log.status]);
  assert.ok(urls.length >= 2 && put.length === 1);
  assert.equal(all.includes(secret.split(".")[1]), false, all);
});
