import assert from "node:assert/strict";
import { test } from "node:test";

import { hueOf, problemOf, visible } from "../names.js";

test("invisible characters of a name are replaced; those that a script or an emoji needs stay", () => {
  for (const name of ["ada", "Ada Lovelace", "محمد", "می\u200cخواهم", "क्\u200dष", "👩\u200d👩\u200d👧", "❤\ufe0f", "__proto__", "Đặng"]) {
    assert.equal(visible(name), name);
  }
  for (const character of ["\u200b", "\u200d", "\u200e", "\u202e", "\u2066", "\u2060", "\ufeff", "\u00ad", "\u3164", "\u{e0041}"]) {
    assert.equal(visible(`ad${character}a`), "ad\ufffda", character.codePointAt(0)?.toString(16));
  }
});

test("an invalid name is rejected with the reason", () => {
  assert.equal(problemOf("ada", 64), "");
  assert.equal(problemOf("é".repeat(32), 64), "");
  assert.match(problemOf("é".repeat(33), 64), /66 bytes, and the limit is 64/);
  assert.match(problemOf("a\tb", 64), /control/);
  assert.match(problemOf("\u200b", 64), /invisible/);
});

test("an author always has the same colour", () => {
  assert.equal(hueOf("ada"), hueOf("ada"));
  const hues = new Set(["ada", "grace", "edsger", "leila", "barbara", "محمد"].map(hueOf));
  assert.ok(hues.size > 2, `${[...hues]}`);
});
