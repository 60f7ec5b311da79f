// How long to wait before the next try.
//
// Enters: random numbers from 0 to 1. Leaves: ms. Invariant: two clients that lost one server at once do
// not come back at once, and nobody waits longer than LONGEST_MS.

/** The wait before the first try after a loss, before jitter. */
const FIRST_MS = 100;
/** The longest wait between two tries. */
export const LONGEST_MS = 5_000;

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
