// Appends that wait in a browser's storage for the next page.

import assert from "node:assert/strict";
import { test } from "node:test";

import { BrowserStore } from "../src/store.js";

const URL = "ws://127.0.0.1:7400/v1/ws";

/** A browser's storage, as all its tabs see it. */
class Storage {
  /** @type {Map<string, string>} */
  items = new Map();
  get length() { return this.items.size; }
  key(/** @type {number} */ at) { return [...this.items.keys()][at] ?? null; }
  getItem(/** @type {string} */ key) { return this.items.get(key) ?? null; }
  setItem(/** @type {string} */ key, /** @type {string} */ value) { this.items.set(key, value); }
  removeItem(/** @type {string} */ key) { this.items.delete(key); }
}

/** The locks of a browser; a tab that ends lets go of its own. */
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

/** With Web Locks, and without. @type {[string, (storage: Storage) => {locks: any, end: () => void}][]} */
const ways = [
  ["with Web Locks", () => {
    const locks = new Locks();
    return { locks, end: () => locks.names.clear() };
  }],
  ["without Web Locks", storage => {
    const signs = () => [...storage.items.keys()].filter(key => key.startsWith("roomlog.tab|"));
    return { locks: undefined, end: () => signs().forEach(key => storage.items.delete(key)) };
  }],
];

for (const [how, way] of ways) {
  test(`${how}, a page that is opened after another has gone takes over what that left, in order`, async () => {
    const storage = new Storage(), { locks, end } = way(storage);
    const first = new BrowserStore(URL, storage, locks);
    assert.deepEqual(await first.load(), []);
    ["a", "b", "c"].forEach(id => first.put(append(id)));
    first.remove(append("b"));

    const beside = new BrowserStore(URL, storage, locks);
    assert.deepEqual(await beside.load(), [], "the first tab is still there");
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
  test(`${how}, what is in a store that was closed is the next one's, on the same page`, async () => {
    const storage = new Storage(), { locks } = way(storage);
    const first = new BrowserStore(URL, storage, locks);
    await first.load();
    first.put(append("a"));
    first.close();
    await new Promise(resolve => setImmediate(resolve));
    assert.deepEqual(await new BrowserStore(URL, storage, locks).load(), [append("a")]);
  });
}

test("what is left for another server, or is not to be read, is not taken", async () => {
  const storage = new Storage();
  storage.setItem(`roomlog.outbox|${URL}|1-1|000000000`, "{cut sho");
  storage.setItem(`roomlog.outbox|${URL}|1-1|000000001`, "{}");
  storage.setItem("roomlog.outbox|ws://other/v1/ws|1-1|000000000", JSON.stringify(append("x")));
  storage.setItem("roomlog", "another program's");
  assert.deepEqual(await new BrowserStore(URL, storage, undefined).load(), []);
  assert.ok(storage.getItem("roomlog.outbox|ws://other/v1/ws|1-1|000000000"));
  assert.equal(storage.getItem("roomlog"), "another program's");
});
