// Each promise settles, with the outcome of its own call.

import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";

import { connect } from "../src/index.js";
import { clients, outcomes } from "./clients.js";
import { until } from "./wait.js";

const made = clients();

test("one id in two rooms, and twice in one: each promise has the outcome of its own append", async () => {
  const ada = made.as("ada"), one = ada.room("one"), two = ada.room("two");
  await one.append("slot 0 of room one");
  assert.deepEqual(await outcomes([one.append("x", { id: "k" }), two.append("x", { id: "k" })]), [1, 0]);
  const [first, again] = await Promise.all([one.append("y", { id: "k2" }), one.append("y", { id: "k2" })]);
  assert.deepEqual([first, again], [{ slot: 2 }, { slot: 2, repeat: true }]);
  const three = [one.append("first", { id: "k3" }), one.append("other", { id: "k3" }), one.append("first", { id: "k3" })];
  assert.deepEqual(await outcomes(three), [3, "id_reused", 3]);
  assert.deepEqual(await made.bodies("one"), ["slot 0 of room one", "x", "y", "first"]);
});

test("two authors of one client use one id: these are two appends", async () => {
  const log = made.as("ada"), room = log.room("general");
  const hers = room.append("ada's", { id: "k" });
  log.login({ author: "grace" });
  const others = room.append("grace's", { id: "k" });
  assert.deepEqual(await outcomes([hers, others]), [0, 1]);
  assert.deepEqual((await made.server.entries("general")).map(it => [it.author, it.id]), [["ada", "k"], ["grace", "k"]]);
});

test("one id twice across a server restart: both get the slot", async () => {
  const ada = made.as("ada"), room = ada.room("general");
  await room.append("before");
  await made.server.stop();
  await until(() => ada.status.state === "offline");
  const both = [room.append("x", { id: "k" }), room.append("x", { id: "k" }), room.append("y", { id: "k" })];
  await made.server.start();
  assert.deepEqual(await outcomes(both), [1, 1, "id_reused"]);
});

test("1,500 appends at once: 1,000 are accepted, the others are rejected, and later ones work", async () => {
  const room = made.as("ada").room("bulk");
  const all = await outcomes(Array.from({ length: 1_500 }, (_, n) => room.append(String(n))));
  assert.deepEqual(all.slice(0, 1_000), [...Array(1_000).keys()]);
  assert.deepEqual(new Set(all.slice(1_000)), new Set(["busy"]));
  assert.deepEqual(await room.append("later"), { slot: 1_000 });
});

test("an invalid append is rejected alone, with a message that says why", async () => {
  const room = made.as("ada").room("general"), any = /** @type {any} */ (room);
  const wrong = [
    any.append(undefined), any.append(5), any.append("x", { meta: { a: 1 } }), any.append("x", { ref: 1n }),
    any.append("x", { expect: "0" }), any.append("x", { sent_at: 1.5 }), any.append("x", { kind: 7 }), any.append("\ud800"),
  ];
  assert.deepEqual(new Set(await outcomes(wrong)), new Set(["bad_message"]));
  assert.deepEqual(room.pending, []);
  const odd = { id: undefined, kind: null, ref: undefined, room: "other", seq: 7, type: "leave" };
  assert.deepEqual(await any.append("fits", odd), { slot: 0 }, "absent and unknown members are ignored");
  await assert.rejects(any.append(5), { message: 'The append to room "general" failed: body must be a string.' });
});

test("when the client is closed, all pending and later promises are rejected", async () => {
  await made.server.put([{ author: "ada", body: "one" }]);
  const ada = made.as("ada"), room = ada.room("general");
  await until(() => room.last === 0);
  await made.server.stop();
  const all = [room.append("x"), room.before(5, 1), room.around(0), ada.room("no reply yet").before()];
  ada.close();
  all.push(room.append("x"), room.before(), room.behind(0));
  assert.deepEqual(await outcomes(/** @type {any} */ (all)), Array(7).fill("closed"));
});

test("reads of a room that was left, and of slots that do not exist, are rejected", async () => {
  await made.server.put([{ author: "ada", body: "one" }]);
  const ada = made.as("ada"), room = ada.room("general");
  await until(() => room.last === 0);
  await assert.rejects(room.behind(1_000), { code: "ahead", latest: 0 });
  const read = room.around(0);
  room.leave();
  await assert.rejects(read, { code: "left" });
  await assert.rejects(room.before(5, 1), { code: "left" });
});

test("a read of earlier entries waits for the first reply", async () => {
  await made.server.put(Array.from({ length: 30 }, (_, n) => ({ author: "ada", body: String(n) })));
  const ada = made.as("ada"), room = ada.room("general", { count: 10 });
  assert.deepEqual((await room.before(5)).map(it => it.slot), [15, 16, 17, 18, 19]);
  assert.deepEqual(await ada.room("empty").before(), []);
  await made.server.put([{ author: "ada", body: "x" }], "nothing-held");
  assert.deepEqual((await ada.room("nothing-held", { count: 0 }).before()).map(it => it.slot), [0]);
  await assert.rejects(ada.room("no room").before(), { code: "bad_name" });
});

test("an empty room emits an empty `entries` event, at first and after a reset", async () => {
  const log = made.as("ada"), room = log.room("empty"), events = /** @type {any[]} */ ([]);
  room.on("entries", entries => events.push(entries.map(it => it.body)));
  room.on("reset", why => events.push(why));
  await until(() => events.length > 0);
  assert.deepEqual([events, room.last], [[[]], -1]);
  assert.deepEqual(await outcomes(/** @type {any} */ ([room.before(), room.before(5, 3), room.around(3), room.behind(-1), room.behind(3)])), [undefined, undefined, undefined, undefined, "ahead"]);
  await made.server.reset();
  await until(() => events.length === 3);
  assert.deepEqual(events, [[], "new_log", []]);
  const refused = log.room("no room");
  await new Promise(tell => refused.on("error", tell));
  const reads = [refused.before(), refused.before(5, 3), refused.around(3), refused.behind(3), refused.append("x")];
  assert.deepEqual(await outcomes(/** @type {any} */ (reads)), Array(5).fill("bad_name"));
});

