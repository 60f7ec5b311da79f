// The timeline of one room: a window of lines over what the client holds.
//
// ```text
//    held:     │ span ……………………………………………………… │ gap │ newest span ………… │ ─► live
//    window:            first ▓▓▓▓▓▓▓▓ last
//                        ▲ scrolled up: earlier ones, from what is held, else asked for; the far end goes
// ```
//
// Enters: entries, scrolling, jumps to a slot. Leaves: list items in slot order. Invariants: the window is
// consecutive slots of one span; what one looks at does not move when lines come or go elsewhere;
// there are MOST_LINES elements at most.

import { Fold, isLine } from "../sdk/src/index.js";
import { make, the } from "./dom.js";
import { equip, lineOf } from "./line.js";
import { GROUP_MS, dateOf, dayOf, saidAt } from "./time.js";

/** Lines in the page, at most: a few screens beyond what is seen on either side. */
const MOST_LINES = 300;
/** Slots that are asked for at a time. */
const PAGE = 60;
/** Slots that are shown at a time, while one scrolls: a task for more of them would be felt. */
const STEP = 30;
/** This near to an end, in pixels, there should be more. */
const NEAR = 1_200;
/** This near to the end of the log, in pixels, what comes is followed. */
const AT_END = 40;
/** Entries that are held, at most, before those far from the window are let go of. */
const MOST_HELD = 5_000;

/** @typedef {import("../sdk/src/types.js").Entry} Entry */

export class View {
  #fold = new Fold();
  #scroller = the("scroller");
  #list = the("log");
  /** The window; empty: last < first. */
  #first = 0;
  #last = -1;
  #loading = false;
  #follows = true;
  #ended = false;
  #gone = new AbortController();
  /** Slots that wait to be shown: one frame of the screen shows all that came in it. */
  #frame = 0;

