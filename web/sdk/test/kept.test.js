// Appends that an earlier page stored: in a storage that is full, blocked or damaged, or for a log that has been replaced.

import assert from "node:assert/strict";
import { test } from "node:test";

import { BrowserStore } from "../src/index.js";
import { Storage, clients, outcomes } from "./clients.js";
import { until } from "./wait.js";

const made = clients();
/** The Web Locks of a browser in which every other tab is closed. */
const ALONE = { request: (/** @type {string} */ _, /** @type {() => Promise<unknown>} */ held) => held(), query: async () => ({ held: [] }) };

const url = () => `${made.server.url.replace("http", "ws")}/v1/ws`;
const line = (/** @type {number} */ n, more = {}) => ({ room: "general", id: `left-${n}`, body: `left ${n}`, author: "ada", ...more });

/** A storage in which a closed page has left these. @param {any[]} left */
function leaving(left, tab = "1-1") {
  const storage = new Storage();
  left.forEach((it, n) => storage.setItem(`roomlog.outbox|${url()}|${tab}|${String(n).padStart(9, "0")}`, typeof it === "string" ? it : JSON.stringify(it)));
  return storage;
}

/** Opens a page. @param {Storage} storage */
function page(storage, locks = /** @type {any} */ (ALONE)) {
  const log = made.as("ada", { store: new BrowserStore(url(), storage, locks) });
  const events = /** @type {string[]} */ ([]);
  log.on("settled", outcome => events.push("error" in outcome ? `${outcome.append.id}: ${outcome.error.code}` : outcome.append.id));
  log.on("error", error => events.push(error.code));
  return { log, events, lines: () => [...storage.items.keys()].filter(key => key.includes("outbox")) };
}

for (const [how, locks] of /** @type {[string, any][]} */ ([["with", ALONE], ["without", null]])) {
  test(`${how} Web Locks, a full storage does not stop appends from being sent, and is reported once`, async () => {
    const storage = leaving([line(0), line(1), line(2)]);
    storage.room = storage.used;
    const { log, events, lines } = page(storage, locks), room = log.room("general");
    await until(() => lines().length === 0);
    storage.room = 0;
    assert.deepEqual(await outcomes(["a", "b", "c"].map(id => room.append(id, { id }))), [3, 4, 5]);
    await until(() => events.includes("not_stored"));
    assert.deepEqual(events.slice(0, 3), ["left-0", "left-1", "left-2"]);
    assert.deepEqual(events.slice(3).sort(), ["a", "b", "c", "not_stored"]);
    assert.deepEqual(await made.bodies("general"), ["left 0", "left 1", "left 2", "a", "b", "c"]);
  });
}

test("the appends of many closed tabs are all sent", async () => {
  const storage = leaving([]), left = Array.from({ length: 60 }, (_, n) => line(n));
  left.forEach((it, n) => storage.setItem(`roomlog.outbox|${url()}|${n}-${n}|000000000`, JSON.stringify(it)));
  const { lines } = page(storage);
  await until(() => lines().length === 0);
  assert.equal(new Set(await made.bodies("general")).size, 60);
});

test("stored items that are damaged, foreign or rejected do not stop the others", async () => {
  const left = [
    line(0), "{cut sho", "null", "[]", "5", JSON.stringify(line(1, { body: undefined })), line(2, { meta: { a: 1 } }), line(3, { ref: "x" }),
    line(4, { body: "x".repeat(20_000) }), line(5, { room: "no room" }), line(6, { room: "__proto__" }), line(7, { seq: 40, req: 0, type: "ping" }),
  ];
  const { log, events, lines } = page(leaving(left)), room = log.room("general");
  assert.deepEqual(await room.append("new", { id: "new" }), { slot: 2 });
  await until(() => lines().length === 0);
  assert.deepEqual(events.toSorted(), ["left-0", "left-4: too_large", "left-5: bad_name", "left-6: bad_name", "left-7", "new"]);
  assert.deepEqual(await made.bodies("general"), ["left 0", "left 7", "new"]);
});

