import assert from "node:assert/strict";
import { test } from "node:test";

import { Fold, emojiOf, isLine } from "../src/index.js";

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

test("the author's latest edit and each author's latest reaction count, in whatever order they come", () => {
  for (const order of [about, about.toReversed(), [...about.slice(3), ...about.slice(0, 3)]]) {
    const fold = new Fold();
    for (const entry of order) assert.deepEqual([...fold.take([entry])], [3]);
    const { body, edited, reactions } = fold.of(line);
    assert.deepEqual([body, edited, [...reactions]], ["hello!", true, [["👍", ["edsger"]]]]);
  }
});

/** The slot of a redact entry, and of what it redacts. */
const redact = (/** @type {number} */ slot, /** @type {number} */ ref) => at(slot, "ada", "", { kind: "redact", ref });
/** An entry as the server sends it after its redaction. @param {import("../src/index.js").Entry} entry */
const gone = ({ body: _, ...entry }) => ({ ...entry, redacted: true });

test("a redacted entry has no text, neither its own nor of an edit, in whatever order they come", () => {
  const all = [...about, redact(10, 3), at(11, "ada", "late", { kind: "edit", ref: 3 })];
  for (const order of [all, all.toReversed(), [...about, gone(line)], [gone(line), ...about]]) {
    const fold = new Fold();
    for (const entry of order) fold.take([entry]);
    const shown = fold.of(line), late = order.length === all.length;
    assert.deepEqual([shown.body, shown.gone, [...shown.reactions]], ["", true, [["👍", ["edsger"]]]]);
    assert.deepEqual(shown.edits, late ? [5, 9, 11] : [5, 9], "these have to be redacted as well");
  }
  assert.deepEqual([new Fold().of(gone(line)).gone, new Fold().of(gone(line)).body], [true, ""]);
});

test("an edit that is redacted does not count: the text is the one before it, in whatever order they come", () => {
  /** @type {[import("../src/index.js").Entry[], string, number[]][]} */
  const cases = [
    [[...about, redact(10, 9)], "hello", [5]],
    [[...about, redact(10, 5)], "hello!", [9]],
    [[...about, redact(10, 5), redact(11, 9)], "helo", []],
    [about.map(it => (it.slot === 9 ? gone(it) : it)), "hello", [5]],
    [[...about, ...about.map(gone)], "helo", []],
  ];
  for (const [entries, body, edits] of cases) {
    for (const order of [entries, entries.toReversed()]) {
      const fold = new Fold();
      for (const entry of order) fold.take([entry]);
      const shown = fold.of(line);
      assert.deepEqual([shown.body, shown.edits, shown.edited, shown.gone], [body, edits, edits.length > 0, false]);
    }
  }
  const fold = new Fold();
  fold.take(about);
  assert.ok(fold.take([redact(10, 9)]).has(3), "the line of the original has changed");
  assert.ok(fold.take([gone(about[1])]).has(3));
});

test("a reaction that is redacted does not count", () => {
  const fold = new Fold();
  fold.take(about);
  assert.ok(fold.take([redact(10, 8)]).has(3));
  assert.deepEqual([...fold.of(line).reactions], [["👍", ["grace", "edsger"]]], "she has not withdrawn it");
  fold.take([redact(11, 4), redact(12, 7)]);
  assert.deepEqual([...fold.of(line).reactions], []);
  fold.clear();
  fold.take(about);
  assert.deepEqual([...fold.of(line).reactions], [["👍", ["edsger"]]], "nothing of another log is left");
});

/** An erase entry, of one author or of all. */
const erase = (/** @type {number} */ slot, /** @type {number} */ ref, author = "") => at(slot, "root", author, { kind: "erase", ref });

test("an erased author's lines, edits and reactions are gone, in whatever order they come", () => {
  const hers = at(2, "grace", "hi"), later = at(12, "ada", "later"), late = at(13, "ada", "late", { kind: "edit", ref: 3 });
  /** @type {[import("../src/index.js").Entry, string, boolean, [string, string[]][]][]} */
  const expected = [[line, "", true, [["👍", ["edsger"]]]], [hers, "hi", false, []], [later, "later", false, []]];
  /** @type {import("../src/index.js").Entry[]} */
  const all = [
    hers, line, ...about, at(10, "ada", "👋", { kind: "reaction", ref: 2 }), erase(11, 10, "ada"), later, late,
  ];
  for (const order of [all, all.toReversed(), [...all.slice(6), ...all.slice(0, 6)], [...all, ...all]]) {
    const fold = new Fold();
    for (const entry of order) fold.take([entry]);
    for (const [entry, ...shown] of expected) {
      const { body, gone, reactions } = fold.of(entry);
      assert.deepEqual([body, gone, [...reactions]], shown);
    }
    assert.deepEqual(fold.of(line).edits, [13], "those within the span are erased, too");
  }
});