  /**
   * @param {import("../sdk/src/index.js").Room} room
   * @param {import("./line.js").Acts} acts
   * @param {{unreadFrom: number, moved: () => void}} options the slot before which the mark of what is new stands; called when the place has changed
   */
  constructor(room, acts, { unreadFrom, moved }) {
    this.room = room;
    this.acts = acts;
    this.moved = moved;
    this.unreadFrom = unreadFrom;
    this.#list.replaceChildren();
    this.#scroller.onscroll = () => this.#scrolled();
    for (const event of ["pointerover", "focusin"]) {
      this.#list.addEventListener(event, (/** @type {Event} */ it) => this.#equip(/** @type {Element} */ (it.target)), { signal: this.#gone.signal });
    }
    this.offs = [
      room.on("entries", entries => this.#came(entries)),
      room.on("reset", () => this.#reset()),
    ];
    this.sizes = new ResizeObserver(() => this.#follows && this.#last >= 0 && this.#toBottom());
    this.sizes.observe(this.#scroller);
    if (room.timeline.spans.length > 0) this.#takeHeld();
  }

  /** Whether what comes is followed: the end of the log is seen. */
  get follows() { return this.#follows; }

  /** The last slot that is shown, −1 for none. */
  get last() { return this.#last; }

  /** How many slots lie behind what is shown. */
  get behind() {
    return this.#last < 0 ? 0 : Math.max(0, this.room.timeline.latest - this.#last);
  }

  end() {
    this.#ended = true;
    this.#gone.abort();
    cancelAnimationFrame(this.#frame);
    this.offs.forEach(off => off());
    this.sizes.disconnect();
  }

  /** Goes to the end of the log and follows it. */
  toEnd() {
    this.#follows = true;
    const span = this.room.timeline.spans.at(-1);
    if (!span || this.#last === span.last) return this.#toBottom();
    if (this.room.timeline.latest > span.last) void this.#jumpToLatest();
    else this.#showUntil(span.last);
  }

  /** Goes to a slot, which is read if it is not held. @param {number} slot */
  async to(slot) {
    if (!this.room.timeline.get(slot)) {
      this.#note(await this.room.around(slot, PAGE));
    }
    if (this.#ended) return false;
    const span = this.room.timeline.spanOf(slot);
    if (!span) return false;
    this.#follows = false;
    if (slot < this.#first || slot > this.#last) {
      this.#clear();
      this.#first = Math.max(span.first, slot - PAGE / 2);
      this.#last = this.#first - 1;
      this.#append(Math.min(span.last, slot + PAGE / 2));
    }
    const line = this.#line(slot);
    line?.scrollIntoView({ block: "center" });
    line?.focus({ preventScroll: true });
    line?.classList.add("marked");
    setTimeout(() => line?.classList.remove("marked"), 2_000);
    this.moved();
    void this.#fill();
    return true;
  }

  /** What is shown at a slot that is held. @param {number} slot */
  shown(slot) {
    const entry = this.room.timeline.get(slot);
    return entry ? this.#fold.of(entry) : null;
  }

  /** The latest line by an author that is held. @param {string | null} author */
  lastOf(author) {
    const span = this.room.timeline.spans.at(-1);
    for (let slot = span?.last ?? -1; span && slot >= span.first; slot--) {
      const entry = this.room.timeline.get(slot);
      if (entry?.author === author && (entry.kind ?? "text") === "text") return slot;
    }
    return null;
  }

  /** Shows the lines anew: who one is has changed. */
  again() {
    for (const line of this.#lines()) this.#renew(Number(line.dataset.slot));
  }

  /** Moves the focus to the line before or behind the one that has it. @param {number} by */
  moveFocus(by) {
    const lines = this.#lines(), at = lines.indexOf(/** @type {any} */ (document.activeElement?.closest?.(".entry")));
    const next = at < 0 ? lines.at(-1) : lines[at + by];
    next?.focus({ preventScroll: true });
    next?.scrollIntoView({ block: "nearest" });
    return Boolean(next);
  }

  #takeHeld() {
    for (const { first, last } of this.room.timeline.spans) {
      const held = [];
      for (let slot = first; slot <= last; slot++) held.push(/** @type {Entry} */ (this.room.timeline.get(slot)));
      this.#fold.take(held);
    }
    const span = this.room.timeline.spans.at(-1);
    if (span) this.#showUntil(span.last);
  }

  /** @param {Entry[]} entries */
  #came(entries) {
    this.#note(entries);
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#ended) return;
      const span = this.room.timeline.spans.at(-1);
      if (!span) return;
      if (this.#last < this.#first) this.#showUntil(span.last);
      else if (this.#follows && this.#last + 1 >= span.first) {
        this.#append(span.last);
        this.#trimTop();
        this.#toBottom();
        this.#letGo();
      } else if (this.#follows) this.#showUntil(span.last);
      this.moved();
    });
  }

  /** Takes what is about other entries, and shows those anew. @param {Entry[]} entries */
  #note(entries) {
    for (const slot of this.#fold.take(entries)) {
      this.#renew(slot);
      for (const line of this.#list.querySelectorAll(`[data-ref="${slot}"]`)) this.#renew(slotOf(line));
    }
  }

  #reset() {
    this.#clear();
    this.#fold.clear();
    this.#follows = true;
  }

  /** Shows the end of a span, anew. @param {number} last */
  #showUntil(last) {
    const span = this.room.timeline.spanOf(last);
    if (!span) return;
    this.#clear();
    this.#first = Math.max(span.first, last + 1 - PAGE);
    this.#last = this.#first - 1;
    this.#append(last);
    this.#toBottom();
    this.moved();
    void this.#fill();
  }

  async #jumpToLatest() {
    this.#note(await this.room.before(PAGE, this.room.timeline.latest + 1));
    const span = this.room.timeline.spans.at(-1);
    if (!this.#ended && span) this.#showUntil(span.last);
  }

  /** What is followed stays in sight. */
  #keepEnd() {
    if (this.#follows) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #toBottom() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.moved();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const end = this.room.timeline.last ?? -1;
    // What has come and waits for the next frame of the screen does not end a following.
    const atEnd = this.#follows || this.#last >= end;
    this.#follows = atEnd && scrollHeight - scrollTop - clientHeight < AT_END;
    this.moved();
    void this.#fill();
  }

  /** Shows more on either side, where what is seen is near to an end. */
  async #fill() {
    if (this.#loading || this.#ended || this.#last < this.#first) return;
    this.#loading = true;
    try {
      for (let more = true; more;) {
        // Each step is a task of its own, beside those that draw: together they would be felt.
        await new Promise(next => setTimeout(next));
        if (this.#ended) return;
        const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
        const before = scrollTop < NEAR && await this.#earlier();
        const behind = !before && scrollHeight - scrollTop - clientHeight < NEAR && await this.#later();
        more = before || behind;
        this.#keepEnd();
      }
    } catch {
      // The room was left, or the server has another log: what is to be said of it is said elsewhere.
    } finally {
      this.#loading = false;
    }
    this.start();
  }

  /** Reads slots before the window, or shows those that are held; `false` when there are none. */
  async #earlier() {
    if (this.#first === 0) return false;
    const first = this.#first, { timeline } = this.room;
    if (!timeline.get(first - 1)) {
      this.#note(await this.room.before(PAGE, first));
      return this.#first === first && timeline.get(first - 1) !== undefined;
    }
    const span = timeline.spanOf(first - 1);
    this.#keepPlace(() => {
      this.#prepend(Math.max(span?.first ?? 0, first - STEP));
      this.#trimBottom();
    });
    this.#letGo();
    return true;
  }

  /** Reads slots behind the window, or shows those that are held; `false` when there are none. */
  async #later() {
    const last = this.#last, { timeline } = this.room;
    if (last >= timeline.latest) return false;
    if (!timeline.get(last + 1)) {
      this.#note(await this.room.behind(last));
      return this.#last === last && timeline.get(last + 1) !== undefined;
    }
    const span = timeline.spanOf(last + 1);
    this.#keepPlace(() => {
      this.#append(Math.min(span?.last ?? last, last + STEP));
      this.#trimTop();
    });
    return true;
  }

  /** Changes the list without moving what is looked at. @param {() => void} change */
  #keepPlace(change) {
    const top = this.#scroller.getBoundingClientRect().top;
    const seen = this.#lines().find(line => line.getBoundingClientRect().bottom > top);
    const before = seen?.getBoundingClientRect().top ?? 0;
    change();
    // The line may be another element now, which knows what stands before it.
    const now = seen && this.#line(slotOf(seen));
    if (now) this.#scroller.scrollTop += now.getBoundingClientRect().top - before;
  }

  /** @param {number} last */
  #append(last) {
    const from = this.#last + 1, items = document.createDocumentFragment();
    for (let slot = from; slot <= last; slot++) items.append(...this.#items(slot));
    this.#last = Math.max(this.#last, last);
    this.#list.append(items);
  }

  /** @param {number} first */
  #prepend(first) {
    const items = document.createDocumentFragment(), was = this.#first;
    this.#first = first;
    for (let slot = first; slot < was; slot++) items.append(...this.#items(slot));
    this.#list.prepend(items);
    // What stood at the top knew of nothing before it.
    const top = this.#lineFrom(was);
    if (top !== null) this.#renew(top);
  }

  /** The items of a slot: a day, the mark of what is new, the line. @param {number} slot @returns {HTMLElement[]} */
  #items(slot) {
    const entry = this.room.timeline.get(slot);
    if (!entry) return [];
    const items = [], before = this.#lineBefore(slot), said = saidAt(entry);
    if (slot === this.unreadFrom && slot > 0) items.push(make("li", { class: "day unread", "data-of": slot }, "New"));
    if (!isLine(entry)) return items;
    if (!before || dateOf(saidAt(before)) !== dateOf(said)) {
      items.push(make("li", { class: "day", "data-of": slot }, dayOf(said)));
    }
    const head = items.length > 0 || !before || before.author !== entry.author || before.kind !== entry.kind
      || said - saidAt(before) > GROUP_MS || entry.ref !== undefined;
    const quoted = entry.ref === undefined ? null : this.shown(entry.ref);
    items.push(lineOf(this.#fold.of(entry), { head, quoted }, this.acts));
    return items;
  }

  /** The line before a slot, within the window. @param {number} slot */
  #lineBefore(slot) {
    for (let before = slot - 1; before >= this.#first; before--) {
      const entry = this.room.timeline.get(before);
      if (!entry || isLine(entry)) return entry;
    }
    return undefined;
  }

  /** The first slot from this one on that has a line. @param {number} slot */
  #lineFrom(slot) {
    for (; slot <= this.#last; slot++) if (this.#line(slot)) return slot;
    return null;
  }

  /** @param {number} slot @returns {HTMLElement | null} */
  #line(slot) {
    return document.getElementById(`slot-${slot}`);
  }

