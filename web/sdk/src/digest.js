// The digest chain: docs/PROTOCOL.md, "The digest".
//
// In: a room's name, entries in slot order. Out: digests in their wire form. Invariants: equal digests at a slot mean
// equal logs up to that slot; from an entry without a valid salt or commitment on, no digest equals any other.

import { sha256 } from "./sha256.js";

/** @typedef {import("./types.js").Entry} Entry */

const utf8 = new TextEncoder();

/** The input of a hash. */
class Preimage {
  /** @type {Uint8Array[]} */
  #parts = [];
  #length = 0;

  /** @param {Uint8Array} bytes */
  bytes(bytes) {
    this.#parts.push(bytes);
    this.#length += bytes.length;
    return this;
  }

  /** The length as a big-endian u32, then the text as UTF-8. @param {string} text */
  text(text) {
    const bytes = utf8.encode(text), length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, bytes.length);
    return this.bytes(length).bytes(bytes);
  }

  /** @param {number} n below 2^53 */
  u64(n) {
    const bytes = new Uint8Array(8), view = new DataView(bytes.buffer);
    view.setUint32(0, Math.floor(n / 0x1_0000_0000));
    view.setUint32(4, n >>> 0);
    return this.bytes(bytes);
  }

  hash() {
    const all = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return sha256(all);
  }
}

/**
 * D(−1): the digest of an empty room.
 * @param {string} room
 * @returns {string} lower-case hex
 */
export function start(room) {
  return hex(new Preimage().bytes(utf8.encode("roomlog/v1")).text(room).hash());
}

/**
 * D(k): the digest after an entry.
 * @param {string} before D(k−1)
 * @param {Entry} entry
 * @returns {string} lower-case hex
 */
export function after(before, entry) {
  return hex(new Preimage()
    .bytes(fromHex(before))
    .u64(entry.slot)
    .u64(entry.committed_at)
    .text(entry.author)
    .text(entry.id)
    .text(entry.kind ?? "text")
    .u64(entry.ref == null ? 0 : entry.ref + 1)
    .u64(entry.sent_at == null ? 0 : entry.sent_at + 1)
    .bytes(commitmentOf(entry) ?? unverifiable())
    .hash());
}

/**
 * An entry as the server sends it after its redaction. Its digest stays the same.
 * @param {Entry} entry
 * @returns {Entry}
 */
export function redacted(entry) {
  const { body: _, meta: __, salt: ___, ...rest } = entry, commitment = commitmentOf(entry);
  return { ...rest, redacted: true, ...(commitment && { commitment: hex(commitment) }) };
}

/** The hash of salt, body and meta, also if they are redacted; null without a valid one. @param {Entry} entry */
function commitmentOf({ redacted, commitment, salt, body, meta }) {
  if (redacted) return isMatch(commitment, /^[0-9a-f]{64}$/) ? fromHex(commitment) : null;
  if (!isMatch(salt, /^[\w-]{16}$/)) return null;
  const preimage = new Preimage().bytes(fromBase64url(salt)).text(body ?? "");
  return (meta == null ? preimage : preimage.text(meta)).hash();
}

/** In place of a commitment: random, so that the digest differs from every other, even from that of the same entry. */
function unverifiable() {
  return crypto.getRandomValues(new Uint8Array(32));
}

/**
 * Whether a member, which the server may have sent with any type, is a text of this form.
 * @param {unknown} member
 * @param {RegExp} form
 * @returns {member is string}
 */
function isMatch(member, form) {
  return typeof member === "string" && form.test(member);
}

/** @param {Uint8Array} bytes */
export function hex(bytes) {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} text */
function fromHex(text) {
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(text.slice(i * 2, i * 2 + 2), 16);
  return bytes;
}

/** @param {string} text without padding */
function fromBase64url(text) {
  const base64 = text.replaceAll("-", "+").replaceAll("_", "/");
  return Uint8Array.from(atob(base64), char => char.charCodeAt(0));
}
