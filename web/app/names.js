// Names of authors, as they are shown.
//
// Enters: a name, which its author chose. Leaves: what to show of it, its colour, what is wrong with it. Invariant: a
// sign that cannot be seen is shown as one that can, so that two names that look alike are one name.

/** Controls, marks of direction, white space without width, fillers. They join or hide nothing that a name needs. */
const UNSEEN = "\\p{Cc}\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f"
  + "\\u2800\\u3164\\ufeff\\uffa0\\ufff9-\\ufffb\\u{e0000}-\\u{e0fff}";
/** Joiners belong to emoji, to Arabic letters, and behind marks as scripts of India have them; elsewhere nobody sees them. */
const JOINER = "(?<![\\p{Extended_Pictographic}\\p{Emoji_Modifier}\\p{M}\\p{Script=Arabic}])[\\u200c\\u200d]";
const HIDDEN = new RegExp(`[${UNSEEN}]|${JOINER}`, "gu");

/** A name with a visible sign in the place of each that cannot be seen. @param {string} name */
export function visible(name) {
  return name.replace(HIDDEN, "\ufffd");
}

/** The hue of an author, in degrees: always the same, and one of twelve that can be told apart. @param {string} name */
export function hueOf(name) {
  let hash = 7;
  for (const sign of name) hash = (hash * 31 + /** @type {number} */ (sign.codePointAt(0))) % 1_000_003;
  return (hash % 12) * 30;
}

/** Why a name cannot be taken, or nothing. @param {string} name @param {number} most bytes */
export function problemOf(name, most) {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes > most) return `This name is too long: it has ${bytes} bytes, and ${most} are allowed.`;
  if (/\p{Cc}/u.test(name)) return "This name contains a control character, such as a tab. Remove it.";
  if (visible(name).replace(/[\ufffd\s]/g, "") === "") return "This name cannot be seen. Use letters or digits.";
  return "";
}
