// What the server takes, as its `hello` says.
//
// Enters: the first frame of each connection. Leaves: limits. Invariant: before the first `hello`, they are those of
// docs/PROTOCOL.md.

/** @type {Pick<import("../sdk/src/types.js").Limits, "body_bytes"> & {author_bytes: number}} */
export const limits = { body_bytes: 16_384, author_bytes: 64 };

/** A WebSocket for the SDK, which has no word for limits. */
export class ListeningSocket extends WebSocket {
  /** @param {string} url @param {string} protocol */
  constructor(url, protocol) {
    super(url, protocol);
    this.addEventListener("message", ({ data }) => hear(data), { once: true });
  }
}

/** @param {string} data */
function hear(data) {
  try {
    const said = JSON.parse(data).limits;
    for (const name of /** @type {(keyof typeof limits)[]} */ (["body_bytes", "author_bytes"])) {
      if (Number.isSafeInteger(said?.[name])) limits[name] = said[name];
    }
  } catch {
    // No frame: the SDK ends the connection for it.
  }
}
