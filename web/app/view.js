// The timeline of one room: which slots are shown, and where one is in them.
//
// ```text
//    held:     │ span ……………………………………………………… │ gap │ newest span ………… │ ─► live
//    window:            first ▓▓▓▓▓▓▓▓ last
//                        ▲ scrolled up: earlier ones, from what is held, else asked for; the far end goes
// ```
//
// Enters: entries, scrolling, jumps to a slot. Leaves: a window of lines. Invariants: the window is consecutive slots of
// one span; what one looks at does not move when lines come or go elsewhere; where the end of the log is seen, it is
// followed.

import { Fold, isLine } from "../sdk/src/index.js";
import { the } from "./dom.js";
import { Lines } from "./lines.js";

/** Slots that are asked for at a time. */
const PAGE = 60;
/** Slots that are shown at a time, while one scrolls: a task for more of them would be felt. */
const STEP = 30;
/** This near to an end, in pixels, there should be more. */
const NEAR = 1_200;
/** This near to the end of the log, in pixels, what comes is followed. */
const AT_END = 40;
/** Entries that are held, at most, before those far from the window are dropped. */
const MOST_HELD = 5_000;

/** @typedef {import("../sdk/src/types.js").Entry} Entry */

export class View {
  #fold = new Fold();
  #scroller = the("scroller");
  #loading = false;
  #follows = true;
  #ended = false;
  #gone = new AbortController();
  /** Slots that wait to be shown: one frame of the screen shows all that came in it. */
  #frame = 0;
  /** What is new: slots from the one behind what was read to the one that was the latest then. @type {{from: number, upto: number} | null} */
  #new = null;
  /** The last slot that was shown while the end was followed. */
  #seen = -1;