test("thousands of stored appends are sent in order, before new ones", async () => {
  const left = Array.from({ length: 2_500 }, (_, n) => line(n)), { log, lines } = page(leaving(left)), room = log.room("general");
  assert.deepEqual(await outcomes([room.append("x")]), [2_500]);
  await until(() => lines().length === 0);
  assert.deepEqual(await made.bodies("general"), [...left.map(it => it.body), "x"]);
});

test("a custom store that fails, hangs or returns anything does not stop appends", async () => {
  const fails = () => { throw new Error("no\u001b[2J disk"); }, rejects = () => Promise.reject(new Error("no disk"));
  const works = { load: async () => [], put() {}, remove() {} };
  const stores = /** @type {any[]} */ ([
    { load: fails, put: fails, remove: fails, close: fails }, { load: rejects, put: rejects, remove: rejects, close: rejects },
    { ...works, load: async () => [5, null, { room: "general" }] }, { ...works, load: async () => "no list" }, { ...works, load: () => null },
    { ...works, load: () => new Promise(() => {}) },
  ]);
  for (const [n, store] of stores.entries()) {
    const log = made.as("ada", { store }), errors = /** @type {string[]} */ ([]);
    log.on("error", error => errors.push(`${error.code} ${error.message}`));
    assert.deepEqual(await log.room("general").append("x"), { slot: n });
    assert.doesNotMatch(errors.join(), /\u001b/);
    log.close();
  }
});

test("an append that a custom store returns is sent, whatever else it returns", async () => {
  for (const [n, wrong] of [null, undefined, 5, "x", [], { room: "general" }].entries()) {
    const load = async () => /** @type {any} */ ([wrong, line(n)]), log = made.as("ada", { store: { load, put() {}, remove() {} } });
    assert.deepEqual(await log.room("general").append(`new ${n}`), { slot: 2 * n + 1 });
    log.close();
  }
  assert.deepEqual((await made.bodies("general")).filter((_, at) => at % 2 === 0), [0, 1, 2, 3, 4, 5].map(n => `left ${n}`));
});

test("a store that returns no array has stored nothing, and the error says what it must return", async () => {
  for (const [n, wrong] of [undefined, null, {}, "text", 5].entries()) {
    const load = async () => /** @type {any} */ (wrong), log = made.as("ada", { store: { load, put() {}, remove() {} } });
    const error = new Promise(tell => log.on("error", tell));
    assert.deepEqual(await log.room("general").append("x"), { slot: n });
    const { code, message } = /** @type {any} */ (await error);
    assert.equal(code, "not_stored");
    assert.match(message, /^Appends that an earlier client stored cannot be loaded, so they are not sent \(TypeError: load of the store must return an array of appends, but returned .*\)\.$/);
    log.close();
  }
});

test("a store that fails at once is reported when the program has listeners, and again when storing fails later", async () => {
  const fails = () => { throw new Error("no disk"); };
  const both = made.as("ada", { store: { load: fails, put: fails, remove() {} } }), events = /** @type {string[]} */ ([]);
  both.on("error", error => events.push(error.message));
  await both.room("general").append("in the same task");
  await until(() => events.length > 0);
  for (const part of [/appends that an earlier client stored cannot be loaded/i, /unsent appends cannot be stored, so they are lost when this page is closed/i]) assert.match(events.join(), part);

  const store = { load: fails, put() {}, remove() {} }, log = made.as("ada", { store }), codes = /** @type {string[]} */ ([]);
  log.on("error", error => codes.push(`${error.code} ${error.reason.slice(0, 12)}`));
  await until(() => codes.length === 1);
  store.put = fails;
  await log.room("general").append("later");
  await log.room("general").append("and later");
  await until(() => codes.length === 2);
  assert.deepEqual(codes, ["not_stored appends that", "not_stored unsent appen"]);
  assert.equal(events.length, 1);
});

