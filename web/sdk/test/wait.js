// Waiting in tests. What a test asserts may come a frame, a network answer or another process later than what it has
// waited for before, so a test never reads such a thing once.

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { inspect, isDeepStrictEqual } from "node:util";

/** How long to wait, in ms. Only a failing test waits this long: it is generous because a loaded machine is slow. */
export const PATIENCE_MS = 60_000;

/**
 * Waits until `read` returns what is expected, and fails with both if it does not.
 * @template T
 * @param {() => T | Promise<T>} read
 * @param {T | ((actual: T) => boolean)} expected the value, or a test of it
 * @param {string} [message]
 */
export async function eventually(read, expected, message) {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const actual = await read();
    const fits = typeof expected === "function" ? /** @type {(actual: T) => boolean} */ (expected)(actual) : isDeepStrictEqual(actual, expected);
    if (fits) return;
    if (performance.now() > end) {
      if (typeof expected !== "function") assert.deepEqual(actual, expected, message);
      assert.fail(`${message ?? expected}: not within ${PATIENCE_MS} ms; it is ${inspect(actual)}`);
    }
    await delay(20);
  }
}

/** Waits until a condition holds. @param {() => unknown} holds */
export async function until(holds) {
  await eventually(async () => Boolean(await holds()), true, String(holds));
}
