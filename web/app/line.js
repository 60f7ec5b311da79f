// An entry as a list item.
//
// In: an entry in its current form. Out: a list item. Invariant: an author's text is never HTML, and its direction, length
// and combining marks do not affect other lines.

import { make } from "./dom.js";
import { hueOf, visible } from "./names.js";
import { isEmoji, pieces } from "./text.js";
import { GROUP_MS, clockOf, timeOf, timestampOf } from "./time.js";

/** A body with more UTF-16 units or lines than this is collapsed at first. */
const LONG = 2_000, LONG_LINES = 24;
/** The reactions that have a button; the first three also have a key. */
export const EMOJI = ["👍", "❤️", "😂", "🎉", "👀"];

/**
 * The user and the actions on a line.
 * @typedef {object} Actions
 * @property {string | null} me
 * @property {(slot: number) => void} reply
 * @property {(slot: number) => void} edit
 * @property {(slot: number) => void} remove
 * @property {(slot: number, emoji: string) => void} react sets a reaction, or removes it if it is set
 * @property {(slot: number) => void} go
 * @property {() => void} toEnd
 * @property {(slot: number) => string} href
 */

/**
 * @param {import("../sdk/src/fold.js").Folded} shown
 * @param {{head: boolean, quoted: import("../sdk/src/fold.js").Folded | null}} place
 * @param {Actions} actions
 */
export function lineOf(shown, { head, quoted }, actions) {
  const { entry, reactions } = shown, { slot } = entry;
  const ms = timeOf(entry), kind = entry.kind ?? "text";
  const classes = ["entry", head && "head", kind === "action" && "action", shown.gone && "gone"].filter(Boolean);
  const time = make("time", { datetime: new Date(ms).toISOString(), title: `${timestampOf(ms)} · #${slot}` }, clockOf(ms));
  const block = make("div");
  if (head || kind === "action") block.append(author(entry.author));
  if (entry.ref !== undefined) block.append(quote(entry.ref, quoted, actions));
  if (kind !== "text" && kind !== "action") block.append(make("span", { class: "kind" }, kind), " ");
  block.append(...bodyOf(shown));
  if (reactions.size > 0) block.append(reactionsOf(slot, reactions, actions));
  return make(
    "li",
    { class: classes.join(" "), id: `slot-${slot}`, "data-slot": slot, "data-ref": entry.ref, tabindex: -1 },
    make("a", { href: actions.href(slot), tabindex: -1, "aria-label": `${clockOf(ms)}, link to this message` }, time),
    block,
  );
}

/**
 * Adds the buttons of a line, when the pointer or the focus enters it: for all lines, they would be most of the elements of
 * the page.
 * @param {Element} line @param {import("../sdk/src/fold.js").Folded} shown @param {Actions} actions
 */
export function addTools(line, shown, actions) {
  if (!line.querySelector(":scope > .tools")) line.append(tools(shown, actions));
}

/**
 * Whether a line starts with its author's name: not after another line of the same author.
 * @param {{author?: string, kind?: string, ref?: number}} line @param {number} ms
 * @param {{author?: string, kind?: string} | undefined} before @param {number} msBefore
 */
export function isHead(line, ms, before, msBefore) {
  return !before || before.author !== line.author || (before.kind ?? "text") !== (line.kind ?? "text")
    || ms - msBefore > GROUP_MS || line.ref !== undefined;
}

/** An author's name, in its own colour and direction. @param {string} name */
export function author(name) {
  const element = make("bdi", { class: "author" }, visible(name));
  element.style.setProperty("--hue", String(hueOf(name)));
  return element;
}

/** @param {import("../sdk/src/fold.js").Folded} shown @returns {Node[]} */
function bodyOf({ body, edited, gone }) {
  if (gone) return [make("div", { class: "body" }, "Message removed")];
  const element = contents(body);
  /** @type {Node[]} */
  const parts = [element];
  if (body.length > LONG || body.split("\n", LONG_LINES + 1).length > LONG_LINES) parts.push(more(element));
  if (edited) parts.push(make("span", { class: "edited" }, "edited"));
  return parts;
}

