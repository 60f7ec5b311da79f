import assert from "node:assert/strict";
import { test } from "node:test";

import { Shower, isLine } from "../shown.js";

const at = (/** @type {number} */ slot, /** @type {string} */ author, /** @type {string} */ body, more = {}) => (
  { slot, author, id: `${author}-${slot}`, body, committed_at: 1_000 + slot, ...more }
);
const line = at(3, "ada", "helo");
const about = [
  at(4, "grace", "👍", { kind: "reaction", ref: 3 }),
  at(5, "ada", "hello", { kind: "edit", ref: 3 }),
  at(6, "grace", "mine now", { kind: "edit", ref: 3 }),
  at(7, "edsger", "👍", { kind: "reaction", ref: 3 }),
  at(8, "grace", "", { kind: "reaction", ref: 3 }),
  at(9, "ada", "hello!", { kind: "edit", ref: 3 }),
];

test("the author's latest edit counts, and reactions that were not taken back, in whatever order they came", () => {
  for (const order of [about, about.toReversed(), [...about.slice(3), ...about.slice(0, 3)]]) {
    const shower = new Shower();
    for (const entry of order) assert.deepEqual([...shower.take([entry])], [3]);
    const { body, edited, reactions } = shower.of(line);
    assert.deepEqual([body, edited, [...reactions]], ["hello!", true, [["👍", ["edsger"]]]]);
  }
});

test("what was redacted has no body", () => {
  const shower = new Shower();
  shower.take([at(9, "ada", "", { kind: "redact", ref: 3 })]);
  assert.deepEqual([shower.of(line).body, shower.of(line).gone], ["", true]);
  assert.equal(shower.of({ ...line, body: undefined, redacted: true }).gone, true);
});

test("what is about nothing is a line; what comes twice counts once", () => {
  assert.equal(isLine(at(1, "ada", "x", { kind: "edit" })), true);
  assert.equal(isLine(about[0]), false);
  assert.equal(isLine(at(1, "ada", "x", { ref: 0 })), true, "a reply");
  const shower = new Shower();
  shower.take(about);
  assert.deepEqual([...shower.take(about)], []);
});
