/** The longest delay between two connection attempts, in ms. */
export declare const MAX_DELAY_MS = 5000;
/** Whether a retry may succeed. @param {import("./types.js").ErrorFrame} error */
export declare function isTransient(error: import("./types.js").ErrorFrame): boolean;
/**
 * The delay before a retry, in ms.
 * @param {import("./types.js").ErrorFrame} error
 * @param {number} random from 0 to 1
 */
export declare function retryDelay(error: import("./types.js").ErrorFrame, random: number): number;
/**
 * Lengthens a delay by up to half; never shortens it.
 * @param {number} ms
 * @param {number} random from 0 to 1
 */
export declare function withJitter(ms: number, random: number): number;
export declare class Backoff {
    #private;
    /** The delay before the next attempt, in ms: 50–100% of the current step, which doubles. @param {number} random from 0 to 1 */
    next(random: number): number;
    /** Starts again at the first delay, after an attempt that succeeded. */
    reset(): void;
}
