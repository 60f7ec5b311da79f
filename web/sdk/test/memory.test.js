// What redactions and erasures leave in memory: a snapshot of the heap has no text of it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { text } from "node:stream/consumers";
import { getHeapSnapshot } from "node:v8";

import { Fold } from "../src/index.js";
import { Timeline } from "../src/timeline.js";

const ROOM = "general";

/** Different in each run, and not in the source. */
const mark = Date.now().toString(36);

/** The texts with the mark that are in memory, without the mark. @returns {Promise<string[]>} */
async function inMemory() {
  const { strings } = JSON.parse(await text(getHeapSnapshot()));
  const marked = strings.filter((/** @type {string} */ it) => it.startsWith(mark) && it !== mark);
  return marked.map((/** @type {string} */ it) => it.slice(mark.length + 1)).sort();
}

/** An entry as it comes from the server: parsed, so that nothing else holds its texts. */
const received = (/** @type {number} */ slot, /** @type {string} */ word, more = {}) => JSON.parse(JSON.stringify({
  slot, author: "ada", id: `a-${slot}`, body: `${mark} ${word}`, meta: `${mark} ${word}, meta`,
  committed_at: 1_000 + slot, salt: "cm9vbWxvZy1zbHQw", ...more,
}));

/** A redact entry. */
const redact = (/** @type {number} */ slot, /** @type {number} */ ref) => (
  received(slot, "", { body: "", meta: undefined, kind: "redact", ref })
);

test("nothing of a redacted entry and its redacted edit stays in memory", async () => {
  const timeline = new Timeline(ROOM), fold = new Fold();
  timeline.joined({ entries: [], latest: -1, digest_at: -1, digest: "" });
  const take = (/** @type {import("../src/index.js").Entry[]} */ entries) => fold.take(timeline.ack(entries).entries);
  take([received(0, "told"), received(1, "edited", { kind: "edit", ref: 0 }), received(2, "kept")]);
  assert.deepEqual(await inMemory(), ["edited", "edited, meta", "kept", "kept, meta", "told", "told, meta"]);
  take([redact(3, 0), redact(4, 1)]);
  assert.deepEqual(await inMemory(), ["kept", "kept, meta"]);
  assert.equal(timeline.last, 4);
});

test("nothing of what an author said stays in memory after an erase entry", async () => {
  const timeline = new Timeline(ROOM), fold = new Fold();
  timeline.joined({ entries: [], latest: -1, digest_at: -1, digest: "" });
  const take = (/** @type {import("../src/index.js").Entry[]} */ entries) => fold.take(timeline.ack(entries).entries);
  take([
    received(0, "told"), received(1, "edited", { kind: "edit", ref: 0 }), received(2, "kept", { author: "grace" }),
    received(3, "reacted", { kind: "reaction", ref: 2 }),
  ]);
  take([received(4, "", { author: "root", body: "ada", meta: undefined, kind: "erase", ref: 3 })]);
  assert.deepEqual(await inMemory(), ["kept", "kept, meta"]);
  assert.equal(timeline.last, 4);
});

test("a fold forgets the texts of the edits of a redacted entry, though these are not redacted yet", async () => {
  const fold = new Fold();
  fold.take([received(2, "edited", { kind: "edit", ref: 0 }), received(3, "another", { kind: "edit", ref: 1 })]);
  assert.deepEqual(await inMemory(), ["another", "edited"]);
  fold.take([redact(4, 0)]);
  assert.deepEqual(await inMemory(), ["another"]);
  fold.take([received(5, "late", { kind: "edit", ref: 0 })]);
  assert.deepEqual(await inMemory(), ["another"]);
  assert.equal(fold.take([]).size, 0);
});
