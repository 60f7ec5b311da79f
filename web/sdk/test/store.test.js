// Appends that a page stores in the browser for the next one.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { BrowserStore } from "../src/store.js";
import { Storage } from "./clients.js";

const URL = "ws://127.0.0.1:7400/v1/ws";

/** Fake Web Locks; a tab that ends releases its own. */
class Locks {
  /** @type {Set<string>} */
  names = new Set();
  async request(/** @type {string} */ name, /** @type {any} */ held) {
    this.names.add(name);
    await held();
    this.names.delete(name);
  }
  async query() { return { held: [...this.names].map(name => ({ name })) }; }
}

const append = (/** @type {string} */ id) => ({ room: "general", id, body: id, author: "ada" });

/** With and without Web Locks. @type {[string, (storage: Storage) => {locks: any, end: () => void}][]} */
const ways = [
  ["with Web Locks", () => {
    const locks = new Locks();
    return { locks, end: () => locks.names.clear() };
  }],
  ["without Web Locks", storage => {
    const heartbeats = () => [...storage.items.keys()].filter(key => key.startsWith("roomlog.tab|"));
    return { locks: undefined, end: () => heartbeats().forEach(key => storage.items.delete(key)) };
  }],
];

for (const [how, way] of ways) {
  test(`${how}, a page that is opened after another was closed takes over its appends, in order`, async () => {
    const storage = new Storage(), { locks, end } = way(storage);
    const first = new BrowserStore(URL, storage, locks);
    assert.deepEqual(await first.load(), []);
    ["a", "b", "c"].forEach(id => first.put(append(id)));
    first.remove(append("b"));

    const beside = new BrowserStore(URL, storage, locks);
    assert.deepEqual(await beside.load(), [], "the first tab is still alive");
    end();

    const second = new BrowserStore(URL, storage, locks);
    assert.deepEqual(await second.load(), [append("a"), append("c")]);
    second.put(append("d"));
    end();
    const third = new BrowserStore(URL, storage, locks);
    assert.deepEqual(await third.load(), [append("a"), append("c"), append("d")]);
    ["a", "c", "d"].forEach(id => third.remove(append(id)));
    end();
    assert.deepEqual(await new BrowserStore(URL, storage, locks).load(), []);
    assert.deepEqual([...storage.items.keys()].filter(key => key.includes("outbox")), []);
  });
}

for (const [how, way] of ways) {
  test(`${how}, the appends of a closed store go to the next one on the same page`, async () => {
    const storage = new Storage(), { locks } = way(storage);
    const first = new BrowserStore(URL, storage, locks);
    await first.load();
    first.put(append("a"));
    first.close();
    await new Promise(resolve => setImmediate(resolve));
    assert.deepEqual(await new BrowserStore(URL, storage, locks).load(), [append("a")]);
  });
}

test("appends for another server and unreadable items are not taken", async () => {
  const storage = new Storage();
  storage.setItem(`roomlog.outbox|${URL}|1-1|000000000`, "{cut sho");
  storage.setItem(`roomlog.outbox|${URL}|1-1|000000001`, "{}");
  storage.setItem("roomlog.outbox|ws://other/v1/ws|1-1|000000000", JSON.stringify(append("x")));
  storage.setItem("roomlog", "another program's");
  assert.deepEqual(await new BrowserStore(URL, storage, undefined).load(), []);
  assert.ok(storage.getItem("roomlog.outbox|ws://other/v1/ws|1-1|000000000"));
  assert.equal(storage.getItem("roomlog"), "another program's");
});

/** Fake Web Locks that give each lock to one tab at a time. */
class QueuedLocks {
  /** The holder of each lock, then those that wait for it. @type {Map<string, (() => Promise<unknown>)[]>} */
  queues = new Map();
  async request(/** @type {string} */ name, /** @type {() => Promise<unknown>} */ held) {
    const queue = this.queues.get(name) ?? [];
    this.queues.set(name, queue);
    queue.push(held);
    if (queue.length === 1) await this.#next(name, queue);
  }
  async #next(/** @type {string} */ name, /** @type {(() => Promise<unknown>)[]} */ queue) {
    for (; queue.length > 0; queue.shift()) await queue[0]();
    this.queues.delete(name);
  }
  async query() {
    const names = [...this.queues].map(([name, queue]) => queue.map(() => ({ name })));
    return { held: names.map(queue => queue[0]), pending: names.flatMap(queue => queue.slice(1)) };
  }
}

test("of two pages that are opened at once, one takes over the appends of a closed third", async () => {
  const storage = new Storage(), locks = new QueuedLocks();
  storage.setItem(`roomlog.outbox|${URL}|1-1|000000000`, JSON.stringify(append("a")));
  const pages = [1, 2].map(() => new BrowserStore(URL, storage, locks));
  const loaded = await Promise.all(pages.map(page => page.load(() => assert.fail("nothing is found afterwards"))));
  assert.deepEqual(loaded.toSorted((a, b) => b.length - a.length), [[append("a")], []]);
  pages.forEach(page => page.close());
});

for (const [how, locks] of /** @type {const} */ ([["with", new QueuedLocks()], ["without", undefined]])) {
  test(`${how} Web Locks, an open page takes over the appends of one that is closed`, async () => {
    mock.timers.enable({ apis: ["setInterval"] });
    try {
      const storage = new Storage(), stays = new BrowserStore(URL, storage, locks), goes = new BrowserStore(URL, storage, locks);
      /** @type {any[]} */
      const found = [];
      assert.deepEqual(await stays.load(appends => found.push(...appends)), []);
      await goes.load();
      goes.put(append("a"));
      mock.timers.tick(20_000);
      await new Promise(resolve => setImmediate(resolve));
      assert.deepEqual(found, [], "the other page is still open");
      goes.close();
      await new Promise(resolve => setImmediate(resolve));
      mock.timers.tick(20_000);
      await new Promise(resolve => setImmediate(resolve));
      assert.deepEqual(found, [append("a")]);
      stays.remove(append("a"));
      assert.deepEqual([...storage.items.keys()].filter(key => key.includes("outbox")), []);
      stays.close();
    } finally {
      mock.timers.reset();
    }
  });
}

test("two appends with one id are both stored, and each is removed when it has its outcome", async () => {
  const storage = new Storage(), first = new BrowserStore(URL, storage, new QueuedLocks());
  const [one, other] = [append("a"), { ...append("a"), body: "other" }];
  [one, other].forEach(it => first.put(it));
  first.remove(other);
  const second = new BrowserStore(URL, storage, new QueuedLocks());
  assert.deepEqual(await second.load(), [one]);
  second.close();
});

test("where Web Locks are blocked, it works without them", async () => {
  const storage = new Storage(), refused = () => Promise.reject(new DOMException("no", "SecurityError"));
  storage.setItem(`roomlog.outbox|${URL}|1-1|000000000`, JSON.stringify(append("a")));
  const store = new BrowserStore(URL, storage, { request: refused, query: refused });
  assert.deepEqual(await store.load(), [append("a")]);
  store.close();
});

test("heartbeats of tabs that were killed long ago without leaving appends are removed", async () => {
  const storage = new Storage();
  storage.setItem("roomlog.tab|9-9", "1000");
  const store = new BrowserStore(URL, storage, undefined);
  await store.load();
  assert.equal(storage.getItem("roomlog.tab|9-9"), null);
  store.close();
  assert.deepEqual([...storage.items], []);
});
