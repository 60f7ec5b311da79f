// What is to be shown of entries: edits, reactions and redactions belong to the entry that they are about.
//
// Enters: entries in any order, each once. Leaves: what to show at a slot, and which slots that changes.
// Invariant: what is shown of a slot follows from the entries that were taken, not from their order.

/** @typedef {import("../sdk/src/types.js").Entry} Entry */

/**
 * @typedef {object} Shown
 * @property {Entry} entry
 * @property {string} body as it stands
 * @property {boolean} edited
 * @property {boolean} gone it was redacted
 * @property {Map<string, string[]>} reactions authors by emoji
 */

/** Kinds that are no line of their own. */
const ABOUT = new Set(["reaction", "edit", "redact"]);

/** Whether an entry is a line of its own. @param {Entry} entry */
export function isLine(entry) {
  return !ABOUT.has(entry.kind ?? "text") || entry.ref === undefined;
}

export class Shower {
  /** What entries are about a slot, ascending. @type {Map<number, Entry[]>} */
  #about = new Map();

  /**
   * Takes entries.
   * @param {Entry[]} entries
   * @returns {Set<number>} slots of which something else is to be shown now
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

  /** What to show of an entry. @param {Entry} entry @returns {Shown} */
  of(entry) {
    let body = entry.body ?? "", edited = false, gone = entry.redacted ?? false;
    /** @type {Map<string, string>} */
    const reactions = new Map();
    for (const about of this.#about.get(entry.slot) ?? []) {
      const isAuthors = about.author === entry.author;
      if (about.kind === "edit" && isAuthors) [body, edited] = [about.body ?? "", true];
      // From another author it is an admin's: the server takes it from nobody else.
      else if (about.kind === "redact") gone = true;
      else if (about.kind === "reaction" && about.body) reactions.set(about.author, about.body);
      else if (about.kind === "reaction") reactions.delete(about.author);
    }
    return { entry, body: gone ? "" : body, edited, gone, reactions: byEmoji(reactions) };
  }

  /** Forgets all. */
  clear() {
    this.#about.clear();
  }
}

/** @param {Map<string, string>} reactions emoji by author @returns {Map<string, string[]>} */
function byEmoji(reactions) {
  const emoji = new Map();
  for (const [author, sign] of reactions) emoji.set(sign, [...emoji.get(sign) ?? [], author]);
  return emoji;
}
