// The dialog that asks for the user's name.
//
// In: a problem with the current name, an action that needs a name. Out: a name. Invariants: the dialog can always be closed;
// without a name nothing is sent; a pending action runs once, when the name is set.

import { byId, isComposing } from "./dom.js";
import { problemOf } from "./names.js";
import { wellFormed } from "./text.js";

/** @param {{author: () => string, maxBytes: () => number, named: (name: string) => void, closed: () => void}} page */
export function nameDialog(page) {
  const dialog = byId("who"), input = byId("who-name"), error = byId("who-error");
  /** The action that needs the name. @type {() => void} */
  let then = () => {};
  const say = (/** @type {string} */ problem) => {
    error.textContent = problem;
    error.hidden = !problem;
    input.setAttribute("aria-invalid", String(Boolean(problem)));
  };

  byId("who-later").onclick = () => dialog.close();
  input.oninput = () => say("");
  input.onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && isComposing(event)) event.preventDefault();
  };
  dialog.addEventListener("submit", (/** @type {Event} */ event) => {
    const name = wellFormed(input.value.trim()), problem = problemOf(name, page.maxBytes());
    say(problem);
    if (problem) return event.preventDefault();
    dialog.returnValue = "";
    page.named(name);
    const act = then;
    then = () => {};
    act();
  });
  // The browser restores the focus; the page moves it to where it belongs.
  dialog.addEventListener("close", () => {
    then = () => {};
    page.closed();
  });

  /** @param {string} problem @param {() => void} next */
  return function ask(problem = "", next = () => {}) {
    then = next;
    if (!dialog.open) {
      input.value = page.author();
      dialog.showModal();
      input.select();
    }
    say(problem);
  };
}
