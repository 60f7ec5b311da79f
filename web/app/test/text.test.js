import assert from "node:assert/strict";
import { test } from "node:test";

import { bytesOf, isEmoji, pieces, wellFormed, withoutEmptyLines } from "../text.js";

const brief = (/** @type {string} */ body) => pieces(body).map(it => `${it.kind}:${it.text}`);

test("links end before the punctuation of the sentence", () => {
  assert.deepEqual(brief("see https://a.example/x, or (http://b.example/y_(z))."), [
    "text:see ", "link:https://a.example/x", "text:, or (", "link:http://b.example/y_(z)", "text:).",
  ]);
  assert.deepEqual(brief("HTTPS://A.EXAMPLE"), ["link:HTTPS://A.EXAMPLE"]);
});

test("only http and https are links", () => {
  for (const body of ["javascript:alert(1)", "data:text/html,x", "https://", "file:///etc/passwd", "a <b>http</b>"]) {
    assert.deepEqual(brief(body), [`text:${body}`]);
  }
});

test("a link ends before invisible characters", () => {
  assert.deepEqual(brief("https://a.example/\u202egpj.exe"), ["link:https://a.example/", "text:\u202egpj.exe"]);
});

test("empty lines around a text are removed, white space within it stays", () => {
  assert.equal(withoutEmptyLines("\n \t\n    a\n\n  b  \n \n"), "    a\n\n  b  ");
  for (const empty of ["", " ", "\n\n", " \n\t\n"]) assert.equal(withoutEmptyLines(empty), "");
});

test("a text is measured in UTF-8, and lone surrogates are replaced", () => {
  assert.deepEqual([bytesOf("é"), bytesOf("👍"), wellFormed("a\ud83d"), wellFormed("👍")], [2, 4, "a\ufffd", "👍"]);
});

test("text between backticks is code", () => {
  assert.deepEqual(brief("run `ls -l` now"), ["text:run ", "code:ls -l", "text: now"]);
  assert.deepEqual(brief("```js\nlet a = `x`;\n```\ndone"), ["block:let a = `x`;", "text:done"]);
  assert.deepEqual(brief("`https://a.example`"), ["code:https://a.example"]);
  assert.deepEqual(brief("a ` b"), ["text:a ` b"]);
});

test("a few emoji alone are recognized, and nothing else is", () => {
  for (const body of ["👍", "👩‍👩‍👧 ❤️", "🎉🎉🎉"]) assert.equal(isEmoji(body), true, body);
  for (const body of ["", "1", "👍 ok", "🎉🎉🎉🎉", "#"]) assert.equal(isEmoji(body), false, body);
});
