import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";

import { sha256 } from "../src/sha256.js";

test("SHA-256 agrees with Node's at all lengths around its block size", () => {
  for (const length of [...Array(200).keys(), 16_384, 65_537]) {
    const bytes = randomBytes(length);
    assert.equal(Buffer.from(sha256(bytes)).toString("hex"), createHash("sha256").update(bytes).digest("hex"));
  }
});

test("of a view into a larger buffer, only the view is hashed", () => {
  const whole = randomBytes(300), part = new Uint8Array(whole.buffer, whole.byteOffset + 3, 100);
  assert.deepEqual(sha256(part), sha256(Uint8Array.from(part)));
});
