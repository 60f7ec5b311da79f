// Elements, made of texts and elements; nothing here parses HTML.

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

/** The element that the page has under an id. @param {string} id @returns {any} */
export function the(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

/**
 * Whether a key belongs to an input method that composes text. Safari sends the Enter that ends a composition after
 * `compositionend`, with `isComposing` false; only its key code, 229, tells (WebKit bug 165004).
 * @param {KeyboardEvent} event
 */
export function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}

/**
 * Focuses a text field and puts the caret at its end. When a dialog closes, Chromium focuses what had the focus before,
 * but leaves the caret where the last click put it, so what is typed goes nowhere; `focus()` alone then changes nothing.
 * @param {HTMLTextAreaElement} field
 */
export function focusText(field) {
  field.focus();
  field.setSelectionRange(field.value.length, field.value.length);
}

/** Whether fingers are what points here: focusing a text field would open the keyboard over half of the screen. */
export function isTouch() {
  return matchMedia("(pointer: coarse)").matches;
}
