// The pieces of a body: text, links, code.
//
// In: a body. Out: pieces, whose texts together are the body without code marks and the line breaks around blocks.
// Invariants: a piece is text, never HTML; a link is http or https, and ends before an invisible character, since such
// characters can reorder the address.

/** @typedef {{kind: "text" | "code" | "block" | "link", text: string, href?: string}} Piece */

/** Longer bodies, in UTF-16 units, are shown as plain text. */
const MAX_PARSED = 20_000;

const PIECES = /```[^\n`]*\n?([\s\S]*?)```|`([^`\n]+)`|(https?:\/\/[^\s<>"'`\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+)/gi;

/** @param {string} body @returns {Piece[]} */
export function pieces(body) {
  if (body.length > MAX_PARSED) return [{ kind: "text", text: body }];
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
      // A block has its own line already.
      end = at + whole.length + (block !== undefined && body[at + whole.length] === "\n" ? 1 : 0);
    }
  }
  text(body.length);
  return all;
}

/** The link at the start of a text, without the punctuation of the sentence around it. @param {string} url */
function linkOf(url) {
  let text = url.replace(/[.,;:!?…]+$/, "");
  while (text.endsWith(")") && count(text, ")") > count(text, "(")) text = text.slice(0, -1).replace(/[.,;:!?]+$/, "");
  const parsed = URL.canParse(text) ? new URL(text) : null;
  if (!parsed || !parsed.hostname || !/^https?:$/.test(parsed.protocol)) return null;
  return /** @type {const} */ ({ kind: "link", text, href: parsed.href });
}

/** @param {string} text @param {string} character */
function count(text, character) {
  return text.split(character).length - 1;
}

// Built from a string: the type checker does not know the `v` flag yet.
const ONLY_EMOJI = new RegExp("^(?:\\p{RGI_Emoji}\\s*){1,3}$", "v");

/** Whether a body is one to three emoji and nothing else. @param {string} body */
export function isEmoji(body) {
  return body.length <= 40 && ONLY_EMOJI.test(body.trim());
}

/**
 * Removes empty lines at both ends of a text. Indentation stays: it matters in code.
 * @param {string} text
 */
export function withoutEmptyLines(text) {
  const lines = text.split("\n"), isFull = (/** @type {string} */ line) => line.trim() !== "";
  return lines.slice(lines.findIndex(isFull), lines.findLastIndex(isFull) + 1).join("\n");
}

const utf8 = new TextEncoder();

/** The length of a text in bytes of UTF-8, as the server counts it. @param {string} text */
export function bytesOf(text) {
  return utf8.encode(text).length;
}

/** Replaces lone surrogates, which are not valid UTF-8, so that the server accepts the text. @param {string} text */
export function wellFormed(text) {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}
