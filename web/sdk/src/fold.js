// Applies edits, reactions and redactions, which are entries of their own, to the entries that they refer to.
//
// In: entries in any order. Out: an entry in its current form, and the slots whose form has changed. Invariant: the result
// depends only on the set of entries taken, not on their order or on duplicates.

/** @typedef {import("./types.js").Entry} Entry */

/**
 * An entry in its current form.
 * @typedef {object} Folded
 * @property {Entry} entry as it is in the log
 * @property {string} body after the author's latest edit; empty if redacted
 * @property {boolean} edited whether the author has edited it
 * @property {boolean} gone whether it was redacted
 * @property {Map<string, string[]>} reactions the authors of each reaction, by emoji in the spelling of `emojiOf`
 */

/** Kinds that change another entry. */
const ABOUT = new Set(["reaction", "edit", "redact"]);

/**
 * Whether an entry is shown as a line of its own: everything but edits, reactions and redactions with a `ref`.
 * @param {Entry} entry
 */
export function isLine(entry) {
  return !ABOUT.has(entry.kind ?? "text") || entry.ref == null;
}

/**
 * Normalizes an emoji, so that equal reactions can be counted and looked up. Keyboards differ in whether they add the
 * invisible U+FE0F: "❤" and "❤️" are one reaction. The result is Unicode's fully-qualified form.
 * @param {string} text
 */
export function emojiOf(text) {
  return text.replace(/[\ufe0e\ufe0f]/g, "")
    // Digits, "#" and "*" are emoji only in keycaps; an emoji with a skin tone has no U+FE0F.
    .replace(/(?![0-9#*](?!\u20e3))(?!\p{Emoji_Presentation})\p{Emoji}(?!\p{Emoji_Modifier})/gu, "$&\ufe0f");
}

/**
 * The edits, reactions and redactions of one room.
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
  /** The entries that refer to a slot, in slot order. @type {Map<number, Entry[]>} */
  #about = new Map();

  /**
   * Takes entries: those of `entries` events and those returned by `before`, `around` and `behind`.
   * @param {Entry[]} entries
   * @returns {Set<number>} slots of earlier entries that have changed
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

  /** Returns an entry in its current form. @param {Entry} entry @returns {Folded} */
  of(entry) {
    let body = entry.body ?? "", edited = false, gone = entry.redacted ?? false;
    /** @type {Map<string, string>} */
    const reactions = new Map();
    for (const about of this.#about.get(entry.slot) ?? []) {
      const isAuthors = about.author === entry.author;
      if (about.kind === "edit" && isAuthors) [body, edited] = [about.body ?? "", true];
      // The server accepts a redaction only from the author or an admin.
      else if (about.kind === "redact") gone = true;
      else if (about.kind === "reaction") react(reactions, about.author, emojiOf(about.body ?? ""));
    }
    return { entry, body: gone ? "" : body, edited, gone, reactions: byEmoji(reactions) };
  }

  /** Drops everything. Call it after a `reset` of the room. */
  clear() {
    this.#about.clear();
  }
}

/** A reaction replaces the author's previous one; an empty one removes it. @param {Map<string, string>} reactions @param {string} author @param {string} emoji */
function react(reactions, author, emoji) {
  if (emoji) reactions.set(author, emoji);
  else reactions.delete(author);
}

/** @param {Map<string, string>} reactions emoji by author @returns {Map<string, string[]>} */
function byEmoji(reactions) {
  const authors = new Map();
  for (const [author, emoji] of reactions) authors.set(emoji, [...authors.get(emoji) ?? [], author]);
  return authors;
}
