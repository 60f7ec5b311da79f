// Folding: edits, reactions and redactions are entries of their own, and belong to the entry they refer to.
//
// Enters: entries in any order. Leaves: an entry as it stands now, and the slots whose entry looks different
// since. Invariant: the result follows from the entries that were taken, never from their order or from how
// often they came.

/** @typedef {import("./types.js").Entry} Entry */

/**
 * An entry as it stands now.
 * @typedef {object} Folded
 * @property {Entry} entry as it is in the log
 * @property {string} body after the author's latest edit; empty when the entry is gone
 * @property {boolean} edited
 * @property {boolean} gone it was redacted
 * @property {Map<string, string[]>} reactions by emoji, as `emojiOf` writes it, the authors it stands for
 */

/** Kinds that change another entry instead of standing for themselves. */
const ABOUT = new Set(["reaction", "edit", "redact"]);

/**
 * Whether an entry is a line of its own. Edits, reactions and redactions are not, unless they refer to nothing.
 * @param {Entry} entry
 */
export function isLine(entry) {
  return !ABOUT.has(entry.kind ?? "text") || entry.ref == null;
}

/**
 * An emoji in one spelling, so that equal ones can be counted and looked up. Keyboards differ in whether they add the
 * invisible U+FE0F: "❤" and "❤️" are one reaction. The result has it where Unicode's fully-qualified form does.
 * @param {string} text
 */
export function emojiOf(text) {
  return text.replace(/[\ufe0e\ufe0f]/g, "")
    // Digits, "#" and "*" are emoji only as keycaps; what has a skin tone takes no U+FE0F.
    .replace(/(?![0-9#*](?!\u20e3))(?!\p{Emoji_Presentation})\p{Emoji}(?!\p{Emoji_Modifier})/gu, "$&\ufe0f");
}

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
export class Fold {
  /** By slot, the entries that refer to it, ascending. @type {Map<number, Entry[]>} */
  #about = new Map();

  /**
   * Takes entries: those of `entries` events, and those that `before`, `around` and `behind` read.
   * @param {Entry[]} entries
   * @returns {Set<number>} slots whose entry is to be shown again
   */
  take(entries) {
    const changed = new Set();
    for (const entry of entries) {
      if (isLine(entry)) continue;
      const ref = /** @type {number} */ (entry.ref), about = this.#about.get(ref) ?? [];
      if (about.some(it => it.slot === entry.slot)) continue;
      const at = about.findIndex(it => it.slot > entry.slot);
      about.splice(at < 0 ? about.length : at, 0, entry);
      this.#about.set(ref, about);
      changed.add(ref);
    }
    return changed;
  }

  /** An entry as it stands now. @param {Entry} entry @returns {Folded} */
  of(entry) {
    let body = entry.body ?? "", edited = false, gone = entry.redacted ?? false;
    /** @type {Map<string, string>} */
    const reactions = new Map();
    for (const about of this.#about.get(entry.slot) ?? []) {
      const isAuthors = about.author === entry.author;
      if (about.kind === "edit" && isAuthors) [body, edited] = [about.body ?? "", true];
      // From another author it is an admin's: the server takes it from nobody else.
      else if (about.kind === "redact") gone = true;
      else if (about.kind === "reaction") stand(reactions, about.author, emojiOf(about.body ?? ""));
    }
    return { entry, body: gone ? "" : body, edited, gone, reactions: byEmoji(reactions) };
  }

  /** Forgets everything: after a `reset` of the room. */
  clear() {
    this.#about.clear();
  }
}

/** An author's later reaction replaces the earlier one; an empty one takes it back. @param {Map<string, string>} reactions @param {string} author @param {string} emoji */
function stand(reactions, author, emoji) {
  if (emoji) reactions.set(author, emoji);
  else reactions.delete(author);
}

/** @param {Map<string, string>} reactions emoji by author @returns {Map<string, string[]>} */
function byEmoji(reactions) {
  const authors = new Map();
  for (const [author, emoji] of reactions) authors.set(emoji, [...authors.get(emoji) ?? [], author]);
  return authors;
}
