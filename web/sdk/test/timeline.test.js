// What a timeline holds: spans, gaps and digests.

import assert from "node:assert/strict";
import { test } from "node:test";

import { after, redacted, start } from "../src/digest.js";
import { ERASE_SLOTS, FAR_BEHIND, Removals, Timeline, removalOf } from "../src/timeline.js";

const ROOM = "general";

/** A server's log, long enough for all tests here. */
const log = Array.from({ length: 200 }, (_, slot) => (
  { slot, author: "ada", id: `a-${slot}`, body: `body ${slot}`, committed_at: 1_000 + slot, salt: "cm9vbWxvZy1zbHQw" }
));
const digests = [start(ROOM)];
for (const entry of log) digests.push(after(digests[entry.slot], entry));
const digestAt = (/** @type {number} */ slot) => digests[slot + 1];

/** The reply with the slots from `first` up to before `end`. */
function reply(/** @type {number} */ first, /** @type {number} */ end, latest = end - 1) {
  const digest_at = end > first ? end - 1 : latest;
  return { entries: log.slice(first, end), latest, digest_at, digest: digestAt(digest_at) };
}

const slots = (/** @type {{slot: number}[]} */ entries) => entries.map(entry => entry.slot);

test("a page before the oldest entry extends the span", () => {
  const timeline = new Timeline(ROOM, 10);
  timeline.joined(reply(90, 100));
  assert.deepEqual(slots(timeline.fill(reply(80, 90, 99)).entries), slots(log.slice(80, 90)));
  assert.deepEqual(timeline.spans, [{ first: 80, last: 99 }]);
  assert.deepEqual(timeline.gaps, []);
  assert.equal(timeline.get(80)?.id, "a-80");
  assert.equal(timeline.get(79), undefined);
});

test("a page elsewhere leaves a gap, which further pages close", () => {
  const timeline = new Timeline(ROOM, 10);
  timeline.joined(reply(90, 100));
  timeline.fill(reply(20, 30, 99));
  assert.deepEqual(timeline.gaps, [{ first: 30, last: 89 }]);
  timeline.fill(reply(30, 60, 99));
  assert.deepEqual(timeline.spanOf(25), { first: 20, last: 59 });
  assert.deepEqual(slots(timeline.fill(reply(55, 95, 99)).entries), slots(log.slice(60, 90)), "without those that were held");
  assert.deepEqual(timeline.spans, [{ first: 20, last: 99 }]);
});

test("a follower that is far behind joins at the newest entries and keeps what it held", () => {
  const timeline = new Timeline(ROOM, 5);
  timeline.joined(reply(0, 5));
  const far = { ...reply(5, 10), latest: 4 + FAR_BEHIND + 1 };
  assert.deepEqual(timeline.joined(far), { entries: [], far: true });
  timeline.leap();
  assert.deepEqual(timeline.join(), { count: 5 });
  timeline.joined(reply(150, 155));
  assert.deepEqual(timeline.gaps, [{ first: 5, last: 149 }]);
  assert.deepEqual(slots(timeline.ack(log.slice(155, 157)).entries), [155, 156]);

  const near = new Timeline(ROOM, 5);
  near.joined(reply(0, 5));
  assert.deepEqual(slots(near.joined({ ...reply(5, 10), latest: 4 + FAR_BEHIND }).entries), [5, 6, 7, 8, 9]);
});

test("dropped entries can be read again, and new ones still come", () => {
  const timeline = new Timeline(ROOM, 50);
  timeline.joined(reply(50, 100));
  timeline.trim(50, 69);
  assert.deepEqual(timeline.spans, [{ first: 50, last: 69 }]);
  assert.deepEqual(timeline.update(), { after: 99, digest: digestAt(99) });
  assert.deepEqual(slots(timeline.ack(log.slice(100, 101)).entries), [100]);
  assert.deepEqual(timeline.gaps, [{ first: 70, last: 99 }]);
  timeline.fill(reply(70, 100, 100));
  assert.deepEqual(timeline.spans, [{ first: 50, last: 100 }]);
});

test("a changed entry is detected once its neighbours are held", () => {
  const changed = (/** @type {number} */ first, /** @type {number} */ end, /** @type {number} */ slot) => {
    const page = reply(first, end, 99);
    page.entries = page.entries.map(entry => (entry.slot === slot ? { ...entry, body: "another" } : entry));
    return page;
  };
  // In the newest page: detected by the digest of the page before it.
  let timeline = new Timeline(ROOM, 10);
  assert.equal(timeline.joined(changed(90, 100, 95)).diverged, undefined);
  assert.equal(timeline.fill(reply(80, 90, 99)).diverged, true);
  // In an earlier page: detected at slot 0, or by the digest of the page before.
  timeline = new Timeline(ROOM, 10);
  timeline.joined(reply(10, 20, 99));
  assert.equal(timeline.fill(changed(0, 10, 3)).diverged, true);
  // In an ack: detected by the next reply.
  timeline = new Timeline(ROOM, 10);
  timeline.joined(reply(90, 95));
  timeline.ack(changed(95, 97, 96).entries);
  assert.equal(timeline.page(reply(97, 98)).diverged, true);
});

