// Applies edits, reactions and redactions, which are entries of their own, to the entries that they refer to.
//
// In: entries in any order. Out: an entry in its current form, and the slots whose form has changed. Invariant: the result
// depends only on the set of entries taken, not on their order or on duplicates; a text that was redacted is not kept.

/** @typedef {import("./types.js").Entry} Entry */

/**
 * An entry in its current form.
 * @typedef {object} Folded
 * @property {Entry} entry as it is in the log
 * @property {string} body after the author's latest edit; empty if redacted
 * @property {boolean} edited whether the author has edited it
 * @property {number[]} edits the slots of these edits; whoever redacts the entry has to redact them, too
 * @property {boolean} gone whether it was redacted
 * @property {Map<string, string[]>} reactions the authors of each reaction, by emoji in the spelling of `emojiOf`
 */

/** An edit or a reaction. @typedef {{slot: number, author: string, kind?: string, body: string}} About */

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
  /** The edits and reactions of a slot that are not redacted, in slot order. @type {Map<number, About[]>} */
  #about = new Map();
  /** What the edits, reactions and redactions refer to: a slot, by their own. @type {Map<number, number>} */
  #refs = new Map();
  /** The slots of redacted entries. @type {Set<number>} */
  #gone = new Set();

  /**
   * Takes entries: those of `entries` events and those returned by `before`, `around` and `behind`.
   * @param {Entry[]} entries
   * @returns {Set<number>} slots of earlier entries that have changed
   */
  take(entries) {
    const changed = new Set();
    for (const entry of entries) {
      if (entry.redacted) this.#remove(entry.slot, changed);
      if (isLine(entry) || this.#refs.has(entry.slot)) continue;
      const ref = /** @type {number} */ (entry.ref);
      this.#refs.set(entry.slot, ref);
      changed.add(ref);
      if (entry.kind === "redact") this.#remove(ref, changed);
      else if (!this.#gone.has(entry.slot)) this.#add(ref, entry);
    }
    return changed;
  }

  /** Returns an entry in its current form. @param {Entry} entry @returns {Folded} */
  of(entry) {
    const about = this.#about.get(entry.slot) ?? [], gone = entry.redacted || this.#gone.has(entry.slot);
    const edits = about.filter(it => it.kind === "edit" && it.author === entry.author);
    /** @type {Map<string, string>} */
    const reactions = new Map();
    for (const it of about) if (it.kind === "reaction") react(reactions, it.author, emojiOf(it.body));
    const body = gone ? "" : edits.at(-1)?.body ?? entry.body ?? "", slots = edits.map(it => it.slot);
    return { entry, body, edited: edits.length > 0, edits: slots, gone, reactions: byEmoji(reactions) };
  }

  /** Drops everything. Call it after a `reset` of the room. */
  clear() {
    for (const all of [this.#about, this.#refs, this.#gone]) all.clear();
  }

  /** Adds an edit or a reaction. @param {number} ref @param {Entry} entry */
  #add(ref, { slot, author, kind, body = "" }) {
    const about = this.#about.get(ref) ?? [], at = about.findIndex(it => it.slot > slot);
    about.splice(at < 0 ? about.length : at, 0, { slot, author, kind, body });
    this.#about.set(ref, about);
    if (this.#gone.has(ref)) forgetTexts(about);
  }

  /**
   * An entry was redacted; the server accepts that only from its author or an admin. If it is an edit or a reaction,
   * what it refers to is as it was without it.
   * @param {number} slot
   * @param {Set<number>} changed
   */
  #remove(slot, changed) {
    this.#gone.add(slot);
    forgetTexts(this.#about.get(slot) ?? []);
    const ref = this.#refs.get(slot), about = ref === undefined ? undefined : this.#about.get(ref);
    const at = about?.findIndex(it => it.slot === slot) ?? -1;
    if (ref === undefined || !about || at < 0) return;
    about.splice(at, 1);
    changed.add(ref);
  }
}

/** Drops the texts of edits; their slots stay. @param {About[]} about */
function forgetTexts(about) {
  for (const it of about) if (it.kind === "edit") it.body = "";
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
