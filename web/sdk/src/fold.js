// Applies edits, reactions, redactions and erasures, which are entries of their own, to the entries that they are about.
//
// In: entries in any order. Out: an entry in its current form, and the slots whose form has changed. Invariant: the result
// depends only on the set of entries taken, not on their order or on duplicates; a text that was removed is not kept.

import { Removals, indexFrom, removalOf } from "./timeline.js";

/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./timeline.js").Removal} Removal */

/**
 * An entry in its current form.
 * @typedef {object} Folded
 * @property {Entry} entry as it is in the log
 * @property {string} body after the author's latest edit; empty if it was removed
 * @property {boolean} edited whether the author has edited it
 * @property {number[]} edits the slots of these edits; whoever redacts the entry has to redact them, too
 * @property {boolean} gone whether its text was removed, by a redact or an erase entry
 * @property {Map<string, string[]>} reactions the authors of each reaction, by emoji in the spelling of `emojiOf`
 */

/** An edit or a reaction. @typedef {{slot: number, author: string, kind?: string, body: string}} About */

/** Kinds that change other entries. */
const ABOUT = new Set(["reaction", "edit", "redact", "erase"]);

/**
 * Whether an entry is shown as a line of its own: everything but edits, reactions, redactions and erasures with a `ref`.
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
export class Fold {
  /** The edits and reactions of a slot that are not removed, in slot order. @type {Map<number, About[]>} */
  #about = new Map();
  /** What the edits, reactions and redactions refer to: a slot, by their own. @type {Map<number, number>} */
  #refs = new Map();
  /** The slots of the lines of each author, ascending: an erase entry does not name them. @type {Map<string, number[]>} */
  #lines = new Map();
  #removals = new Removals();

  /**
   * Takes entries: those of `entries` events and those returned by `before`, `around` and `behind`.
   * @param {Entry[]} entries
   * @returns {Set<number>} slots of earlier entries that have changed
   */
  take(entries) {
    const changed = new Set();
    for (const entry of entries) {
      const removal = removalOf(entry);
      if (removal) this.#remove(removal, changed);
      if (isLine(entry)) this.#addLine(entry);
      else if (entry.kind === "erase") this.#addErased(/** @type {Removal} */ (removal), changed);
      else if (!this.#refs.has(entry.slot)) {
        const ref = /** @type {number} */ (entry.ref);
        this.#refs.set(entry.slot, ref);
        changed.add(ref);
        if (!removal && !this.#removals.covers(entry)) this.#add(ref, entry);
      }
    }
    return changed;
  }

  /** Returns an entry in its current form. @param {Entry} entry @returns {Folded} */
  of(entry) {
    const about = this.#about.get(entry.slot) ?? [], gone = entry.redacted || this.#removals.covers(entry);
    const edits = about.filter(it => it.kind === "edit" && it.author === entry.author);
    /** @type {Map<string, string>} */
    const reactions = new Map();
    for (const it of about) if (it.kind === "reaction") react(reactions, it.author, emojiOf(it.body));
    const body = gone ? "" : edits.at(-1)?.body ?? entry.body ?? "", slots = edits.map(it => it.slot);
    return { entry, body, edited: edits.length > 0, edits: slots, gone, reactions: byEmoji(reactions) };
  }

  /** Drops everything. Call it after a `reset` of the room. */
  clear() {
    for (const all of [this.#about, this.#refs, this.#lines, this.#removals]) all.clear();
  }

  /** Adds an edit or a reaction. @param {number} ref @param {Entry} entry */
  #add(ref, { slot, author, kind, body = "" }) {
    const about = this.#about.get(ref) ?? [], at = about.findIndex(it => it.slot > slot);
    about.splice(at < 0 ? about.length : at, 0, { slot, author, kind, body });
    this.#about.set(ref, about);
    this.#forgetTexts(ref);
  }

  /** @param {Entry} entry */
  #addLine({ slot, author }) {
    const slots = this.#lines.get(author) ?? [], at = indexFrom(slots, it => it < slot);
    if (slots[at] !== slot) slots.splice(at, 0, slot);
    this.#lines.set(author, slots);
  }

  /** Adds the lines that an erase entry covers. @param {Removal} removal @param {Set<number>} changed */
  #addErased({ first, last, author }, changed) {
    for (const slots of author === null ? this.#lines.values() : [this.#lines.get(author) ?? []]) {
      for (let at = indexFrom(slots, it => it < first); slots[at] <= last; at++) changed.add(slots[at]);
    }
  }

  /**
   * Texts were removed; the server accepts that only from their authors or an admin. What a removed edit or reaction refers
   * to is as it was without it.
   * @param {Removal} removal
   * @param {Set<number>} changed
   */
  #remove(removal, changed) {
    this.#removals.add(removal);
    for (const slot of keysIn(this.#about, removal)) this.#forgetTexts(slot);
    for (const slot of keysIn(this.#refs, removal)) {
      const ref = /** @type {number} */ (this.#refs.get(slot)), about = this.#about.get(ref) ?? [];
      const at = about.findIndex(it => it.slot === slot);
      if (at < 0 || !this.#removals.covers(about[at])) continue;
      about.splice(at, 1);
      changed.add(ref);
    }
  }

  /** Drops the texts of the edits of a slot, if its own was removed; their slots stay. @param {number} slot */
  #forgetTexts(slot) {
    for (const it of this.#about.get(slot) ?? []) {
      // Only edits of the slot's own author count.
      if (it.kind === "edit" && this.#removals.covers({ slot, author: it.author })) it.body = "";
    }
  }
}

/**
 * The keys of a map that are slots of a removal. Looks at these slots or at the keys, whichever are fewer: the slots may be
 * thousands, with hardly one in the map.
 * @param {Map<number, unknown>} map
 * @param {Removal} removal
 */
function keysIn(map, { first, last }) {
  if (last - first >= map.size) return [...map.keys()].filter(slot => first <= slot && slot <= last);
  return Array.from({ length: last + 1 - first }, (_, at) => first + at).filter(slot => map.has(slot));
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