test("an entry without a salt is taken, and detected as a changed one is", () => {
  const unsalted = (/** @type {number} */ first, /** @type {number} */ end) => {
    const page = reply(first, end);
    return { ...page, entries: page.entries.map(({ salt: _, ...entry }) => entry) };
  };
  // In the newest page: detected by the digest of the page before it.
  let timeline = new Timeline(ROOM, 10);
  assert.deepEqual(slots(timeline.joined(unsalted(1, 3)).entries), [1, 2]);
  assert.equal(timeline.fill(reply(0, 1, 2)).diverged, true);
  // In an ack: the next request has a digest that the server rejects.
  timeline = new Timeline(ROOM, 10);
  timeline.joined(reply(0, 1));
  assert.deepEqual(slots(timeline.ack(unsalted(1, 3).entries).entries), [1, 2]);
  const { digest } = timeline;
  assert.match(digest ?? "", /^[0-9a-f]{64}$/);
  assert.notEqual(digest, digestAt(2));
  assert.equal(timeline.page(reply(3, 4)).diverged, true);
});

/** A redact entry. */
const redact = (/** @type {number} */ slot, /** @type {number} */ ref) => (
  { slot, author: "ada", id: `r-${slot}`, body: "", kind: "redact", ref, committed_at: 2_000, salt: "cm9vbWxvZy1zbHQw" }
);
/** What a timeline has of a slot: its body, or its commitment if it is redacted. */
const contentOf = (/** @type {Timeline} */ timeline, /** @type {number} */ slot) => {
  const { body, meta, salt, redacted, commitment } = timeline.get(slot) ?? {};
  return redacted ? [body, meta, salt, typeof commitment] : body;
};
const GONE = [undefined, undefined, undefined, "string"];

test("a redact entry removes what is held of its ref, and the digests still agree", () => {
  const timeline = new Timeline(ROOM, 10);
  timeline.joined(reply(90, 100));
  assert.deepEqual(slots(timeline.ack([redact(100, 95)]).entries), [100]);
  assert.deepEqual([contentOf(timeline, 94), contentOf(timeline, 95)], ["body 94", GONE]);
  assert.deepEqual([timeline.get(95)?.id, timeline.get(95)?.committed_at], ["a-95", 1_095]);
  // Verified from the digest of this page to that of the first one, over the redacted entry.
  assert.equal(timeline.fill(reply(80, 90, 100)).diverged, undefined);
});

test("an entry that comes with its redact entry, or after it, is taken in the redacted form", () => {
  const timeline = new Timeline(ROOM, 10);
  timeline.joined(reply(90, 95));
  const taken = timeline.ack([...log.slice(95, 97), redact(97, 95)]).entries;
  assert.deepEqual(taken.map(it => it.body), [undefined, "body 96", ""]);
  // The answer to a read was on its way when the redact entry came.
  timeline.ack([redact(98, 85)]);
  const read = timeline.fill(reply(80, 90, 98));
  assert.deepEqual([read.diverged, read.entries[4].body, read.entries[5].body], [undefined, "body 84", undefined]);
  assert.deepEqual(contentOf(timeline, 85), GONE);
});

test("an entry that is held and comes again redacted is redacted, but not taken twice", () => {
  const timeline = new Timeline(ROOM, 10);
  timeline.joined(reply(90, 100));
  timeline.trim(90, 95);
  const again = reply(92, 98, 99), entries = again.entries.map(entry => (entry.slot === 93 ? redacted(entry) : entry));
  assert.deepEqual(slots(timeline.fill({ ...again, entries }).entries), [96, 97]);
  assert.deepEqual([contentOf(timeline, 92), contentOf(timeline, 93)], ["body 92", GONE]);
});

/** An erase entry, of one author or of all. */
const erase = (/** @type {number} */ slot, /** @type {number} */ ref, author = "") => (
  { slot, author: "root", id: `e-${slot}`, body: author, kind: "erase", ref, committed_at: 2_000, salt: "cm9vbWxvZy1zbHQw" }
);
/** An entry of somebody else. */
const said = (/** @type {number} */ slot, /** @type {string} */ author, more = {}) => (
  { slot, author, id: `${author}-${slot}`, body: `${author} ${slot}`, committed_at: 2_000, salt: "cm9vbWxvZy1zbHQw", ...more }
);
/** The slots that a timeline holds without their texts. */
const erased = (/** @type {Timeline} */ timeline) => timeline.spans.flatMap(({ first, last }) => (
  Array.from({ length: last + 1 - first }, (_, at) => first + at).filter(slot => timeline.get(slot)?.redacted)
));