test("the lines that an erase entry changes are those taken before, in whatever order they came", () => {
  const lines = [at(1, "ada", "before the span"), line, at(7, "grace", "hi"), at(4_098, "ada", "last"), at(4_099, "ada", "behind")];
  const heart = at(8, "ada", "❤", { kind: "reaction", ref: 1 });
  for (const order of [lines, lines.toReversed(), [...lines.slice(2), ...lines]]) {
    const fold = new Fold();
    for (const entry of [...order, heart]) fold.take([entry]);
    const changed = (/** @type {string | undefined} */ author) => [...fold.take([erase(5_000, 4_098, author)])].sort((a, b) => a - b);
    assert.deepEqual([changed("edsger"), changed("grace"), changed("ada")], [[], [7], [1, 3, 4_098]], "1 by its reaction");
    assert.deepEqual(changed(undefined), [3, 7, 4_098], "all authors");
    fold.clear();
    assert.deepEqual(changed(undefined), []);
  }
});

test("an edit that is erased does not show through: the text is the one before the span", () => {
  const last = 5_000, edits = [
    at(9, "ada", "hello", { kind: "edit", ref: 3 }), at(last, "ada", "hello!", { kind: "edit", ref: 3 }),
    at(last + 1, "grace", "👍", { kind: "reaction", ref: 3 }),
  ];
  /** @type {[import("../src/index.js").Entry[], string][]} */
  const cases = [
    [[erase(last + 2, last, "ada")], "hello"],
    [[erase(last + 2, last)], "hello"],
    [[erase(last + 2, last, "grace")], "hello!"],
    [[erase(last + 2, last, "ada"), erase(last + 3, 9)], ""],
  ];
  for (const [erased, body] of cases) {
    for (const order of [[line, ...edits, ...erased], [...erased, ...edits.toReversed(), line]]) {
      const fold = new Fold();
      for (const entry of order) fold.take([entry]);
      const shown = fold.of(line);
      assert.deepEqual([shown.body, shown.gone, [...shown.reactions]], [body, body === "", [["👍", ["grace"]]]]);
    }
  }
});

test("an erase entry is no line, and none of these is erased", () => {
  const fold = new Fold();
  assert.deepEqual([isLine(erase(5, 4)), isLine(redact(5, 4))], [false, false]);
  fold.take([line, redact(4, 3), erase(5, 4, "ada"), erase(6, 5)]);
  assert.deepEqual([fold.of(redact(4, 3)).gone, fold.of(erase(5, 4, "ada")).gone, fold.of(line).gone], [false, false, true]);
  fold.clear();
  assert.equal(fold.of(line).gone, false, "nothing of another log is left");
});

test("an edit without a ref is a line; a duplicate counts once", () => {
  assert.equal(isLine(at(1, "ada", "x", { kind: "edit" })), true);
  assert.equal(isLine(about[0]), false);
  assert.equal(isLine(at(1, "ada", "x", { ref: 0 })), true, "a reply");
  const fold = new Fold();
  fold.take(about);
  assert.deepEqual([...fold.take(about)], []);
});

test("a heart with and without U+FE0F is one reaction, whichever is looked up", () => {
  const fold = new Fold();
  fold.take([at(4, "bo", "\u2764", { kind: "reaction", ref: 3 }), at(5, "cy", "\u2764\ufe0f", { kind: "reaction", ref: 3 })]);
  const { reactions } = fold.of(line);
  assert.deepEqual([...reactions], [["\u2764\ufe0f", ["bo", "cy"]]]);
  assert.deepEqual(reactions.get(emojiOf("\u2764")), ["bo", "cy"]);
  fold.take([at(6, "bo", "", { kind: "reaction", ref: 3 })]);
  assert.deepEqual([...fold.of(line).reactions], [["\u2764\ufe0f", ["cy"]]]);
});

test("an emoji has one spelling: the fully-qualified one of Unicode", () => {
  const spellings = [
    ["\u2764\ufe0f", "\u2764", "\u2764\ufe0e"], // heart
    ["\u2764\ufe0f\u200d\u{1f525}", "\u2764\u200d\u{1f525}"], // heart on fire
    ["\u{1f575}\u{1f3fd}\u200d\u2642\ufe0f", "\u{1f575}\ufe0f\u{1f3fd}\u200d\u2642"], // detective with a skin tone
    ["1\ufe0f\u20e3", "1\u20e3"], // keycap
    ["\u{1f44d}", "\u{1f44d}\ufe0f"], // thumbs up
  ];
  for (const [right, ...others] of spellings) for (const text of [right, ...others]) assert.equal(emojiOf(text), right);
  for (const text of ["+1", "#", "lol", ""]) assert.equal(emojiOf(text), text);
  assert.notEqual(emojiOf("\u{1f44d}\u{1f3fd}"), emojiOf("\u{1f44d}"), "a skin tone is another emoji");
});

test("authors may be named like members of Object", () => {
  const names = ["__proto__", "constructor", "toString"], fold = new Fold();
  fold.take(names.map((name, n) => at(4 + n, name, name, { kind: "reaction", ref: 3 })));
  fold.take([at(9, "__proto__", "edited", { kind: "edit", ref: 2 })]);
  assert.deepEqual([...fold.of(line).reactions], names.map(name => [name, [name]]));
  assert.equal(fold.of(at(2, "__proto__", "x")).body, "edited");
});