/** A body, as a block with its own direction. @param {string} body */
export function contents(body) {
  const element = make("div", { class: isEmoji(body) ? "body emoji" : "body", dir: "auto" });
  for (const piece of pieces(body)) {
    if (piece.kind === "text") element.append(piece.text);
    else if (piece.kind === "code") element.append(make("code", {}, piece.text));
    else if (piece.kind === "block") element.append(make("pre", {}, make("code", {}, piece.text)));
    else element.append(make("a", { href: piece.href, target: "_blank", rel: "noopener noreferrer nofollow", tabindex: -1 }, piece.text));
  }
  return element;
}

/** @param {HTMLElement} body */
function more(body) {
  body.classList.add("long");
  const button = make("button", { type: "button", class: "more", tabindex: -1, "aria-expanded": "false" }, "Show more");
  button.onclick = () => {
    const long = body.classList.toggle("long");
    button.textContent = long ? "Show more" : "Show less";
    button.setAttribute("aria-expanded", String(!long));
  };
  return button;
}

/** A message in one line, for what is about it. @param {import("../sdk/src/fold.js").Folded} shown */
export function brief({ body }) {
  return body.slice(0, 200).replace(/\s+/g, " ") || "Message removed";
}

/** @param {number} slot @param {import("../sdk/src/fold.js").Folded | null} quoted @param {Actions} actions */
function quote(slot, quoted, actions) {
  const text = quoted ? brief(quoted) : "an earlier message";
  const button = make("button", { type: "button", class: "quote", tabindex: -1, title: "Go to this message", onclick: () => actions.go(slot) });
  if (quoted) button.append(make("bdi", {}, visible(quoted.entry.author)), ": ");
  button.append(make("bdi", {}, text));
  return button;
}

/** @param {number} slot @param {Map<string, string[]>} reactions @param {Actions} actions */
function reactionsOf(slot, reactions, actions) {
  const chips = [...reactions].map(([emoji, authors]) => {
    const mine = actions.me !== null && authors.includes(actions.me), names = authors.map(visible).join(", ");
    const attributes = { type: "button", tabindex: -1, title: names, "aria-pressed": String(mine), onclick: () => actions.react(slot, emoji) };
    // By code points: half a surrogate pair would be shown as a box.
    return make("button", attributes, make("span", {}, make("bdi", {}, [...emoji].slice(0, 16).join("")), ` ${authors.length}`));
  });
  return make("div", { class: "reactions" }, ...chips);
}

/** @param {import("../sdk/src/fold.js").Folded} shown @param {Actions} actions */
function tools({ entry, gone }, actions) {
  const { slot } = entry;
  const button = (/** @type {string} */ text, /** @type {string} */ label, /** @type {() => void} */ act, sort = "") => (
    make("button", { type: "button", class: sort, tabindex: -1, "aria-label": label, title: label, onclick: act }, text)
  );
  const all = gone ? [] : EMOJI.slice(0, 3).map(emoji => button(emoji, `React with ${emoji}`, () => actions.react(slot, emoji), "react"));
  all.push(button("↩", "Reply (r)", () => actions.reply(slot)));
  if (!gone && entry.author === actions.me) {
    if ((entry.kind ?? "text") === "text") all.push(button("✎", "Edit (e)", () => actions.edit(slot)));
    all.push(button("✕", "Remove (Delete)", () => askToRemove(slot, actions), "remove"));
  }
  return make("div", { class: "tools" }, ...all);
}

/**
 * Asks in its line whether to remove a message. The button that keeps it has the focus: a removal cannot be undone.
 * @param {number} slot @param {Actions} actions
 */
function askToRemove(slot, actions) {
  const line = document.getElementById(`slot-${slot}`), question = "Remove this message for everyone?";
  document.querySelector(".confirm")?.remove();
  const close = () => {
    confirm.remove();
    line?.focus({ preventScroll: true });
  };
  const remove = make("button", { type: "button", class: "danger", onclick: () => {
    close();
    actions.remove(slot);
  } }, "Remove");
  const keep = make("button", { type: "button", onclick: close }, "Keep");
  const attributes = { class: "confirm", role: "group", "aria-label": question };
  const confirm = make("div", attributes, make("span", {}, question), remove, keep);
  confirm.onkeydown = event => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close();
  };
  line?.querySelector(":scope > div")?.append(confirm);
  keep.focus();
}
