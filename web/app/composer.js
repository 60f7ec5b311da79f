// Where one writes: a new entry, a reply, an edit; and what is not in the log yet.
//
// Enters: keys, outcomes. Leaves: appends. Invariants: what was written is in the log, or shown as not sent
// yet, or shown as failed with the reason; a draft is kept for each room while the page is open.

import { make, the } from "./dom.js";
import { contents } from "./line.js";

/** @typedef {import("../sdk/src/types.js").Append} Append */

export class Composer {
  #body = the("body");
  #list = the("pending");
  /** @type {import("../sdk/src/index.js").Room | null} */
  #room = null;
  /** What is replied to or edited. @type {{kind: "reply" | "edit", slot: number} | null} */
  #about = null;
  /** @type {Map<string, string>} */
  #drafts = new Map();
  /** What was refused for good, by room. @type {Map<string, {append: Append, message: string}[]>} */
  #failed = new Map();
  /** What has its outcome and was not seen in the log yet. @type {Map<string, {append: Append, slot: number}>} */
  #landing = new Map();
  /** What the list says now. */
  #shown = "";

  /**
   * @param {{mayWrite: () => boolean, editLast: () => void, changed: () => void, isLive: () => boolean}} page
   */
  constructor(page) {
    this.page = page;
    the("composer").onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#send();
    };
    the("about-drop").onclick = () => this.about(null);
    this.#body.onkeydown = (/** @type {KeyboardEvent} */ event) => this.#key(event);
    // A name is asked for before anything is written, not when it is sent.
    this.#body.onfocus = () => void page.mayWrite();
  }

  /** @param {import("../sdk/src/index.js").Room} room */
  open(room) {
    if (this.#room) this.#drafts.set(this.#room.name, this.#body.value);
    this.#room = room;
    this.#body.value = this.#drafts.get(room.name) ?? "";
    this.#body.placeholder = `Write to ${room.name}`;
    this.about(null);
    this.show();
  }

  /**
   * @param {{kind: "reply" | "edit", slot: number} | null} about
   * @param {import("../sdk/src/fold.js").Folded | null} [shown]
   */
  about(about, shown = null) {
    if (this.#about?.kind === "edit" && about?.kind !== "edit") this.#body.value = "";
    this.#about = about;
    the("about").hidden = about === null;
    if (!about) return;
    const what = shown ? `${shown.entry.author}: ${shown.body.slice(0, 120)}` : `slot ${about.slot}`;
    the("about-text").textContent = `${about.kind === "reply" ? "Reply to" : "Edit"} ${what}`;
    if (about.kind === "edit" && shown) this.#body.value = shown.body;
    this.#body.focus();
  }

  /** An append of this client has its outcome. @param {import("../sdk/src/outbox.js").Outcome} outcome */
  settled(outcome) {
    const { append } = outcome;
    if ("error" in outcome) {
      const failed = this.#failed.get(append.room) ?? [];
      this.#failed.set(append.room, [...failed, { append, message: outcome.error.message }]);
    } else if (isText(append)) {
      this.#landing.set(append.id, { append, slot: outcome.appended.slot });
    }
    this.show();
  }

  /** Shows what is not in the log yet. */
  show() {
    const room = this.#room;
    if (!room) return;
    for (const [id, { append, slot }] of this.#landing) {
      if (append.room !== room.name || slot <= (room.last ?? -1)) this.#landing.delete(id);
    }
    const state = this.page.isLive() ? "sending…" : "will be sent when back";
    const items = [
      ...[...this.#landing.values()].map(it => this.#item(it.append, "sent")),
      ...room.pending.map(append => this.#item(append, state)),
      ...(this.#failed.get(room.name) ?? []).map(it => this.#failedItem(it)),
    ];
    // Most of what moves a page changes nothing here.
    const text = items.map(item => `${item.id} ${item.textContent}`).join("\n");
    if (text === this.#shown) return;
    this.#shown = text;
    this.#list.replaceChildren(...items);
    this.page.changed();
  }

  /** @param {Append} append @param {string} state @param {...Node} more */
  #item(append, state, ...more) {
    const text = append.kind && append.kind !== "text" ? `${append.kind}: ${append.body}` : append.body;
    return make("li", { class: "entry pending", id: `append-${append.id}` }, make("div", {}, contents(text), make("span", { class: "state" }, state, ...more)));
  }

  /** @param {{append: Append, message: string}} failed */
  #failedItem(failed) {
    const { append, message } = failed;
    const again = make("button", { type: "button", onclick: () => this.#again(failed) }, "Try again");
    const drop = make("button", { type: "button", onclick: () => this.#dropFailed(failed) }, "Discard");
    const item = this.#item(append, `Not sent: ${message}. `, again, drop);
    item.classList.add("failed");
    return item;
  }

  /** @param {{append: Append, message: string}} failed */
  #again(failed) {
    const { body, kind, ref } = failed.append;
    this.#dropFailed(failed);
    this.append(body, { kind, ref });
  }

  /** @param {{append: Append, message: string}} failed */
  #dropFailed(failed) {
    const { room } = failed.append;
    this.#failed.set(room, (this.#failed.get(room) ?? []).filter(it => it !== failed));
    this.show();
  }

  /** @param {string} body @param {import("../sdk/src/room.js").AppendOptions} options */
  append(body, options = {}) {
    if (!this.#room || !this.page.mayWrite()) return false;
    // What becomes of it is told to `settled`, which says it in the page.
    this.#room.append(body, dropUndefined(options)).catch(() => {});
    return true;
  }

  #send() {
    const body = this.#body.value.trim();
    if (!body) return;
    const about = this.#about, me = /^\/me\s+/.exec(body);
    let sent;
    if (about?.kind === "edit") sent = this.append(body, { kind: "edit", ref: about.slot });
    else if (me) sent = this.append(body.slice(me[0].length), { kind: "action", ref: about?.slot });
    else sent = this.append(body, { ref: about?.slot });
    if (!sent) return;
    this.#body.value = "";
    this.#about = null;
    this.about(null);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    // While an input method composes, Enter is its own.
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#send();
    } else if (event.key === "Escape" && this.#about) this.about(null);
    else if (event.key === "ArrowUp" && this.#body.value === "") {
      event.preventDefault();
      this.page.editLast();
    }
  }
}

/** @param {Append} append */
function isText({ kind }) {
  return kind === undefined || kind === "text" || kind === "action";
}

/** @param {Record<string, any>} options */
function dropUndefined(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
