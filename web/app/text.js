// The pieces of a body: text, links, code.
//
// Enters: a body. Leaves: pieces, whose texts together are the body less the marks of code and the line ends beside blocks. Invariant: a
// piece is text to whoever shows it, never HTML; a link is http or https.
// A link ends before a sign that nobody sees: such signs can turn its address around.

/** @typedef {{kind: "text" | "code" | "block" | "link", text: string, href?: string}} Piece */

/** What is more than this is not looked through for links: nobody reads it as a line. */
const LOOKED_THROUGH = 20_000;

const PIECES = /```[^\n`]*\n?([\s\S]*?)```|`([^`\n]+)`|(https?:\/\/[^\s<>"'`\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+)/gi;

/** @param {string} body @returns {Piece[]} */
export function pieces(body) {
  if (body.length > LOOKED_THROUGH) return [{ kind: "text", text: body }];
  /** @type {Piece[]} */
  const all = [];
  let end = 0;
  const text = (/** @type {number} */ until) => {
    if (until > end) all.push({ kind: "text", text: body.slice(end, until) });
  };
  for (const match of body.matchAll(PIECES)) {
    const [whole, block, code, url] = match;
    const at = match.index;
    if (url !== undefined) {
      const link = linkOf(url);
      if (!link) continue;
      text(at);
      all.push(link);
      end = at + link.text.length;
    } else {
      text(at);
      all.push(block !== undefined ? { kind: "block", text: block.replace(/\n$/, "") } : { kind: "code", text: code });
      // A block is a line of its own already.
      end = at + whole.length + (block !== undefined && body[at + whole.length] === "\n" ? 1 : 0);
    }
  }
  text(body.length);
  return all;
}

/** The link that a text begins with, without what belongs to the sentence around it. @param {string} url */
function linkOf(url) {
  let text = url.replace(/[.,;:!?…]+$/, "");
  while (text.endsWith(")") && count(text, ")") > count(text, "(")) text = text.slice(0, -1).replace(/[.,;:!?]+$/, "");
  const parsed = URL.canParse(text) ? new URL(text) : null;
  if (!parsed || !parsed.hostname || !/^https?:$/.test(parsed.protocol)) return null;
  return /** @type {const} */ ({ kind: "link", text, href: parsed.href });
}

/** @param {string} text @param {string} sign */
function count(text, sign) {
  return text.split(sign).length - 1;
}

// From a text: the checker of types does not know the flag yet.
const ONLY_EMOJI = new RegExp("^(?:\\p{RGI_Emoji}\\s*){1,3}$", "v");

/** Whether a body is a few emoji and nothing else. @param {string} body */
export function isEmoji(body) {
  return body.length <= 40 && ONLY_EMOJI.test(body.trim());
}

/**
 * A text without the empty lines around it. Its own lines stay as they are: white space in front of code means something.
 * @param {string} text
 */
export function withoutEmptyLines(text) {
  const lines = text.split("\n"), isFull = (/** @type {string} */ line) => line.trim() !== "";
  return lines.slice(lines.findIndex(isFull), lines.findLastIndex(isFull) + 1).join("\n");
}

const utf8 = new TextEncoder();

/** The length of a text as the server counts it. @param {string} text */
export function bytesOf(text) {
  return utf8.encode(text).length;
}

/** A text without halves of surrogate pairs, which a cut may leave: they are no UTF-8, and no server takes them. @param {string} text */
export function wellFormed(text) {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}
