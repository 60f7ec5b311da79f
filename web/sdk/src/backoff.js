// How long to wait before the next try, and after which refusals there is one.
//
// Enters: random numbers from 0 to 1. Leaves: ms. Invariants: two clients that lost one server at once do
// not come back at once; nobody waits for a server longer than LONGEST_MS; nobody comes back before the
// time that a server named.

/** The wait before the first try after a loss, before jitter. */
const FIRST_MS = 100;
/** The longest wait between two tries. */
export const LONGEST_MS = 5_000;

/** How long to wait after a refusal that names no time. */
const RETRY_MS = 500;

/** Refusals after which the same thing is asked for again, later. */
const TRANSIENT = new Set(["rate_limited", "busy", "unavailable", "storage_full", "ahead"]);

/** Whether what was refused may be taken later. @param {import("./types.js").ErrorFrame} error */
export function isTransient(error) {
  return TRANSIENT.has(error.code);
}

/**
 * How long to wait after a refusal, in ms.
 * @param {import("./types.js").ErrorFrame} error
 * @param {number} unit
 */
export function retryIn(error, unit) {
  return stretched(error.retry_after_ms ?? RETRY_MS, unit);
}

/**
 * A wait up to half longer, never shorter.
 * @param {number} ms
 * @param {number} unit
 */
export function stretched(ms, unit) {
  return ms * (1 + unit / 2);
}

export class Backoff {
  #tries = 0;

  /** The wait before the next try: between half of this try's step and all of it. @param {number} unit */
  next(unit) {
    const step = Math.min(FIRST_MS * 2 ** this.#tries, LONGEST_MS);
    this.#tries = Math.min(this.#tries + 1, 16);
    return step * (0.5 + unit / 2);
  }

  /** A try succeeded. */
  reset() {
    this.#tries = 0;
  }
}