test("in another log, `after` is dropped, and appends that refer to a slot are rejected", async () => {
  await made.server.put([{ author: "bo", body: "of another log" }]);
  const left = [
    line(0, { after: 900, log: "another" }), line(1, { after: 900 }), line(2, { ref: 0, log: "another" }), line(3, { expect: 901, log: "another" }),
    line(4, { ref: 0 }), // As stored by versions that did not name the log.
  ];
  const { events, lines } = page(leaving(left));
  await until(() => lines().length === 0);
  assert.deepEqual(events.toSorted(), ["left-0", "left-1", "left-2: new_log", "left-3: new_log", "left-4: new_log"]);
  assert.deepEqual(await made.bodies("general"), ["of another log", "left 0", "left 1"]);
});

test("in the same log, a reply that survived a reload is still a reply", async () => {
  const storage = new Storage(), first = page(storage), room = first.log.room("general");
  await room.append("hello");
  await until(() => room.last === 0);
  await made.server.stop();
  await until(() => first.log.status.state === "offline");
  room.append("reply", { ref: 0 }).catch(() => {});
  first.log.close();
  await made.server.start();
  const { lines } = page(storage);
  await until(() => lines().length === 0);
  assert.deepEqual((await made.server.entries("general")).map(it => [it.body, it.ref]), [["hello", undefined], ["reply", 0]]);
});

test("the server loses its data while a client is offline: it drops what it held, and its appends are sent or rejected", async () => {
  await made.server.put(Array.from({ length: 10 }, (_, n) => ({ author: "bo", body: String(n) })));
  const storage = new Storage(), { log } = page(storage), room = log.room("general"), resets = /** @type {string[]} */ ([]), logs = new Set();
  room.on("reset", why => resets.push(why));
  log.on("log", id => logs.add(id));
  await until(() => room.last === 9);
  assert.deepEqual([...logs], [log.id]);
  await made.server.stop();
  await until(() => log.status.state === "offline");
  const all = outcomes([room.append("text"), room.append("reply", { ref: 3 }), room.append("next", { expect: 12 }), room.append("end")]);
  const reads = outcomes(/** @type {any} */ ([room.behind(9), room.around(4), room.before(5, 3)]));
  await made.server.reset();
  assert.deepEqual(await all, [0, "new_log", "new_log", 1]);
  assert.deepEqual(await reads, ["new_log", "new_log", "new_log"]);
  await until(() => room.last === 1);
  assert.deepEqual([logs.size, [...logs].at(-1)], [2, log.id]);
  assert.deepEqual([resets, room.timeline.get(1)?.body, [...storage.items.keys()].filter(key => key.includes("outbox"))], [["new_log"], "end", []]);
});

test("a backup is restored while appends are in flight: each has an outcome", async () => {
  await made.server.put(Array.from({ length: 5 }, (_, n) => ({ author: "bo", body: String(n) })));
  const { log } = page(new Storage()), room = log.room("general"), restore = await made.server.backup();
  await until(() => room.last === 4);
  await Promise.all(Array.from({ length: 5 }, (_, n) => room.append(`lost ${n}`)));
  await until(() => room.last === 9);
  const all = Array.from({ length: 50 }, (_, n) => room.append(`in flight ${n}`, n % 2 ? { ref: 7 } : {}));
  await restore();
  const settled = await outcomes(all);
  assert.ok(settled.every(it => typeof it === "number" || it === "new_log"), String(settled));
  assert.equal(typeof (await room.append("afterwards")).slot, "number");
});

test("without Web Locks, appends of a killed tab are soon found and sent; a live tab keeps its own", async () => {
  const killed = leaving([line(0), line(1)], "9-9");
  killed.setItem("roomlog.tab|9-9", String(Date.now()));
  const living = new BrowserStore(url(), killed, undefined);
  await living.load();
  living.put(line(2));
  const { events } = page(killed, null);
  await until(() => events.length === 2);
  assert.deepEqual([events, await made.bodies("general")], [["left-0", "left-1"], ["left 0", "left 1"]]);
  assert.equal([...killed.items.values()].some(it => it.includes("left 2")), true);
  living.close();
});
