// Ids of appends: UUIDv7, RFC 9562, section 5.7.

import { hex } from "./digest.js";

/**
 * Returns a new unique id.
 * @param {number} [now] ms since the Unix epoch
 */
export function newId(now = Date.now()) {
  // Not `crypto.randomUUID`: pages over plain http do not have it.
  const bytes = crypto.getRandomValues(new Uint8Array(16)), view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(now / 0x1_0000));
  view.setUint16(4, now % 0x1_0000);
  view.setUint8(6, 0x70 | (view.getUint8(6) & 0x0f));
  view.setUint8(8, 0x80 | (view.getUint8(8) & 0x3f));
  return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
