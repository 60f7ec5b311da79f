// The list items of a window of slots.
//
// Enters: which slots to show. Leaves: list items in slot order: days, the mark of what is new, lines. Invariants: the
// window is consecutive slots; every line knows what stands before it, so the first one has its day and its author;
// there are MOST_LINES lines at most.

import { isLine } from "../sdk/src/index.js";
import { make } from "./dom.js";
import { equip, isHead, lineOf } from "./line.js";
import { dateOf, dayOf, saidAt } from "./time.js";

/** Lines in the page, at most: a few screens beyond what is seen on either side. */
const MOST_LINES = 300;

/** @typedef {import("../sdk/src/types.js").Entry} Entry */

export class Lines {
  /** The window; empty: last < first. */
  first = 0;
  last = -1;
  /** The line whose buttons and links Tab reaches. @type {HTMLElement | null} */
  #active = null;

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} scroller
   * @param {{
   *   entry: (slot: number) => Entry | undefined,
   *   shown: (slot: number) => import("../sdk/src/fold.js").Folded | null,
   *   beginsNew: (slot: number) => boolean,
   *   acts: import("./line.js").Acts,
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

  /** Shows these slots and no others. @param {number} first @param {number} last */
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
    // What stood at the top knew of nothing before it.
    for (let slot = was; slot <= this.last; slot++) if (this.line(slot)) return this.renew(slot);
  }

  trimTop() {
    const lines = this.all();
    if (lines.length <= MOST_LINES) return;
    const slot = slotOf(lines[lines.length - MOST_LINES]);
    this.#remove(() => {
      for (let item; (item = this.list.firstElementChild) && slotOf(item) < slot;) item.remove();
    });
    this.first = slot;
    this.renew(slot);
  }

  /** Whether it removed something. */
  trimBottom() {
    const lines = this.all();
    if (lines.length <= MOST_LINES) return false;
    const slot = slotOf(lines[MOST_LINES - 1]);
    this.#remove(() => {
      for (let item; (item = this.list.lastElementChild) && slotOf(item) > slot;) item.remove();
    });
    this.last = slot;
    return true;
  }

  /** Removes lines. When one of them has the focus, it goes to the timeline, where the keys still work. @param {() => void} remove */
  #remove(remove) {
    const hadFocus = this.list.contains(document.activeElement);
    remove();
    if (hadFocus && !this.list.contains(document.activeElement)) this.scroller.focus({ preventScroll: true });
  }

  /** Changes the list without moving what is looked at. @param {() => void} change */
  keepPlace(change) {
    const top = this.scroller.getBoundingClientRect().top;
    const seen = this.all().find(line => line.getBoundingClientRect().bottom > top);
    const before = seen?.getBoundingClientRect().top ?? 0;
    change();
    // The line may be another element now, which knows what stands before it.
    const now = seen && this.line(slotOf(seen));
    if (now) this.scroller.scrollTop += now.getBoundingClientRect().top - before;
  }

  /** Shows a slot anew, if it is in the window. @param {number} slot */
  renew(slot) {
    const line = this.line(slot);
    if (!line) return;
    const focused = line.contains(document.activeElement);
    const isOurs = (/** @type {Element | null} */ item) => item instanceof HTMLElement && Number(item.dataset.of) === slot;
    while (isOurs(line.previousElementSibling)) line.previousElementSibling?.remove();
    line.replaceWith(...this.#items(slot));
    if (focused) this.line(slot)?.focus({ preventScroll: true });
  }

  /** Shows a slot anew, and the lines that quote it. @param {number} slot */
  renewAbout(slot) {
    this.renew(slot);
    for (const line of this.list.querySelectorAll(`[data-ref="${slot}"]`)) this.renew(slotOf(line));
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
   * Prepares the line that is pointed at or has the focus: it gets its buttons, and with the focus its links and buttons
   * come next by Tab. Those of all other lines do not, or the way through them would be long.
   * @param {Event} event
   */
  enter({ target, type }) {
    const line = /** @type {HTMLElement | null} */ (/** @type {Element} */ (target).closest(".entry"));
    const shown = line && this.source.shown(slotOf(line));
    if (!shown) return;
    equip(line, shown, this.source.acts);
    if (type !== "focusin" || line === this.#active) return;
    if (this.#active) tabbable(this.#active, -1);
    tabbable(line, 0);
    this.#active = line;
  }

  /** Moves the focus by lines, from the one that has it, or else from the last one in sight. @param {number} by */
  moveFocus(by) {
    const lines = this.all(), { top, bottom } = this.scroller.getBoundingClientRect();
    const isSeen = (/** @type {HTMLElement | undefined} */ line) => {
      const box = line?.getBoundingClientRect();
      return box && box.bottom > top && box.top < bottom;
    };
    const at = lines.indexOf(/** @type {any} */ (document.activeElement?.closest?.(".entry")));
    const next = isSeen(lines[at]) ? lines[at + by] : lines.findLast(isSeen);
    next?.focus({ preventScroll: true });
    next?.scrollIntoView({ block: "nearest" });
    return Boolean(next);
  }

  /** The last line of the window. */
  get lastLine() { return this.#before(this.last + 1); }

  /** The items of a slot. @param {number} slot @returns {HTMLElement[]} */
  #items(slot) {
    const { source } = this, entry = source.entry(slot);
    if (!entry || !isLine(entry)) return [];
    const items = [], before = this.#before(slot), said = saidAt(entry);
    const isNewDay = !before || dateOf(saidAt(before)) !== dateOf(said);
    if (isNewDay) items.push(make("li", { class: "day", "data-of": slot }, make("span", {}, dayOf(said))));
    if (source.beginsNew(slot)) items.push(make("li", { class: "day unread", "data-of": slot }, make("span", {}, "New")));
    const head = items.length > 0 || !before || isHead(entry, said, before, saidAt(before));
    const quoted = entry.ref === undefined ? null : source.shown(entry.ref);
    const shown = source.shown(slot);
    if (shown) items.push(lineOf(shown, { head, quoted }, source.acts));
    return items;
  }

  /** The line before a slot, within the window. @param {number} slot */
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