test("an erase entry removes what is held of its author, and the digests still agree", () => {
  const timeline = new Timeline(ROOM, 10);
  timeline.joined(reply(95, 100));
  timeline.ack([
    said(100, "grace"), said(101, "grace", { kind: "edit", ref: 100 }), said(102, "ada", { kind: "reaction", ref: 100 }),
    said(103, "grace"),
  ]);
  assert.deepEqual(slots(timeline.ack([erase(104, 102, "grace")]).entries), [104]);
  assert.deepEqual(erased(timeline), [100, 101], "not what came after its ref");
  assert.deepEqual([contentOf(timeline, 101), contentOf(timeline, 104)], [GONE, "grace"]);
  timeline.ack([erase(105, 104)]);
  assert.deepEqual(erased(timeline), [95, 96, 97, 98, 99, 100, 101, 102, 103], "all authors, but not the erase entry");
  // Verified from the digest of this page to that of the first one, over the erased entries.
  assert.equal(timeline.fill(reply(85, 95, 105)).diverged, undefined);
});

test("an entry that comes with its erase entry, or after it, is taken in the redacted form", () => {
  const timeline = new Timeline(ROOM, 10);
  timeline.joined(reply(90, 95));
  const taken = timeline.ack([log[95], said(96, "grace"), redact(97, 90), erase(98, 97, "ada")]).entries;
  assert.deepEqual(taken.map(it => it.body), [undefined, "grace 96", "", "ada"]);
  // The answer to a read was on its way when the erase entry came.
  const { entries } = timeline.fill({ ...reply(86, 90, 98), entries: [...log.slice(86, 89), said(89, "grace")] });
  assert.deepEqual(entries.map(it => it.body), [undefined, undefined, undefined, "grace 89"]);
  assert.equal(contentOf(timeline, 97), "", "the redact entry stays");
});

test("an erase entry covers the slots up to its ref, 4,096 at most", () => {
  const covered = (/** @type {number} */ ref, /** @type {number[]} */ of) => {
    const removals = new Removals();
    removals.add(/** @type {import("../src/timeline.js").Removal} */ (removalOf(erase(9_000, ref))));
    return of.filter(slot => removals.covers(said(slot, "ada")));
  };
  assert.equal(ERASE_SLOTS, 4_096);
  assert.deepEqual(covered(8_000, [0, 3_904, 3_905, 8_000, 8_001]), [3_905, 8_000]);
  assert.deepEqual(covered(4_095, [0, 4_095, 4_096]), [0, 4_095]);
  assert.deepEqual(covered(3, [0, 3, 4]), [0, 3]);
  const { ref: _, ...bare } = erase(9, 8);
  assert.deepEqual([removalOf(bare), removalOf(said(9, "ada", { ref: 8 }))], [null, null]);
});

test("removals in any order cover the slots of each, and are forgotten with their slots", () => {
  /** @type {[number, number, string | null][]} */
  const spans = [[10, 19, "ada"], [30, 39, "ada"], [20, 24, "ada"], [5, 12, "ada"], [50, 50, null], [52, 52, null], [51, 51, null]];
  const slots = Array.from({ length: 60 }, (_, slot) => slot);
  for (const order of [spans, spans.toReversed(), spans.toSorted(([a], [b]) => a - b), [...spans, ...spans]]) {
    const removals = new Removals();
    for (const [first, last, author] of order) removals.add({ first, last, author });
    const of = (/** @type {string} */ author) => slots.filter(slot => removals.covers(said(slot, author)));
    assert.deepEqual(of("ada"), [...slots.slice(5, 25), ...slots.slice(30, 40), 50, 51, 52]);
    assert.deepEqual(of("grace"), [50, 51, 52]);
    removals.trim(24, 29);
    assert.deepEqual(of("ada"), slots.slice(5, 25));
    removals.clear();
    assert.deepEqual(of("ada"), []);
  }
});

test("another log has no removals of this one", () => {
  const timeline = new Timeline(ROOM, 10);
  timeline.joined(reply(90, 95));
  timeline.ack([redact(95, 3), erase(96, 1)]);
  timeline.reset();
  timeline.joined(reply(0, 5));
  assert.deepEqual([contentOf(timeline, 1), contentOf(timeline, 3)], ["body 1", "body 3"]);
});

test("after a reset nothing is held, and the next join starts at the newest entries", () => {
  const timeline = new Timeline(ROOM, 10);
  timeline.joined(reply(90, 100));
  timeline.reset();
  assert.deepEqual(timeline.spans, []);
  assert.deepEqual(timeline.join(), { count: 10 });
  assert.deepEqual(slots(timeline.joined(reply(0, 3)).entries), [0, 1, 2]);
});

test("pages from the end to the beginning are one span", () => {
  const timeline = new Timeline(ROOM, 1);
  timeline.joined(reply(199, 200));
  for (let end = 199; end > 0; end -= 7) {
    const first = Math.max(0, end - 7);
    assert.equal(timeline.fill(reply(first, end, 199)).diverged, undefined);
  }
  assert.deepEqual(timeline.spans, [{ first: 0, last: 199 }]);
});
