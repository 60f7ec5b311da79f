export type Entry = import("./types.js").Entry;
export type Folded = {
    /**
     * as it is in the log
     */
    entry: Entry;
    /**
     * after the author's latest edit; empty when the entry is gone
     */
    body: string;
    edited: boolean;
    /**
     * it was redacted
     */
    gone: boolean;
    /**
     * by emoji, as `emojiOf` writes it, the authors it stands for
     */
    reactions: Map<string, string[]>;
};
/**
 * Whether an entry is a line of its own. Edits, reactions and redactions are not, unless they refer to nothing.
 * @param {Entry} entry
 */
export declare function isLine(entry: Entry): boolean;
/**
 * An emoji in one spelling, so that equal ones can be counted and looked up. Keyboards differ in whether they add the
 * invisible U+FE0F: "❤" and "❤️" are one reaction. The result has it where Unicode's fully-qualified form does.
 * @param {string} text
 */
export declare function emojiOf(text: string): string;
/**
 * Folds the entries of one room.
 *
 * ```js
 * const fold = new Fold();
 * room.on("entries", entries => {
 *   for (const slot of fold.take(entries)) redraw(slot);
 *   for (const entry of entries) if (isLine(entry)) draw(fold.of(entry));
 * });
 * room.on("reset", () => fold.clear());
 * ```
 */
export declare class Fold {
    #private;
    /**
     * Takes entries: those of `entries` events, and those that `before`, `around` and `behind` read.
     * @param {Entry[]} entries
     * @returns {Set<number>} slots whose entry is to be shown again
     */
    take(entries: Entry[]): Set<number>;
    /** An entry as it stands now. @param {Entry} entry @returns {Folded} */
    of(entry: Entry): Folded;
    /** Forgets everything: after a `reset` of the room. */
    clear(): void;
}
