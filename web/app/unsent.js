// The messages that are not in the log: in flight, waiting for the connection, or rejected.
//
// In: the appends of the open room and their outcomes. Out: list items below the timeline. Invariants: a message is in the
// timeline or shown here; a rejected one stays, also across reloads, until its author sends or discards it.

import { byId, make } from "./dom.js";
import { kept } from "./kept.js";
import { author, contents, isHead } from "./line.js";
import { timeOf } from "./time.js";

/** @typedef {import("../sdk/src/types.js").Append} Append */
/** @typedef {import("./kept.js").Refused} Refused */

export class Unsent {
  #list = byId("pending");
  /** @type {import("../sdk/src/index.js").Room | null} */
  #room = null;
  /** Appends that are in the log, but not in the timeline yet. @type {Map<string, {append: Append, slot: number}>} */
  #landing = new Map();
  /** The texts in the list. */
  #shown = "";

  /**
   * @param {{
   *   log: () => string | null, isLive: () => boolean, changed: () => void,
   *   last: () => import("../sdk/src/types.js").Entry | undefined,
   *   edit: (refused: Refused) => void, retry: (refused: Refused) => void,
   * }} page
   */
  constructor(page) {
    this.page = page;
  }

  /** @param {import("../sdk/src/index.js").Room} room */
  open(room) {
    this.#room = room;
    this.show();
  }

  /** An append of this client has its outcome. @param {import("../sdk/src/outbox.js").Outcome} outcome */
  settled(outcome) {
    const { append } = outcome;
    if ("error" in outcome) {
      // With these codes, its `ref` belongs to an earlier log.
      const log = ["new_log", "diverged"].includes(outcome.error.code) ? null : this.page.log();
      kept.setRefused(append.room, [...kept.refused(append.room), { append, message: outcome.error.message, log }]);
    } else if (isText(append)) {
      this.#landing.set(append.id, { append, slot: outcome.appended.slot });
    }
    this.show();
  }

  show() {
    const room = this.#room;
    if (!room) return;
    for (const [id, { append, slot }] of this.#landing) {
      if (append.room !== room.name || slot <= (room.last ?? -1)) this.#landing.delete(id);
    }
    const state = this.page.isLive() ? "Sending…" : "Waiting to be sent";
    const items = [
      ...[...this.#landing.values()].map(it => ({ append: it.append, element: item(it.append, "Sent") })),
      ...room.pending.map(append => ({ append, element: item(append, state) })),
      ...kept.refused(room.name).map(it => ({ append: it.append, element: this.#refused(it) })),
    ];
    this.#name(items);
    // Most calls change nothing.
    const text = items.map(({ element }) => `${element.id} ${element.textContent}`).join("\n");
    if (text === this.#shown) return;
    this.#shown = text;
    this.#list.replaceChildren(...items.map(({ element }) => element));
    this.page.changed();
  }

  /** Adds authors as the timeline does: once per group of lines. @param {{append: Append, element: HTMLElement}[]} items */
  #name(items) {
    const last = this.page.last();
    /** @type {{author?: string, kind?: string} | undefined} */
    let before = last, msBefore = last ? timeOf(last) : 0;
    for (const { append, element } of items) {
      const ms = append.sent_at ?? Date.now(), head = isHead(append, ms, before, msBefore);
      element.classList.toggle("head", head);
      if ((head || append.kind === "action") && append.author) element.querySelector("div")?.prepend(author(append.author));
      [before, msBefore] = [append, ms];
    }
  }

  /** @param {Refused} refused */
  #refused(refused) {
    const act = (/** @type {string} */ text, /** @type {() => void} */ act) => make("button", { type: "button", onclick: () => {
      this.#drop(refused);
      act();
    } }, text);
    const buttons = [act("Discard", () => byId("body").focus())];
    if (!this.#isLost(refused)) buttons.unshift(act("Try again", () => this.page.retry(refused)));
    if (isWritten(refused.append)) buttons.unshift(act("Edit", () => this.page.edit(refused)));
    const element = item(refused.append, `Not sent: ${refused.message}`, ...buttons);
    element.classList.add("failed");
    return element;
  }

  /** Whether it refers to a slot of another log, so that it cannot be sent as it is. @param {Refused} refused */
  #isLost({ append, log }) {
    return append.ref !== undefined && (log === null || (this.page.log() !== null && log !== this.page.log()));
  }

  /** @param {Refused} refused */
  #drop({ append }) {
    kept.setRefused(append.room, kept.refused(append.room).filter(it => it.append.id !== append.id));
    this.show();
  }
}

/** @param {Append} append @param {string} state @param {...Node} more its buttons */
function item(append, state, ...more) {
  const { kind, ref, body } = append;
  const text = isText(append) ? body : kind === "redact" ? `Removal of message #${ref}` : `${kind}: ${body}`;
  const block = make("div", {}, contents(text), make("span", { class: "state" }, state), make("div", {}, ...more));
  return make("li", { class: `entry pending${kind === "action" ? " action" : ""}`, id: `append-${append.id}` }, block);
}

/** @param {Append} append */
function isText({ kind }) {
  return kind === undefined || kind === "text" || kind === "action";
}

/** Whether its text was written in the composer. @param {Append} append */
export function isWritten({ kind }) {
  return kind !== "reaction" && kind !== "redact";
}
