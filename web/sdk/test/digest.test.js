// The digest chain: the test vectors of docs/PROTOCOL.md, "The digest", and entries that cannot be verified.

import assert from "node:assert/strict";
import { test } from "node:test";

import { after, redacted, start } from "../src/digest.js";

/** @typedef {import("../src/index.js").Entry} Entry */

const START = "7b95ce86de539b74172e6a89e758e311cd1a8f48658e1fa52d0d37ddba31f8ad";
/** @type {Omit<Entry, "slot">[]} */
const SAID = [
  { author: "ada", id: "a-1", body: "hello", committed_at: 1_763_796_120_123, sent_at: 1_763_796_120_098 },
  { author: "grace", id: "g-1", body: "hi ada 👋", committed_at: 1_763_796_120_123, ref: 0 },
  {
    author: "ada", id: "a-2", body: "👍", kind: "reaction", ref: 1,
    committed_at: 1_763_796_121_000, sent_at: 1_763_796_120_999,
  },
  { author: "grace", id: "g-2", body: "", meta: '{"x":1}', committed_at: 1_763_796_121_000 },
];
/** The entries with the salts `roomlog-slt0` to `roomlog-slt3`. */
const ENTRIES = SAID.map((entry, slot) => ({ ...entry, slot, salt: `cm9vbWxvZy1zbHQ${"wxyz"[slot]}` }));
const COMMITMENTS = [
  "9d12cd6c8786d6ead9f8dbf868f3705c8b907994790010eab9b80ca9fceca375",
  "bfb1f2fab1bb25feb1f186a3dce71624da3225b0f0dd79d79f5c6648db4a1d29",
  "863d2a84af126c999040ae472ccfca8351e1934a7902c7a83822b23ea9a1ec82",
  "835060efdad48444a15a66ec99eaa0f53d6e6b351ba701962afeb96852cb2245",
];
const DIGESTS = [
  "071bb2068da4fdcd28aa9c24b65009f6d5030ac7073f3e898fb50043218d3a4e",
  "fd76e704099d03c77e3194ebdef46b5627b286acef79baeb9aac52c9a0078d62",
  "838cea942e14716287cfcc57f330f33f7cc8ad7f1c17fd7349a3fbcf6b3c8f31",
  "196a80c217ea3b059dd8567559e094b5030b68cfd972b8d2d6afbfcf4c569099",
];

/** The entries as the server sends them after their redaction. */
const REDACTED = SAID.map(({ body: _, meta: __, ...entry }, slot) => (
  { ...entry, slot, redacted: true, commitment: COMMITMENTS[slot] }
));

/** The digests after these entries. @param {Entry[]} entries */
function chain(entries) {
  let digest = start("general");
  return entries.map(entry => (digest = after(digest, entry)));
}

test("the digests are those of the test vectors, whether entries are redacted or not", () => {
  assert.equal(start("general"), START);
  assert.deepEqual(chain(ENTRIES), DIGESTS);
  assert.deepEqual(chain(REDACTED), DIGESTS);
  for (const gone of REDACTED) {
    assert.deepEqual(chain(ENTRIES.map(entry => (entry.slot === gone.slot ? gone : entry))), DIGESTS);
  }
});

test("an entry is redacted as the server does it, and one that cannot be verified stays so", () => {
  assert.deepEqual(ENTRIES.map(redacted), REDACTED);
  assert.deepEqual(REDACTED.map(redacted), REDACTED);
  const { salt: _, ...unsalted } = ENTRIES[0], { commitment: __, ...bare } = REDACTED[0];
  assert.deepEqual(redacted(unsalted), bare);
});

test("the salt is base64url, not base64", () => {
  const digest = after(START, { ...ENTRIES[0], salt: "-_-_AZaz09-_-_-_" });
  assert.equal(digest, "10dea07e23ab3542db0cf7cccac9ebba6e33b35158b211e0dbe755713ea0f09e");
});

test("an entry without a valid salt or commitment never agrees with a digest", () => {
  const [entry] = ENTRIES, [gone] = REDACTED;
  /** @type {unknown[]} */
  const anyForm = [undefined, null, "", 5, {}, { toString: 5 }];
  const salts = [
    ...anyForm, "cm9vbWxvZy1zbHQ", "cm9vbWxvZy1zbHQw=", "cm9vbWxvZy1zbHQwAAAA", "cm9vbWxvZy1zbHQ+", "é".repeat(16),
    ["cm9vbWxvZy1zbHQw"],
  ];
  const [right] = COMMITMENTS;
  const commitments = [...anyForm, right.slice(2), `${right}00`, right.toUpperCase(), "g".repeat(64), [right]];
  /** @type {any[]} */
  const bad = [
    ...salts.map(salt => ({ ...entry, salt })),
    ...commitments.map(commitment => ({ ...gone, commitment })),
    { ...entry, redacted: true },
    { ...entry, salt: undefined, commitment: right },
  ];
  const digests = new Set(DIGESTS);
  for (const it of bad) {
    for (const digest of [after(START, it), after(START, it)]) {
      assert.match(digest, /^[0-9a-f]{64}$/);
      assert.ok(!digests.has(digest), `the digest of ${JSON.stringify(it)} is one of the others`);
      digests.add(digest);
    }
  }
});
