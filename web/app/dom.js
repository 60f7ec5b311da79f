// Elements, built from texts and elements; nothing here parses HTML.

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [attributes] `class`, `title`, `onclick`, `dataset`, …
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/** The element with an id. @param {string} id @returns {any} */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

/**
 * Whether a key belongs to an input method's composition. Safari sends the Enter that ends a composition after
 * `compositionend`, with `isComposing` false; only its key code, 229, shows it (WebKit bug 165004).
 * @param {KeyboardEvent} event
 */
export function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}

/**
 * Focuses a text field and puts the caret at its end. When a dialog closes, Chromium restores the focus but leaves the caret
 * where the last click put it, so typed text is lost, and `focus()` alone changes nothing.
 * @param {HTMLTextAreaElement} field
 */
export function focusText(field) {
  field.focus();
  field.setSelectionRange(field.value.length, field.value.length);
}

/** Whether this is a touch screen, where focusing a text field opens a keyboard over half of the page. */
export function isTouch() {
  return matchMedia("(pointer: coarse)").matches;
}
