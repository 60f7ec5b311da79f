// The list items of a window of slots.
//
// In: the slots to show. Out: list items in slot order: days, the "New" mark, lines. Invariants: the window is consecutive
// slots; a line's day and author depend on the line before it, so the first line always has both; there are at most
// MAX_LINES lines after a trim.

import { isLine } from "../sdk/src/index.js";
import { make } from "./dom.js";
import { addTools, isHead, lineOf } from "./line.js";
import { dateOf, dayOf, timeOf } from "./time.js";

/** The limit of lines in the page: a few screens on either side of the view. */
const MAX_LINES = 300;

/** @typedef {import("../sdk/src/types.js").Entry} Entry */

export class Lines {
  /** The window; empty: last < first. */
  first = 0;
  last = -1;
  /** The line whose buttons and links are in the tab order. @type {HTMLElement | null} */
  #active = null;

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} scroller
   * @param {{
   *   entry: (slot: number) => Entry | undefined,
   *   shown: (slot: number) => import("../sdk/src/fold.js").Folded | null,
   *   beginsNew: (slot: number) => boolean,
   *   actions: import("./line.js").Actions,
   * }} source
   */
  constructor(list, scroller, source) {
    this.list = list;
    this.scroller = scroller;
    this.source = source;
    list.replaceChildren();
  }

  get isEmpty() { return this.last < this.first; }

  clear() {
    this.#remove(() => this.list.replaceChildren());
    [this.first, this.last] = [0, -1];
  }

  /** Replaces the window. @param {number} first @param {number} last */
  show(first, last) {
    this.clear();
    [this.first, this.last] = [first, first - 1];
    this.append(last);
  }

  /** @param {number} last */
  append(last) {
    const items = document.createDocumentFragment();
    for (let slot = this.last + 1; slot <= last; slot++) items.append(...this.#items(slot));
    this.last = Math.max(this.last, last);
    this.list.append(items);
  }

  /** @param {number} first */
  prepend(first) {
    const items = document.createDocumentFragment(), was = this.first;
    this.first = first;
    for (let slot = first; slot < was; slot++) items.append(...this.#items(slot));
    this.list.prepend(items);
    // The line that was first has another one before it now.
    for (let slot = was; slot <= this.last; slot++) if (this.line(slot)) return this.redraw(slot);
  }

  trimTop() {
    const lines = this.all();
    if (lines.length <= MAX_LINES) return;
    const slot = slotOf(lines[lines.length - MAX_LINES]);
    this.#remove(() => {
      for (let item; (item = this.list.firstElementChild) && slotOf(item) < slot;) item.remove();
    });
    this.first = slot;
    this.redraw(slot);
  }

  /** Returns whether it removed something. */
  trimBottom() {
    const lines = this.all();
    if (lines.length <= MAX_LINES) return false;
    const slot = slotOf(lines[MAX_LINES - 1]);
    this.#remove(() => {
      for (let item; (item = this.list.lastElementChild) && slotOf(item) > slot;) item.remove();
    });
    this.last = slot;
    return true;
  }

  /** Removes lines. If one of them has the focus, the timeline gets it, so that the keys still work. @param {() => void} remove */
  #remove(remove) {
    const hadFocus = this.list.contains(document.activeElement);
    remove();
    if (hadFocus && !this.list.contains(document.activeElement)) this.scroller.focus({ preventScroll: true });
  }

  /** Changes the list without moving the visible lines. @param {() => void} change */
  keepPlace(change) {
    const top = this.scroller.getBoundingClientRect().top;
    const seen = this.all().find(line => line.getBoundingClientRect().bottom > top);
    const before = seen?.getBoundingClientRect().top ?? 0;
    change();
    // The change may have replaced the element of the line.
    const now = seen && this.line(slotOf(seen));
    if (now) this.scroller.scrollTop += now.getBoundingClientRect().top - before;
  }

  /** Draws a slot again, if it is in the window. @param {number} slot */
  redraw(slot) {
    const line = this.line(slot);
    if (!line) return;
    const focused = line.contains(document.activeElement);
    const belongs = (/** @type {Element | null} */ item) => item instanceof HTMLElement && Number(item.dataset.of) === slot;
    while (belongs(line.previousElementSibling)) line.previousElementSibling?.remove();
    line.replaceWith(...this.#items(slot));
    if (focused) this.line(slot)?.focus({ preventScroll: true });
  }

  /** Draws slots and the lines that quote them again. An erasure changes thousands, so it goes by the lines. @param {Set<number>} slots */
  redrawWithQuotes(slots) {
    if (slots.size === 0) return;
    for (const line of this.all()) {
      if (slots.has(slotOf(line)) || slots.has(Number(line.dataset.ref))) this.redraw(slotOf(line));
    }
  }

  /** @param {number} slot @returns {HTMLElement | null} */
  line(slot) {
    return document.getElementById(`slot-${slot}`);
  }

  /** @returns {HTMLElement[]} */
  all() {
    return [...this.list.querySelectorAll(/** @type {"li"} */ (":scope > .entry"))];
  }

  /**
   * Adds the buttons of the line that the pointer or the focus has entered. Only the links and buttons of the line with the
   * focus are in the tab order: with those of all lines, Tab would hardly leave the timeline.
   * @param {Event} event
   */
  enter({ target, type }) {
    const line = /** @type {HTMLElement | null} */ (/** @type {Element} */ (target).closest(".entry"));
    const shown = line && this.source.shown(slotOf(line));
    if (!shown) return;
    addTools(line, shown, this.source.actions);
    if (type !== "focusin" || line === this.#active) return;
    if (this.#active) tabbable(this.#active, -1);
    tabbable(line, 0);
    this.#active = line;
  }

  /** Moves the focus by lines, from the focused one, or else to the last one in view. @param {number} by */
  moveFocus(by) {
    const lines = this.all(), { top, bottom } = this.scroller.getBoundingClientRect();
    const isVisible = (/** @type {HTMLElement | undefined} */ line) => {
      const box = line?.getBoundingClientRect();
      return box && box.bottom > top && box.top < bottom;
    };
    const at = lines.indexOf(/** @type {any} */ (document.activeElement?.closest?.(".entry")));
    const next = isVisible(lines[at]) ? lines[at + by] : lines.findLast(isVisible);
    next?.focus({ preventScroll: true });
    next?.scrollIntoView({ block: "nearest" });
    return Boolean(next);
  }

  /** The entry of the last line in the window. */
  get lastLine() { return this.#before(this.last + 1); }

  /** The list items of a slot. @param {number} slot @returns {HTMLElement[]} */
  #items(slot) {
    const { source } = this, entry = source.entry(slot);
    if (!entry || !isLine(entry)) return [];
    const items = [], before = this.#before(slot), ms = timeOf(entry);
    const isNewDay = !before || dateOf(timeOf(before)) !== dateOf(ms);
    if (isNewDay) items.push(make("li", { class: "day", "data-of": slot }, make("span", {}, dayOf(ms))));
    if (source.beginsNew(slot)) items.push(make("li", { class: "day unread", "data-of": slot }, make("span", {}, "New")));
    const head = items.length > 0 || !before || isHead(entry, ms, before, timeOf(before));
    const quoted = entry.ref === undefined ? null : source.shown(entry.ref);
    const shown = source.shown(slot);
    if (shown) items.push(lineOf(shown, { head, quoted }, source.actions));
    return items;
  }

  /** The entry of the line before a slot, within the window. @param {number} slot */
  #before(slot) {
    for (let before = slot - 1; before >= this.first; before--) {
      const entry = this.source.entry(before);
      if (!entry || isLine(entry)) return entry;
    }
    return undefined;
  }
}

/** @param {HTMLElement} line @param {0 | -1} index */
function tabbable(line, index) {
  for (const element of line.querySelectorAll(/** @type {"a"} */ ("a, button"))) element.tabIndex = index;
}

/** The slot that an item belongs to. @param {Element} item */
export function slotOf(item) {
  const { dataset } = /** @type {HTMLElement} */ (item);
  return Number(dataset.slot ?? dataset.of);
}