  /**
   * @param {import("../sdk/src/index.js").Room} room
   * @param {import("./line.js").Acts} acts
   * @param {{read: () => number, moved: () => void}} options the last slot that was read, −1 for none; called when the place has changed
   */
  constructor(room, acts, { read, moved }) {
    this.room = room;
    this.acts = acts;
    this.moved = moved;
    this.read = read;
    const entry = (/** @type {number} */ slot) => room.timeline.get(slot);
    const shown = (/** @type {number} */ slot) => this.shown(slot);
    this.lines = new Lines(the("log"), this.#scroller, { entry, shown, beginsNew: slot => this.#beginsNew(slot), acts });
    this.#scroller.onscroll = () => this.#scrolled();
    for (const event of ["pointerover", "focusin"]) {
      this.lines.list.addEventListener(event, it => this.lines.enter(it), { signal: this.#gone.signal });
    }
    this.offs = [
      room.on("entries", entries => this.#came(entries)),
      room.on("reset", () => this.#reset()),
    ];
    this.sizes = new ResizeObserver(() => this.#follows && this.last >= 0 && this.#toBottom());
    for (const element of [this.#scroller, this.lines.list]) this.sizes.observe(element);
    if (room.timeline.spans.length > 0) this.#takeHeld();
  }

  /** Whether what comes is followed: the end of the log is seen. */
  get follows() { return this.#follows; }

  /** The last slot that is shown, −1 for none. */
  get last() { return this.lines.last; }

  /** How many slots have come since the end was last seen. */
  get behind() {
    return this.#seen < 0 ? 0 : Math.max(0, this.room.timeline.latest - this.#seen);
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
    if (!span) return this.#toBottom();
    if (this.last === span.last) this.#toBottom();
    else this.#showUntil(span.last);
    if (this.room.timeline.latest > span.last) void this.#jumpToLatest();
  }

  /** Goes to a slot, which is read if it is not held. What is no line of its own is shown at the one it refers to. @param {number} slot @returns {Promise<boolean>} */
  async to(slot) {
    const { timeline } = this.room;
    if (!timeline.get(slot)) {
      this.#note(await this.room.around(slot, PAGE));
    }
    if (this.#ended) return true;
    const entry = timeline.get(slot), span = timeline.spanOf(slot);
    if (!entry || !span) return false;
    if (!isLine(entry) && entry.ref !== undefined && entry.ref < slot) return this.to(entry.ref);
    this.#follows = false;
    if (slot < this.lines.first || slot > this.last) {
      this.#begin();
      this.lines.show(Math.max(span.first, slot - PAGE / 2), Math.min(span.last, slot + PAGE / 2));
    }
    const line = this.lines.line(slot);
    line?.scrollIntoView({ block: "center" });
    line?.focus({ preventScroll: true });
    line?.classList.add("marked");
    setTimeout(() => line?.classList.remove("marked"), 2_000);
    // In a short room, the end may be in sight as well.
    this.#follows = this.last >= (this.room.last ?? Infinity) && this.#isAtEnd();
    this.moved();
    void this.#fill();
    return true;
  }

  /** Scrolls by pixels. The browser's own event comes a frame later: until then, following would undo it. @param {number} top */
  scrollBy(top) {
    this.#scroller.scrollBy({ top });
    this.#scrolled();
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
    for (const line of this.lines.all()) this.lines.renew(Number(line.dataset.slot));
  }

  /** Nobody looks: what comes from now on is new. */
  away() {
    if (!this.#new || !this.#follows) return;
    this.lines.list.querySelector(":scope > .unread")?.remove();
    this.#new = { from: this.last + 1, upto: Infinity };
  }

  /** Somebody looks again. */
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
  #came(entries) {
    this.#note(entries);
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#ended) return;
      const span = this.room.timeline.spans.at(-1);
      if (!span) return this.moved(); // The room is empty, which is to be said.
      if (this.lines.isEmpty) this.#showUntil(span.last);
      else if (this.#follows && this.last + 1 >= span.first) {
        this.lines.append(span.last);
        this.lines.trimTop();
        this.#toBottom();
        this.#drop();
      } else if (this.#follows) this.#showUntil(span.last);
      else void this.#fill(); // They may be the next ones below what is seen.
      this.#changed();
    });
  }

  /** Takes what is about other entries, and shows those anew. @param {Entry[]} entries */
  #note(entries) {
    for (const slot of this.#fold.take(entries)) this.lines.renewAbout(slot);
    this.#keepEnd();
  }

  #reset() {
    this.lines.clear();
    this.#fold.clear();
    this.#follows = true;
    this.#new = null;
    this.#seen = -1;
  }

  /** Before the first lines are shown: what is new is what was not read until now. */
  #begin() {
    const read = this.read();
    this.#new ??= { from: read < 0 ? Infinity : read + 1, upto: this.room.timeline.latest };
  }

  /** Whether a slot is the first of what is new: the first line of somebody else behind what was read. @param {number} slot */
  #beginsNew(slot) {
    if (!this.#new || slot < this.#new.from || slot > this.#new.upto || !this.#isOthers(slot)) return false;
    for (let before = slot - 1; before >= this.#new.from; before--) {
      if (!this.room.timeline.get(before) || this.#isOthers(before)) return false;
    }
    return true;
  }

  /** @param {number} slot */
  #isOthers(slot) {
    const entry = this.room.timeline.get(slot);
    return entry !== undefined && isLine(entry) && entry.author !== this.acts.me;
  }

  /** Shows the end of a span, anew. @param {number} last */
  #showUntil(last) {
    const span = this.room.timeline.spanOf(last);
    if (!span) return;
    this.#begin();
    this.lines.show(Math.max(span.first, last + 1 - PAGE), last);
    this.#toBottom();
    void this.#fill();
  }

  async #jumpToLatest() {
    try {
      this.#note(await this.room.before(PAGE, this.room.timeline.latest + 1));
      const span = this.room.timeline.spans.at(-1);
      if (!this.#ended && span) this.#showUntil(span.last);
    } catch {
      // The room was left, or the server has another log: what is to be said of it is said elsewhere.
    }
  }

  /** What is followed stays in sight. */
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
    // What has come and waits for the next frame of the screen does not end a following.
    const atEnd = this.#follows || this.last >= end;
    this.#follows = atEnd && this.#isAtEnd();
    this.#changed();
    void this.#fill();
  }

  /** Shows more on either side, where what is seen is near to an end. */
  async #fill() {
    if (this.#loading || this.#ended || this.lines.isEmpty) return;
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
    this.moved();
  }

  /** Reads slots before the window, or shows those that are held; `false` when there are none. */
  async #earlier() {
    const { first } = this.lines, { timeline } = this.room;
    if (first === 0) return false;
    if (!timeline.get(first - 1)) {
      this.#note(await this.room.before(PAGE, first));
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

  /** Reads slots behind the window, or shows those that are held; `false` when there are none. */
  async #later() {
    const { last } = this.lines, { timeline } = this.room;
    if (last >= timeline.latest) return false;
    if (!timeline.get(last + 1)) {
      this.#note(await this.room.behind(last));
      return this.last === last && timeline.get(last + 1) !== undefined;
    }
    const span = timeline.spanOf(last + 1);
    this.lines.keepPlace(() => {
      this.lines.append(Math.min(span?.last ?? last, last + STEP));
      this.lines.trimTop();
    });
    return true;
  }

  /** Drops what is held far from the window; the client reads it again when it is wanted. */
  #drop() {
    const held = this.room.timeline.spans.reduce((sum, { first, last }) => sum + last + 1 - first, 0);
    if (held > MOST_HELD) this.room.timeline.trim(this.lines.first - MOST_HELD / 4, this.last + MOST_HELD / 4);
  }

  /**
   * Says at the top where the log begins, or why nothing is shown.
   * @param {"offline" | "refused" | "bad room" | ""} problem what keeps the first reply away; a notice tells of a bad room
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
        "bad room": "",
        "": "Loading…",
      }[problem];
    }
    const start = the("start");
    if (start.textContent === text && start.hidden === !text) return;
    this.lines.keepPlace(() => {
      start.textContent = text;
      start.hidden = !text;
      start.classList.toggle("empty", this.lines.isEmpty);
    });
    this.#keepEnd();
  }
}
