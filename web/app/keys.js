// The keyboard, while no text field has the focus.
//
// In: keys. Out: actions. Invariant: typed text goes to the composer, unless it is a shortcut of the timeline; the `?` dialog
// lists these.

import { byId } from "./dom.js";

/** @param {import("./line.js").Actions} actions @param {() => import("./view.js").View | null} viewOf */
export function listenToKeys(actions, viewOf) {
  const dialog = byId("keys"), scroller = byId("scroller"), body = byId("body");
  const help = () => dialog.open || dialog.showModal();
  const isText = (/** @type {KeyboardEvent} */ { key }) => [...key].length === 1 && key !== " ";
  byId("help").onclick = help;

  /** Handles the keys of a line. @type {(line: HTMLElement | null, key: string) => boolean} */
  const ofLine = (line, key) => {
    const slot = Number(line?.dataset.slot);
    if (!line || Number.isNaN(slot)) return false;
    const shown = viewOf()?.shown(slot), isMine = shown?.entry.author === actions.me && !shown.gone;
    const tools = (/** @type {string} */ name) => line.querySelectorAll(/** @type {"button"} */ (`.tools .${name}`));
    if (key === "r") actions.reply(slot);
    else if (key === "e" && isMine) actions.edit(slot);
    // The delete key of a Mac is a Backspace.
    else if ((key === "Delete" || key === "Backspace") && isMine) tools("remove")[0]?.click();
    else if (key >= "1" && key <= "3") tools("react")[Number(key) - 1]?.click();
    else return false;
    return true;
  };

  scroller.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = /** @type {HTMLElement} */ (event.target), view = viewOf();
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (by) view?.lines.moveFocus(by);
    else if (event.key === "Home") actions.go(0);
    else if (event.key === "End") {
      actions.toEnd();
      view?.lines.all().at(-1)?.focus({ preventScroll: true });
    }
    else if (event.key === "Escape") body.focus();
    else if (!ofLine(target.closest(".entry"), event.key)) return;
    event.preventDefault();
  });

  document.addEventListener("keydown", event => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.closest("input, textarea, dialog")) return;
    if (event.key === "?") {
      event.preventDefault();
      help();
      // Once the composer has the focus, the browser inserts the character there.
    } else if (isText(event)) body.focus();
  });
}