  /** @param {Element} target */
  #equip(target) {
    const line = target.closest(".entry"), shown = line && this.shown(slotOf(line));
    if (shown) equip(line, shown, this.acts);
  }

  /** @returns {HTMLElement[]} */
  #lines() {
    return [...this.#list.querySelectorAll(":scope > .entry")];
  }

  /** Shows a slot anew, if it is in the window. @param {number} slot */
  #renew(slot) {
    const line = this.#line(slot);
    if (!line) return;
    const focused = line.contains(document.activeElement);
    const isOurs = (/** @type {Element | null} */ item) => item instanceof HTMLElement && Number(item.dataset.of) === slot;
    while (isOurs(line.previousElementSibling)) line.previousElementSibling?.remove();
    line.replaceWith(...this.#items(slot));
    if (focused) this.#line(slot)?.focus({ preventScroll: true });
    this.#keepEnd();
  }

  #clear() {
    this.#list.replaceChildren();
    [this.#first, this.#last] = [0, -1];
  }

  #trimTop() {
    const lines = this.#lines();
    if (lines.length <= MOST_LINES) return;
    const slot = Number(lines[lines.length - MOST_LINES].dataset.slot);
    for (let item; (item = this.#list.firstElementChild) && slotOf(item) < slot;) item.remove();
    this.#first = slot;
  }

  #trimBottom() {
    const lines = this.#lines();
    if (lines.length <= MOST_LINES) return;
    const slot = Number(lines[MOST_LINES - 1].dataset.slot);
    for (let item; (item = this.#list.lastElementChild) && slotOf(item) > slot;) item.remove();
    this.#last = slot;
    this.#follows = false;
  }

  /** Lets go of what is held far from the window; the client reads it again when it is wanted. */
  #letGo() {
    const held = this.room.timeline.spans.reduce((sum, { first, last }) => sum + last + 1 - first, 0);
    if (held > MOST_HELD) this.room.timeline.trim(this.#first - MOST_HELD / 4, this.#last + MOST_HELD / 4);
  }

  /** Says where the log begins, when that is seen. */
  start() {
    const start = the("start"), empty = this.room.last === -1;
    const hidden = !(empty || (this.#first === 0 && this.#last >= 0));
    if (start.hidden !== hidden) this.#keepPlace(() => { start.hidden = hidden; });
    this.#keepEnd();
    start.textContent = empty ? "Nothing was said here yet." : `The beginning of ${this.room.name}`;
  }
}

/** The slot that an item belongs to. @param {Element} item */
function slotOf(item) {
  const { dataset } = /** @type {HTMLElement} */ (item);
  return Number(dataset.slot ?? dataset.of);
}