test("heads of rooms that are named like members of Object", async () => {
  const ada = made.as("ada"), names = ["constructor", "hasOwnProperty", "toString"];
  /** @type {Record<string, number>[]} */
  const heads = [];
  ada.on("heads", now => heads.push(now));
  await Promise.all(names.map(name => ada.room(name).append("x")));
  ada.watch();
  await until(() => heads.length > 0);
  assert.deepEqual(Object.keys(heads[0]).sort(), names);
  assert.equal(heads[0].valueOf, undefined, "there is no such room");
});

for (const author of ["", "a\nb", "x".repeat(500), "\ud800"]) {
  test(`an invalid author has all appends and reads rejected: ${JSON.stringify(author).slice(0, 12)}`, async () => {
    const left = { room: "general", id: "left", body: "ada's", author: "ada" }, stored = [left];
    const store = { load: async () => [left], put: (/** @type {any} */ it) => void stored.push(it), remove: (/** @type {any} */ it) => void stored.splice(stored.indexOf(it), 1) };
    const log = made.as(author, { store }), room = log.room("general"), events = /** @type {any[]} */ ([]);
    log.on("error", error => events.push(error.message));
    const before = outcomes(/** @type {any} */ ([room.append("x"), room.before(), room.around(3), room.behind(-1)]));
    await until(() => log.status.state === "refused");
    const after = outcomes(/** @type {any} */ ([room.append("y"), room.before(), room.before(5, 3), log.room("other").append("z")]));
    const { code } = /** @type {any} */ (log.status).error;
    assert.deepEqual([await before, await after], [Array(4).fill(code), Array(4).fill(code)]);
    await assert.rejects(room.append("y"), /^RoomlogError: The append to room "general" failed: the login was refused: .*author/);
    await assert.rejects(room.before(), /^RoomlogError: Reading room "general" failed: the login was refused: .*author/);
    assert.equal(events.length, 1);
    assert.match(events[0], /^The server refused this client: .*author/);
    assert.deepEqual([stored, room.pending], [[left], [left]], "the appends of another author are kept");
    log.login({ author: "grace" });
    assert.deepEqual((await outcomes([room.append("now")])), [1]);
    assert.deepEqual(await outcomes(/** @type {any} */ ([room.before()])), [undefined]);
    assert.deepEqual((await made.server.entries("general")).map(it => [it.author, it.body]), [["ada", "ada's"], ["grace", "now"]]);
    assert.deepEqual(stored, []);
  });
}

test("a client that has a token and no author is refused by an open server; appends wait for the next login or for close", async () => {
  const log = made.as("ignored", { author: undefined, getToken: () => "x" }), room = log.room("general"), events = /** @type {string[]} */ ([]);
  log.on("error", error => events.push(error.code));
  const append = room.append("x"), read = room.before();
  await assert.rejects(read, { code: "bad_message", message: /this server is open: pass author to connect\(\)/ });
  assert.deepEqual([events, room.pending.map(it => it.body)], [["bad_message"], ["x"]]);
  log.login({ getToken: () => "y" });
  await until(() => events.length === 2);
  log.login({ author: "ada" });
  assert.deepEqual(await append, { slot: 0 });

  const other = made.as("ignored", { author: undefined, getToken: () => "x" }), waits = other.room("general").append("y");
  await until(() => other.status.state === "refused");
  other.close();
  assert.deepEqual(await outcomes([waits]), ["closed"]);
});

test("an error prints as a sentence without control characters", async () => {
  const room = made.as("ada").room("general");
  await room.append("x", { id: "k" });
  const error = await room.append("y", { id: "k" }).catch(error => error);
  assert.match(String(error), /^RoomlogError: The append to room "general" failed: slot 0 has this id .*\.$/);
  assert.deepEqual(Object.keys(error).sort(), ["code", "name", "reason", "slot"]);
  const bad = await made.as("ada").room("\u001b[2J\u202e").append("x").catch(error => error);
  assert.doesNotMatch(bad.message + bad.stack, /[\u001b\u202e]/);
});

test("room names are quoted in errors, so that an empty one is seen; other types are rejected", async () => {
  const log = made.as("ada");
  await assert.rejects(log.room("").append("x"), /^RoomlogError: The append to room "" failed: /);
  await assert.rejects(log.room("").before(), /^RoomlogError: Reading room "" failed: /);
  for (const name of /** @type {any[]} */ ([5, null, undefined, {}])) {
    assert.throws(() => log.room(name), { name: "TypeError", message: `log.room needs the name of a room, a string, but got ${name}` });
  }
});

test("an invalid address throws at once, with an example of a valid one", () => {
  for (const url of ["", "127.0.0.1:7400", "localhost:7400", "ftp://x"]) {
    assert.throws(() => connect(url, { author: "ada", WebSocket }), { name: "TypeError", message: /like http:\/\/127\.0\.0\.1:7400; "/ });
  }
});

test("an append to a room that was left names no slot of an earlier log", async () => {
  await made.server.put(Array.from({ length: 10 }, (_, n) => ({ author: "bo", body: String(n) })));
  const ada = made.as("ada"), room = ada.room("general");
  await until(() => room.last === 9);
  room.leave();
  await made.server.reset();
  await until(() => ada.status.state === "live");
  assert.deepEqual(await room.append("x"), { slot: 0 });
});
