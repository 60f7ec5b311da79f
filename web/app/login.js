// The dialog that logs in with a token, on a server that needs one.
//
// In: why to log in, a token. Out: a session: the browser keeps the token in a cookie that no script reads. Invariants: the
// token is in the field and in one request, and nowhere else; the field is emptied when the dialog closes, which it always
// can be.

import { byId, isComposing } from "./dom.js";

/** @param {{begun: () => void, closed: () => void}} page `begun`: there is a session */
export function loginDialog(page) {
  const dialog = byId("login"), input = byId("login-token"), error = byId("login-error"), enter = byId("login-enter");
  const say = (/** @type {string} */ problem) => {
    error.textContent = problem;
    error.hidden = !problem;
    input.setAttribute("aria-invalid", String(Boolean(problem)));
  };

  byId("login-later").onclick = () => dialog.close();
  input.oninput = () => say("");
  input.onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && isComposing(event)) event.preventDefault();
  };
  dialog.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (enter.disabled) return;
    enter.disabled = true;
    const problem = await beginSession(input.value);
    enter.disabled = false;
    say(problem);
    if (problem) return input.select();
    dialog.close();
    page.begun();
  });
  // The browser restores the focus; the page moves it to where it belongs.
  dialog.addEventListener("close", () => {
    input.value = "";
    page.closed();
  });

  /** @param {string} problem */
  return function ask(problem = "") {
    if (!dialog.open) dialog.showModal();
    say(problem);
  };
}

/** Begins a session; returns why there is none, or nothing. @param {string} pasted */
async function beginSession(pasted) {
  // Terminals and mail break long lines.
  const token = pasted.replace(/^\s*bearer\s/i, "").replace(/\s+/g, "");
  if (!/^[!-~]+$/.test(token)) return "This is not a token: it has only letters, digits, dots, dashes and underscores.";
  try {
    const answer = await fetch("v1/session", { method: "POST", headers: { authorization: `Bearer ${token}` } });
    return answer.ok ? "" : sentence((await answer.json()).error.message);
  } catch {
    return "The server cannot be reached. Try again.";
  }
}

/** Ends the session; returns whether the server could be reached. */
export async function endSession() {
  try {
    return (await fetch("v1/session", { method: "DELETE" })).ok;
  } catch {
    return false;
  }
}

/** @param {string} text */
export function sentence(text) {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}
