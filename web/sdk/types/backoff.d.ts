/** The longest wait between two tries. */
export declare const LONGEST_MS = 5000;
/** Whether what was refused may be taken later. @param {import("./types.js").ErrorFrame} error */
export declare function isTransient(error: import("./types.js").ErrorFrame): boolean;
/**
 * How long to wait after a refusal, in ms.
 * @param {import("./types.js").ErrorFrame} error
 * @param {number} unit
 */
export declare function retryIn(error: import("./types.js").ErrorFrame, unit: number): number;
/**
 * A wait up to half longer, never shorter.
 * @param {number} ms
 * @param {number} unit
 */
export declare function stretched(ms: number, unit: number): number;
export declare class Backoff {
    #private;
    /** The wait before the next try: between half of this try's step and all of it. @param {number} unit */
    next(unit: number): number;
    /** A try succeeded. */
    reset(): void;
}
