// The composer: new messages, replies, edits and removals.
//
// In: keys, the message to reply to, edit or remove. Out: appends. Invariants: each room's draft is kept until it is
// sent, also across reloads; what it replies to or edits is dropped when the log changes; an edit is dropped when its
// message is removed; a text that is too long for the server stays in the box.

import { byId, isComposing } from "./dom.js";
import { kept } from "./kept.js";
import { brief } from "./line.js";
import { visible } from "./names.js";
import { bytesOf, wellFormed, withoutEmptyLines } from "./text.js";
import { Unsent, isWritten } from "./unsent.js";

/** From this fraction of the limit on, the remaining bytes are shown. */
const NEAR_LIMIT = 0.9;

/** @typedef {import("./kept.js").About} About */

export class Composer {
  #body = byId("body");
  /** @type {import("../sdk/src/index.js").Room | null} */
  #room = null;
  /** @type {About | null} */
  #about = null;

  /**
   * @param {{
   *   me: () => string | null, mayWrite: (then: () => void) => boolean, editLast: () => void, changed: () => void, sent: () => void,
   *   last: () => import("../sdk/src/types.js").Entry | undefined,
   *   shown: (slot: number) => import("../sdk/src/fold.js").Folded | null | undefined,
   *   scroll: (pages: number) => void, isLive: () => boolean, log: () => string | null, maxBytes: () => number,
   * }} page
   */
  constructor(page) {
    this.page = page;
    const { log, isLive, changed, last } = page;
    this.unsent = new Unsent({ log, isLive, changed, last, edit: it => this.#edit(it), retry: it => this.#retry(it) });
    byId("composer").onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#send();
      this.#body.focus();
    };
    byId("about-drop").onclick = () => this.#drop();
    this.#body.onkeydown = (/** @type {KeyboardEvent} */ event) => this.#key(event);
    this.#body.oninput = () => this.#changed();
  }

  /** @param {import("../sdk/src/index.js").Room} room */
  open(room) {
    this.#room = room;
    const draft = kept.draft(room.name);
    this.#body.placeholder = `Message ${room.name}`;
    this.#fill(draft?.text ?? "", draft?.about ?? null);
    this.unsent.open(room);
    this.connected();
  }

  /** The name of the log may be known now: detaches a reply or an edit of another log. */
  connected() {
    const log = this.page.log();
    if (this.#about && log !== null && this.#about.log !== log) this.detach();
    this.count();
  }

  /** Drops what the draft replies to or edits; the text stays. */
  detach() {
    this.#fill(this.#body.value, null);
  }

  /**
   * Starts a reply or an edit.
   * @param {"reply" | "edit"} kind
   * @param {number} slot
   * @param {import("../sdk/src/fold.js").Folded | null | undefined} shown
   */
  begin(kind, slot, shown) {
    const wasEdit = this.#about?.kind === "edit";
    const text = kind === "edit" ? shown?.body ?? "" : wasEdit ? "" : this.#body.value;
    this.#fill(text, { kind, slot, log: this.page.log() }, shown);
    this.#body.focus();
  }

  /**
   * Removes a message with its edits, which are entries of their own.
   * @param {import("../sdk/src/fold.js").Folded} shown
   */
  remove({ entry: { slot }, edits }) {
    for (const ref of [slot, ...edits]) this.append("", { kind: "redact", ref });
    if (this.#about?.kind === "edit" && this.#about.slot === slot) this.#fill("", null);
  }

  /** Drops an edit of a message that was removed, and the text of such a message above a reply. */
  checkAbout() {
    const about = this.#about, shown = about && this.page.shown(about.slot);
    if (!shown?.gone) return;
    if (about?.kind === "edit") this.#fill("", null);
    else this.#nameAbout(shown);
  }

  /** @param {string} body @param {import("../sdk/src/room.js").AppendOptions} options */
  append(body, options = {}) {
    const made = this.#room?.append(wellFormed(body), dropUndefined(options));
    made?.catch(() => {}); // `Unsent.settled` shows the outcome.
  }

  /**
   * An append of this client has its outcome. A text that its author may not send goes back into the box, with the reason.
   * @param {import("../sdk/src/outbox.js").Outcome} outcome
   */
  settled(outcome) {
    const { append } = outcome;
    const isMine = append.room === this.#room?.name && [undefined, this.page.me()].includes(append.author);
    const isFree = !this.#body.value && !this.#about;
    if (!("error" in outcome) || outcome.error.code !== "forbidden" || !isWritten(append) || !isMine || !isFree) {
      return this.unsent.settled(outcome);
    }
    this.unsent.show();
    this.#edit({ append, message: outcome.error.message, log: this.page.log() });
    this.#refuse(`Not sent: ${outcome.error.message}.`);
  }

  /** Shows the remaining bytes, near the limit. */
  count() {
    const max = this.page.maxBytes(), left = max - bytesOf(withoutEmptyLines(this.#body.value));
    const count = byId("count"), shown = left <= max * (1 - NEAR_LIMIT);
    count.hidden = !shown;
    count.classList.toggle("over", left < 0);
    byId("send").disabled = left < 0;
    if (!shown) count.textContent = "";
    else count.textContent = left < 0 ? `Too long by ${(-left).toLocaleString()} bytes: shorten it, or send it in parts.` : `${left.toLocaleString()} bytes left`;
    this.#body.setAttribute("aria-invalid", String(left < 0));
  }

  /** @param {string} why */
  #refuse(why) {
    byId("refusal").textContent = why;
    byId("refusal").hidden = !why;
  }

  #drop() {
    this.#fill(this.#about?.kind === "edit" ? "" : this.#body.value, null);
    this.#body.focus();
  }

  /** @param {string} text @param {About | null} about @param {import("../sdk/src/fold.js").Folded | null} [shown] */
  #fill(text, about, shown = null) {
    this.#body.value = text;
    this.#about = about;
    byId("about").hidden = about === null;
    this.#nameAbout(shown);
    this.#changed();
  }

  /** @param {import("../sdk/src/fold.js").Folded | null} shown */
  #nameAbout(shown) {
    const whom = shown ? `${visible(shown.entry.author)}: ${brief(shown)}` : "an earlier message";
    byId("about-text").textContent = this.#about?.kind === "edit" ? "Editing your message" : `Replying to ${whom}`;
  }

  #changed() {
    this.#refuse("");
    if (this.#room) kept.setDraft(this.#room.name, { text: this.#body.value, about: this.#about });
    this.count();
  }

  #send() {
    const body = withoutEmptyLines(this.#body.value);
    if (!body || bytesOf(body) > this.page.maxBytes()) return;
    if (!this.page.mayWrite(() => this.#send())) return;
    const about = this.#about, me = /^\/me\s+/.exec(body);
    if (about?.kind === "edit") this.append(body, { kind: "edit", ref: about.slot });
    else if (me) this.append(body.slice(me[0].length), { kind: "action", ref: about?.slot });
    else this.append(body, { ref: about?.slot });
    this.#fill("", null);
    if (about?.kind !== "edit") this.page.sent();
  }

  /** Sends a rejected append again. @param {import("./kept.js").Refused} refused */
  #retry({ append: { body, kind, ref } }) {
    if (!this.page.mayWrite(() => this.append(body, { kind, ref }))) return;
    this.append(body, { kind, ref });
    this.#body.focus();
  }

  /** Puts a rejected append into the box, above the draft. @param {import("./kept.js").Refused} refused */
  #edit({ append: { body, kind, ref }, log }) {
    const isHere = ref !== undefined && log !== null && log === this.page.log();
    const text = kind === "action" ? `/me ${body}` : body, draft = this.#body.value;
    /** @type {About | null} */
    const about = isHere ? { kind: kind === "edit" ? "edit" : "reply", slot: ref, log } : null;
    this.#fill(draft.trim() ? `${text}\n${draft}` : text, about);
    this.#body.focus();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (isComposing(event)) return;
    const isPlain = !event.shiftKey && !event.ctrlKey && !event.altKey && !event.metaKey;
    if (event.key === "Enter" && !event.shiftKey) this.#send();
    else if (event.key === "Escape" && this.#about) this.#drop();
    else if (event.key === "ArrowUp" && isPlain && this.#body.value === "") this.page.editLast();
    else if (event.key === "PageUp" && isPlain) this.page.scroll(-1);
    else if (event.key === "PageDown" && isPlain) this.page.scroll(1);
    else return;
    event.preventDefault();
  }
}

/** @param {Record<string, any>} options */
function dropUndefined(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
