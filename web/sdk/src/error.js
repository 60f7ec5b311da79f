// What a program gets when something it asked for cannot be.

/** A refusal by the server, or by this client. */
export class RoomlogError extends Error {
  /** @param {import("./types.js").ErrorFrame} frame */
  constructor(frame) {
    super(frame.message);
    this.name = "RoomlogError";
    /** What kind: a code of docs/PROTOCOL.md, "Errors"; or `new_log`, `left`, `closed`, `not_stored`. */
    this.code = frame.code;
    /** The slot that the entry with this id has, of `id_reused`. */
    this.slot = frame.slot;
    /** The latest slot, of `expect_failed`, `ahead` and `diverged`. */
    this.latest = frame.latest;
  }
}
