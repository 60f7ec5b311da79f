// The dialog that asks for a name.
//
// Enters: a reason to ask, and what is to be done once there is a name. Leaves: a name. Invariants: it can always be
// closed; while there is no name nothing is sent; what waited for the name is done once, when it is given.

import { isComposing, the } from "./dom.js";
import { problemOf } from "./names.js";
import { wellFormed } from "./text.js";

/** @param {{author: () => string, mostBytes: () => number, named: (name: string) => void, closed: () => void}} page */
export function dialogOfName(page) {
  const dialog = the("who"), input = the("who-name"), error = the("who-error");
  /** What waits for the name. @type {() => void} */
  let then = () => {};
  const say = (/** @type {string} */ problem) => {
    error.textContent = problem;
    error.hidden = !problem;
    input.setAttribute("aria-invalid", String(Boolean(problem)));
  };

  the("who-later").onclick = () => dialog.close();
  input.oninput = () => say("");
  input.onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && isComposing(event)) event.preventDefault();
  };
  dialog.addEventListener("submit", (/** @type {Event} */ event) => {
    const name = wellFormed(input.value.trim()), problem = problemOf(name, page.mostBytes());
    say(problem);
    if (problem) return event.preventDefault();
    dialog.returnValue = "";
    page.named(name);
    const act = then;
    then = () => {};
    act();
  });
  // The browser gives the focus back to what had it; the page says where it belongs.
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
