// Clients and a real server, which is killed at times.

import assert from "node:assert/strict";
import { test } from "node:test";

import { clients } from "./clients.js";
import { eventually, until } from "./wait.js";

const made = clients();

/** Collects the entries that a room's listener gets. @param {import("../src/index.js").Room} room */
function received(room) {
  /** @type {any[]} */
  const entries = [];
  room.on("entries", them => entries.push(...them));
  return entries;
}

test("two clients append and see one log", async () => {
  const ada = made.as("ada"), grace = made.as("grace");
  const seen = [received(ada.room("general")), received(grace.room("general"))];
  const first = await ada.room("general").append("hello");
  const second = await grace.room("general").append("hi ada", { ref: first.slot });
  assert.deepEqual([first, second], [{ slot: 0 }, { slot: 1 }]);
  await until(() => seen.every(entries => entries.length === 2));
  for (const entries of seen) {
    assert.deepEqual(entries.map(it => [it.slot, it.author, it.body, it.ref]), [[0, "ada", "hello", undefined], [1, "grace", "hi ada", 0]]);
  }
  await eventually(() => ada.status, { state: "live" });
});

test("the server is killed and restarted while three clients append: each entry once, in order", async () => {
  const authors = ["ada", "grace", "edsger"].map(name => made.as(name));
  const rooms = authors.map(log => log.room("general")), seen = rooms.map(received);
  /** @type {Promise<any>[]} */
  const answers = [];
  for (let n = 0; n < 60; n++) {
    rooms.forEach(room => answers.push(room.append(String(n))));
    if (n % 20 === 10) {
      await Promise.race(answers.slice(-3));
      await made.server.stop("SIGKILL");
      await made.server.start();
    }
  }
  const slots = (await Promise.all(answers)).map(it => it.slot);
  assert.equal(new Set(slots).size, 180);
  const log = await made.server.entries("general");
  assert.deepEqual(log.map(it => it.slot), [...Array(180).keys()]);
  for (const name of ["ada", "grace", "edsger"]) {
    assert.deepEqual(log.filter(it => it.author === name).map(it => Number(it.body)), [...Array(60).keys()]);
  }
  await until(() => seen.every(entries => entries.length === 180));
  for (const entries of seen) assert.deepEqual(entries, log);
});

