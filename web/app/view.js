// The timeline of a room: which slots are in the page, and the scroll position.
//
// ```text
//    held:     │ span ……………………………………………………… │ gap │ newest span ………… │ ─► live
//    window:            first ▓▓▓▓▓▓▓▓ last
//                        ▲ scrolling up adds earlier lines, held or read from the server, and removes lines at the far end
// ```
//
// In: entries, scrolling, jumps to a slot. Out: a window of lines. Invariants: the window is consecutive slots of one span;
// visible lines do not move when others are added or removed; while the end of the log is in view, new lines are scrolled
// into view.

import { Fold, isLine } from "../sdk/src/index.js";
import { byId } from "./dom.js";
import { Lines } from "./lines.js";

/** How many slots to read at a time. */
const PAGE = 60;
/** How many slots to draw at a time while scrolling: more would make it stutter. */
const STEP = 30;
/** Less than this from an end of the window, in pixels, more lines are added. */
const NEAR = 1_200;
/** Less than this from the end of the log, in pixels, it is followed. */
const AT_END = 40;
/** With more entries than this held, those far from the window are dropped. */
const MAX_HELD = 5_000;

/** @typedef {import("../sdk/src/types.js").Entry} Entry */

export class View {
  #fold = new Fold();
  #scroller = byId("scroller");
  #loading = false;
  #follows = true;
  #ended = false;
  #closed = new AbortController();
  /** The next animation frame, which draws all entries received until then; 0 if none is requested. */
  #frame = 0;
  /** The slots that are marked as new: after the read mark, up to the latest one when the room was opened. @type {{from: number, upto: number} | null} */
  #new = null;
  /** The last slot shown while following. */
  #seen = -1;

