// Names of authors.
//
// In: a name, which its author chose. Out: its visible form, its colour, and whether it is valid. Invariant: invisible
// characters are replaced by a visible one, so names cannot differ invisibly.

/** Control, bidirectional formatting, zero-width and filler characters, which no name needs. */
const INVISIBLE = "\\p{Cc}\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f"
  + "\\u2800\\u3164\\ufeff\\uffa0\\ufff9-\\ufffb\\u{e0000}-\\u{e0fff}";
/** Joiners are needed in emoji, in Arabic script, and after the marks of Indic scripts; elsewhere they are invisible. */
const JOINER = "(?<![\\p{Extended_Pictographic}\\p{Emoji_Modifier}\\p{M}\\p{Script=Arabic}])[\\u200c\\u200d]";
const HIDDEN = new RegExp(`[${INVISIBLE}]|${JOINER}`, "gu");

/** Replaces invisible characters of a name by U+FFFD. @param {string} name */
export function visible(name) {
  return name.replace(HIDDEN, "\ufffd");
}

/** The hue of an author, in degrees: one of twelve, always the same. @param {string} name */
export function hueOf(name) {
  let hash = 7;
  for (const sign of name) hash = (hash * 31 + /** @type {number} */ (sign.codePointAt(0))) % 1_000_003;
  return (hash % 12) * 30;
}

/** Why a name is invalid; empty if it is valid. @param {string} name @param {number} max bytes of UTF-8 */
export function problemOf(name, max) {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes > max) return `This name is too long: it has ${bytes} bytes, and the limit is ${max}.`;
  if (/\p{Cc}/u.test(name)) return "This name contains a control character, such as a tab. Remove it.";
  if (visible(name).replace(/[\ufffd\s]/g, "") === "") return "This name is invisible. Use letters or digits.";
  return "";
}
