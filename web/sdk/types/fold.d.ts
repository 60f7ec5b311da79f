export type Entry = import("./types.js").Entry;
export type Removal = import("./timeline.js").Removal;
export type Folded = {
    /**
     * as it is in the log
     */
    entry: Entry;
    /**
     * after the author's latest edit; empty if it was removed
     */
    body: string;
    /**
     * whether the author has edited it
     */
    edited: boolean;
    /**
     * the slots of these edits; whoever redacts the entry has to redact them, too
     */
    edits: number[];
    /**
     * whether its text was removed, by a redact or an erase entry
     */
    gone: boolean;
    /**
     * the authors of each reaction, by emoji in the spelling of `emojiOf`
     */
    reactions: Map<string, string[]>;
};
export type About = {
    slot: number;
    author: string;
    kind?: string;
    body: string;
};
/**
 * Whether an entry is shown as a line of its own: everything but edits, reactions, redactions and erasures with a `ref`.
 * @param {Entry} entry
 */
export declare function isLine(entry: Entry): boolean;
/**
 * Normalizes an emoji, so that equal reactions can be counted and looked up. Keyboards differ in whether they add the
 * invisible U+FE0F: "❤" and "❤️" are one reaction. The result is Unicode's fully-qualified form.
 * @param {string} text
 */
export declare function emojiOf(text: string): string;
/**
 * The edits, reactions, redactions and erasures of one room.
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
     * Takes entries: those of `entries` events and those returned by `before`, `around` and `behind`.
     * @param {Entry[]} entries
     * @returns {Set<number>} slots of earlier entries that have changed
     */
    take(entries: Entry[]): Set<number>;
    /** Returns an entry in its current form. @param {Entry} entry @returns {Folded} */
    of(entry: Entry): Folded;
    /** Drops everything. Call it after a `reset` of the room. */
    clear(): void;
}