  /**
   * @param {import("../sdk/src/index.js").Room} room
   * @param {import("./line.js").Actions} actions
   * @param {{read: () => number, moved: () => void}} options `read`: the last slot that was read, −1 if none; `moved`: called when the position has changed
   */
  constructor(room, actions, { read, moved }) {
    this.room = room;
    this.actions = actions;
    this.moved = moved;
    this.read = read;
    const entry = (/** @type {number} */ slot) => room.timeline.get(slot);
    const shown = (/** @type {number} */ slot) => this.shown(slot);
    this.lines = new Lines(byId("log"), this.#scroller, { entry, shown, beginsNew: slot => this.#beginsNew(slot), actions });
    this.#scroller.onscroll = () => this.#scrolled();
    for (const event of ["pointerover", "focusin"]) {
      this.lines.list.addEventListener(event, it => this.lines.enter(it), { signal: this.#closed.signal });
    }
    this.offs = [
      room.on("entries", entries => this.#received(entries)),
      room.on("reset", () => this.#reset()),
    ];
    this.sizes = new ResizeObserver(() => this.#follows && this.last >= 0 && this.#toBottom());
    for (const element of [this.#scroller, this.lines.list]) this.sizes.observe(element);
    if (room.timeline.spans.length > 0) this.#takeHeld();
  }

  /** Whether the end of the log is in view, and new lines are scrolled into view. */
  get follows() { return this.#follows; }

  /** The last slot in the page, −1 if none. */
  get last() { return this.lines.last; }

  /** How many slots have come since the end was last in view. */
  get behind() {
    return this.#seen < 0 ? 0 : Math.max(0, this.room.timeline.latest - this.#seen);
  }

  end() {
    this.#ended = true;
    this.#closed.abort();
    cancelAnimationFrame(this.#frame);
    this.offs.forEach(off => off());
    this.sizes.disconnect();
  }

  /** Scrolls to the end of the log and follows it. */
  toEnd() {
    this.#follows = true;
    const span = this.room.timeline.spans.at(-1);
    if (!span) return this.#toBottom();
    if (this.last === span.last) this.#toBottom();
    else this.#showUntil(span.last);
    if (this.room.timeline.latest > span.last) void this.#jumpToLatest();
  }

  /** Scrolls to a slot and marks its line, or for an edit or a reaction the line that it refers to; `false` if there is no such slot. @param {number} slot @returns {Promise<boolean>} */
  async to(slot) {
    const { timeline } = this.room;
    if (!timeline.get(slot)) {
      this.#applyChanges(await this.room.around(slot, PAGE));
    }
    if (this.#ended) return true;
    const entry = timeline.get(slot), span = timeline.spanOf(slot);
    if (!entry || !span) return false;
    if (!isLine(entry) && entry.ref !== undefined && entry.ref < slot) return this.to(entry.ref);
    this.#follows = false;
    if (slot < this.lines.first || slot > this.last) {
      this.#setNew();
      this.lines.show(Math.max(span.first, slot - PAGE / 2), Math.min(span.last, slot + PAGE / 2));
    }
    const line = this.lines.line(slot);
    line?.scrollIntoView({ block: "center" });
    line?.focus({ preventScroll: true });
    line?.classList.add("marked");
    setTimeout(() => line?.classList.remove("marked"), 2_000);
    // In a short room, the end may be in view as well.
    this.#follows = this.last >= (this.room.last ?? Infinity) && this.#isAtEnd();
    this.moved();
    void this.#fill();
    return true;
  }

  /** Scrolls by pixels. The scroll event comes only with the next frame, and following would undo it until then. @param {number} top */
  scrollBy(top) {
    this.#scroller.scrollBy({ top });
    this.#scrolled();
  }

  /** Returns the current form of the entry at a slot; null if it is not held. @param {number} slot */
  shown(slot) {
    const entry = this.room.timeline.get(slot);
    return entry ? this.#fold.of(entry) : null;
  }

  /** Returns the slot of the latest text by an author in the newest span; null if there is none. @param {string | null} author */
  lastOf(author) {
    const span = this.room.timeline.spans.at(-1);
    for (let slot = span?.last ?? -1; span && slot >= span.first; slot--) {
      const entry = this.room.timeline.get(slot);
      if (entry?.author === author && (entry.kind ?? "text") === "text" && !entry.redacted) return slot;
    }
    return null;
  }

  /** Draws all lines again, because the user's name has changed. */
  redraw() {
    for (const line of this.lines.all()) this.lines.redraw(Number(line.dataset.slot));
  }

  /** The page was hidden: lines that come from now on are new. */
  away() {
    if (!this.#new || !this.#follows) return;
    this.lines.list.querySelector(":scope > .unread")?.remove();
    this.#new = { from: this.last + 1, upto: Infinity };
  }

  /** The page is visible again. */
  back() {
    if (this.#new?.upto === Infinity) this.#new.upto = this.room.timeline.latest;
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
  #received(entries) {
    this.#applyChanges(entries);
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#ended) return;
      const span = this.room.timeline.spans.at(-1);
      if (!span) return this.moved(); // The room is empty.
      if (this.lines.isEmpty) this.#showUntil(span.last);
      else if (this.#follows && this.last + 1 >= span.first) {
        this.lines.append(span.last);
        this.lines.trimTop();
        this.#toBottom();
        this.#drop();
      } else if (this.#follows) this.#showUntil(span.last);
      else void this.#fill(); // They may come directly after the window.
      this.#changed();
    });
  }

  /** Applies edits, reactions, redactions and erasures, and draws the lines that they change. @param {Entry[]} entries */
  #applyChanges(entries) {
    this.lines.redrawWithQuotes(this.#fold.take(entries));
    this.#keepEnd();
  }

  #reset() {
    this.lines.clear();
    this.#fold.clear();
    this.#follows = true;
    this.#new = null;
    this.#seen = -1;
  }

  /** Sets which slots are new, before the first lines are drawn. */
  #setNew() {
    const read = this.read();
    this.#new ??= { from: read < 0 ? Infinity : read + 1, upto: this.room.timeline.latest };
  }

  /** Whether a slot is the first new line of somebody else. @param {number} slot */
  #beginsNew(slot) {
    if (!this.#new || slot < this.#new.from || slot > this.#new.upto || !this.#isByOthers(slot)) return false;
    for (let before = slot - 1; before >= this.#new.from; before--) {
      if (!this.room.timeline.get(before) || this.#isByOthers(before)) return false;
    }
    return true;
  }

  /** @param {number} slot */
  #isByOthers(slot) {
    const entry = this.room.timeline.get(slot);
    return entry !== undefined && isLine(entry) && entry.author !== this.actions.me;
  }

  /** Draws the end of a span, which replaces the window. @param {number} last */
  #showUntil(last) {
    const span = this.room.timeline.spanOf(last);
    if (!span) return;
    this.#setNew();
    this.lines.show(Math.max(span.first, last + 1 - PAGE), last);
    this.#toBottom();
    void this.#fill();
  }

  async #jumpToLatest() {
    try {
      this.#applyChanges(await this.room.before(PAGE, this.room.timeline.latest + 1));
      const span = this.room.timeline.spans.at(-1);
      if (!this.#ended && span) this.#showUntil(span.last);
    } catch {
      // The room was left, or the server has another log; the page reports it elsewhere.
    }
  }

  /** Keeps the end in view while following. */
  #keepEnd() {
    if (this.#follows) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #toBottom() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#changed();
  }

  #isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < AT_END;
  }

  #changed() {
    if (this.#follows) this.#seen = this.last;
    this.moved();
  }

  #scrolled() {
    const end = this.room.timeline.last ?? -1;
    // Entries that are not drawn yet do not end following.
    const atEnd = this.#follows || this.last >= end;
    this.#follows = atEnd && this.#isAtEnd();
    this.#changed();
    void this.#fill();
  }

  /** Adds lines on the side where the view is near the end of the window. */
  async #fill() {
    if (this.#loading || this.#ended || this.lines.isEmpty) return;
    this.#loading = true;
    try {
      for (let more = true; more;) {
        // Each step is its own task: together with drawing, they would make scrolling stutter.
        await new Promise(next => setTimeout(next));
        if (this.#ended) return;
        const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
        const before = scrollTop < NEAR && await this.#earlier();
        const after = !before && scrollHeight - scrollTop - clientHeight < NEAR && await this.#later();
        more = before || after;
        this.#keepEnd();
      }
    } catch {
      // The room was left, or the server has another log; the page reports it elsewhere.
    } finally {
      this.#loading = false;
    }
    this.moved();
  }

  /** Draws slots before the window, or reads them if they are not held; `false` if there are none. */
  async #earlier() {
    const { first } = this.lines, { timeline } = this.room;
    if (first === 0) return false;
    if (!timeline.get(first - 1)) {
      this.#applyChanges(await this.room.before(PAGE, first));
      return this.lines.first === first && timeline.get(first - 1) !== undefined;
    }
    const span = timeline.spanOf(first - 1);
    this.lines.keepPlace(() => {
      this.lines.prepend(Math.max(span?.first ?? 0, first - STEP));
      if (this.lines.trimBottom()) this.#follows = false;
    });
    this.#drop();
    return true;
  }

  /** Draws slots after the window, or reads them if they are not held; `false` if there are none. */
  async #later() {
    const { last } = this.lines, { timeline } = this.room;
    if (last >= timeline.latest) return false;
    if (!timeline.get(last + 1)) {
      this.#applyChanges(await this.room.behind(last));
      return this.last === last && timeline.get(last + 1) !== undefined;
    }
    const span = timeline.spanOf(last + 1);
    this.lines.keepPlace(() => {
      this.lines.append(Math.min(span?.last ?? last, last + STEP));
      this.lines.trimTop();
    });
    return true;
  }

  /** Drops entries far from the window; they are read again when needed. */
  #drop() {
    const held = this.room.timeline.spans.reduce((sum, { first, last }) => sum + last + 1 - first, 0);
    if (held > MAX_HELD) this.room.timeline.trim(this.lines.first - MAX_HELD / 4, this.last + MAX_HELD / 4);
  }

  /**
   * Shows above the lines that the log begins there, or why there are no lines.
   * @param {"offline" | "refused" | "logged out" | "bad room" | ""} problem why there is no first reply; a bad room has a notice
   */
  start(problem) {
    const { name, last } = this.room;
    let text = "";
    if (last === -1) text = "No messages yet";
    else if (this.lines.first === 0 && this.last >= 0) text = `This is the beginning of ${name}`;
    else if (this.lines.isEmpty) {
      text = {
        offline: `You are offline. The messages of ${name} will be shown when you are connected again.`,
        refused: `The server refused the connection. The messages of ${name} cannot be shown.`,
        "logged out": `Log in to read ${name}.`,
        "bad room": "",
        "": "Loading…",
      }[problem];
    }
    const start = byId("start");
    if (start.textContent === text && start.hidden === !text) return;
    this.lines.keepPlace(() => {
      start.textContent = text;
      start.hidden = !text;
      start.classList.toggle("empty", this.lines.isEmpty);
    });
    this.#keepEnd();
  }
}
