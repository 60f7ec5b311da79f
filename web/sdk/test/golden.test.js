// Plays the golden transcripts in /golden, as the Rust client does (crates/client/tests/golden.rs).

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { Outbox } from "../src/outbox.js";
import { Timeline } from "../src/timeline.js";

const golden = new URL("../../../golden/", import.meta.url);

/** @param {string} kind @param {(script: any) => void} play */
function each(kind, play) {
  const folder = new URL(`${kind}/`, golden), files = readdirSync(folder);
  assert.ok(files.length > 0);
  for (const file of files) {
    const script = JSON.parse(readFileSync(new URL(file, folder), "utf8"));
    test(`${kind}: ${script.what}`, () => play(script));
  }
}

const LIMITS = {
  body_bytes: 16_384, author_bytes: 64, meta_bytes: 4_096, frame_bytes: 131_072, page_entries: 500, append_ms: 30_000, appends_in_flight: 256,
};

each("outbox", ({ steps, what: _, ...limits }) => {
  const outbox = new Outbox();
  outbox.connected("log-1");
  for (const { at = 0, ...step } of steps) {
    if (step.push) outbox.push(step.push);
    else if (step.sends) {
      const sent = [];
      for (let frame; (frame = outbox.nextFrame(at, { ...LIMITS, ...limits }));) sent.push(frame);
      assert.deepEqual(sent, step.sends);
    } else if (step.frame?.type === "appended") assert.equal(outbox.appended(step.frame), null);
    else if (step.frame) assert.equal(outbox.refused(step.frame, at, 0), null);
    else if (step.lost) outbox.disconnected();
    else if (step.new_log) {
      outbox.disconnected();
      outbox.connected("log-2");
    }
    else if (step.settled) {
      const settled = [];
      for (let outcome; (outcome = outbox.nextSettled());) {
        const { id } = outcome.append;
        settled.push("error" in outcome ? { id, error: outcome.error.code } : { id, slot: outcome.appended.slot });
      }
      assert.deepEqual(settled, step.settled);
    } else assert.fail(`no such step: ${JSON.stringify(step)}`);
  }
});

each("timeline", ({ room, count, steps }) => {
  const timeline = new Timeline(room, count);
  for (const step of steps) {
    if (step.asks) {
      assert.deepEqual(timeline.join(), step.asks);
      continue;
    }
    const seen = step.joined ? timeline.joined(step.joined)
      : step.page ? timeline.page(step.page) : timeline.ack(step.ack.entries);
    assert.equal(seen.diverged ?? false, step.diverged ?? false);
    if (step.diverged) continue;
    assert.deepEqual(seen.entries.map(entry => entry.slot), step.takes);
    assert.equal(seen.missing ?? false, step.missing ?? false);
  }
});