test("ten appends while the server is down are sent once each when it is back", async () => {
  const ada = made.as("ada"), room = ada.room("general");
  await room.append("before");
  await made.server.stop("SIGTERM");
  await until(() => ada.status.state === "offline");
  const answers = Array.from({ length: 10 }, (_, n) => room.append(`offline ${n}`));
  assert.deepEqual(room.pending.map(append => append.body), Array.from({ length: 10 }, (_, n) => `offline ${n}`));
  await made.server.start();
  assert.deepEqual((await Promise.all(answers)).map(it => it.slot), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual(room.pending, []);
});

test("what a page did not send is sent by the next one, with the same id", async () => {
  /** @type {any[]} */
  let kept = [];
  const store = {
    load: async () => kept.slice(),
    put: (/** @type {any} */ append) => { kept.push(append); },
    remove: (/** @type {any} */ append) => { kept = kept.filter(it => it.id !== append.id); },
  };
  await made.server.stop();
  const before = made.as("ada", { store });
  const lost = before.room("general").append("unsent");
  await until(() => before.status.state === "offline");
  before.close();
  await assert.rejects(lost, { code: "closed" });
  assert.equal(kept.length, 1);
  const [{ id }] = kept;

  await made.server.start();
  const page = made.as("ada", { store }), room = page.room("general");
  await until(() => kept.length === 0);
  assert.deepEqual((await made.server.entries("general")).map(it => [it.author, it.id, it.body]), [["ada", id, "unsent"]]);
  assert.deepEqual(await room.append("next"), { slot: 1 });
});

test("older entries are read page by page, down to slot 0", async () => {
  const ada = made.as("ada"), room = ada.room("general");
  await Promise.all(Array.from({ length: 230 }, (_, n) => room.append(String(n))));
  const reader = made.as("grace"), other = reader.room("general", { count: 20 });
  await until(() => other.last === 229);
  const pages = [];
  for (let page; (page = await other.before(100)).length > 0;) pages.push(page.map(it => it.slot));
  assert.deepEqual(pages.map(page => [page[0], page.at(-1)]), [[110, 209], [10, 109], [0, 9]]);
  assert.deepEqual(other.timeline.spans, [{ first: 0, last: 229 }]);

  const third = made.as("edsger").room("general", { count: 5 });
  await until(() => third.last === 229);
  assert.deepEqual((await third.around(100, 10)).map(it => it.slot), [96, 97, 98, 99, 100, 101, 102, 103, 104, 105]);
  assert.deepEqual(third.timeline.gaps, [{ first: 106, last: 224 }]);
  assert.equal((await third.behind(105)).length, 119);
  assert.deepEqual(third.timeline.gaps, []);
});

test("heads are reported, and an invalid room name is an error of that room alone", async () => {
  const ada = made.as("ada");
  /** @type {Record<string, number>} */
  const heads = {};
  ada.on("heads", moved => Object.assign(heads, moved));
  ada.watch();
  await ada.room("general").append("one");
  await ada.room("side").append("two");
  await until(() => heads.general === 0 && heads.side === 0);
  const error = new Promise(tell => ada.room("no room").on("error", tell));
  assert.equal(/** @type {any} */ (await error).code, "bad_name");
  assert.deepEqual(await ada.room("general").append("still there"), { slot: 1 });
});

test("a redaction removes an entry from the log and from what followers hold, and from repeats", async () => {
  const ada = made.as("ada"), grace = made.as("grace"), room = ada.room("general"), hers = grace.room("general");
  const seen = received(hers);
  await room.append("secret", { id: "a-1", meta: "{}" });
  await hers.append("hello");
  await until(() => hers.last === 1);
  assert.deepEqual(await room.append("", { kind: "redact", ref: 0 }), { slot: 2 });
  for (const it of [room, hers]) {
    await until(() => it.last === 2);
    const { timeline } = it, entries = [0, 1, 2].map(slot => timeline.get(slot));
    assert.deepEqual(entries.map(entry => entry?.body), [undefined, "hello", ""]);
    assert.deepEqual(entries, await made.server.entries("general"), "the commitment is that of the server");
  }
  assert.deepEqual(seen.map(it => [it.slot, it.kind, it.ref]).at(-1), [2, "redact", 0]);
  const late = received(made.as("edsger").room("general"));
  await until(() => late.length === 3);
  assert.deepEqual(late, await made.server.entries("general"));
  assert.deepEqual(await room.append("anything", { id: "a-1" }), { slot: 0, repeat: true });
  await assert.rejects(hers.append("", { kind: "redact", ref: 0 }), { code: "forbidden" });
  await assert.rejects(room.append("", { kind: "redact", ref: 2 }), { code: "bad_ref" });
  await assert.rejects(room.append("", { kind: "redact" }), { code: "bad_message" });
});

test("permanent errors reject appends; an invalid author sets the status, until another login", async () => {
  const ada = made.as("ada"), room = ada.room("general");
  await room.append("first", { id: "same" });
  await assert.rejects(room.append("second", { id: "same" }), { code: "id_reused", slot: 0 });
  await assert.rejects(room.append("x".repeat(16_385)), { code: "too_large" });
  await assert.rejects(room.append("at ten", { expect: 10 }), { code: "expect_failed", latest: 0 });

  const nobody = made.as("");
  const hers = assert.rejects(nobody.room("general").append("hi"), { code: "bad_name" });
  await until(() => nobody.status.state === "refused");
  nobody.login({ author: "grace" });
  await hers;
  assert.deepEqual(await nobody.room("general").append("hi"), { slot: 1 });
});
