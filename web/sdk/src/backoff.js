// Delays before reconnects and retries, and which errors are retried.
//
// In: random numbers from 0 to 1. Out: milliseconds. Invariants: clients that lose a server at the same time do not
// reconnect at the same time; no reconnect waits longer than MAX_DELAY_MS; no retry comes before the time that the server
// asked for.

/** The delay before the first reconnect, before jitter, in ms. */
const FIRST_MS = 100;
/** The longest delay between two connection attempts, in ms. */
export const MAX_DELAY_MS = 5_000;

/** The delay after an error without `retry_after_ms`, in ms. */
const RETRY_MS = 500;

/** Error codes after which the same request is retried. */
const TRANSIENT = new Set(["rate_limited", "busy", "unavailable", "storage_full", "ahead"]);

/** Whether a retry may succeed. @param {import("./types.js").ErrorFrame} error */
export function isTransient(error) {
  return TRANSIENT.has(error.code);
}

/**
 * The delay before a retry, in ms.
 * @param {import("./types.js").ErrorFrame} error
 * @param {number} random from 0 to 1
 */
export function retryDelay(error, random) {
  return withJitter(error.retry_after_ms ?? RETRY_MS, random);
}

/**
 * Lengthens a delay by up to half; never shortens it.
 * @param {number} ms
 * @param {number} random from 0 to 1
 */
export function withJitter(ms, random) {
  return ms * (1 + random / 2);
}

export class Backoff {
  #attempts = 0;

  /** The delay before the next attempt, in ms: 50–100% of the current step, which doubles. @param {number} random from 0 to 1 */
  next(random) {
    const step = Math.min(FIRST_MS * 2 ** this.#attempts, MAX_DELAY_MS);
    this.#attempts = Math.min(this.#attempts + 1, 16);
    return step * (0.5 + random / 2);
  }

  /** Starts again at the first delay, after an attempt that succeeded. */
  reset() {
    this.#attempts = 0;
  }
}
