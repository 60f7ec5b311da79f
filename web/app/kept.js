// What this browser stores: the user's name, and for each room the read mark, the draft, and rejected appends.
//
// ```text
//   roomlog.author               a name
//   roomlog.read|general         "41|<log>": the last slot that was read, and of which log
//   roomlog.draft|general        a Draft, as JSON
//   roomlog.refused|general      Refused[], as JSON
// ```
//
// Invariants: nothing here throws; what the browser refuses to store (private windows, blocked or full storage) is kept until
// the page closes. Each slot is stored with the name of its log. Pages under different paths of a host belong to different
// servers, so keys contain the path.

/**
 * A draft.
 * @typedef {{text: string, about?: About | null}} Draft
 * What a draft replies to or edits: a slot of a log.
 * @typedef {{kind: "reply" | "edit", slot: number, log: string | null}} About
 * An append that was rejected for good; `log` is the log that its `ref` belongs to.
 * @typedef {{append: import("../sdk/src/types.js").Append, message: string, log: string | null}} Refused
 */

const path = globalThis.location ? new URL(".", location.href).pathname : "/";
/** Room names contain neither "|" nor "/", so a path is not mistaken for a room. */
const below = path === "/" ? "" : `${path}|`;

/** Values that the browser did not store; newer than those that it has. @type {Map<string, string>} */
const unstored = new Map();

/** @param {string} key @returns {string | null} */
function get(key) {
  try {
    return unstored.get(key) ?? localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** @param {string} key @param {string} value removes the key if empty */
function set(key, value) {
  try {
    if (value) localStorage.setItem(key, value);
    else localStorage.removeItem(key);
    unstored.delete(key);
  } catch {
    unstored.set(key, value);
  }
}

/** @param {string} key @returns {any} null if it is not JSON */
function parsed(key) {
  try {
    return JSON.parse(get(key) || "null");
  } catch {
    return null;
  }
}

export const kept = {
  get author() { return get("roomlog.author"); },
  set author(name) { set("roomlog.author", name ?? ""); },

  /** The last slot of a room that was read, in this log; −1 if none. @param {string | null} log @param {string} room */
  read(log, room) {
    const [slot, of] = (get(`roomlog.read|${below}${room}`) ?? "").split("|");
    return /^\d{1,16}$/.test(slot) && of === log ? Number(slot) : -1;
  },

  /** @param {string | null} log @param {string} room @param {number} slot */
  setRead(log, room, slot) {
    if (log !== null && slot > this.read(log, room)) set(`roomlog.read|${below}${room}`, `${slot}|${log}`);
  },

  /** @param {string} room @returns {Draft | null} */
  draft(room) {
    const draft = parsed(`roomlog.draft|${below}${room}`);
    return typeof draft?.text === "string" ? draft : null;
  },

  /** @param {string} room @param {Draft} draft */
  setDraft(room, draft) {
    set(`roomlog.draft|${below}${room}`, draft.text || draft.about ? JSON.stringify(draft) : "");
  },

  /** @param {string} room @returns {Refused[]} */
  refused(room) {
    const all = parsed(`roomlog.refused|${below}${room}`);
    return Array.isArray(all) ? all.filter(it => typeof it?.append?.body === "string" && typeof it.append.id === "string") : [];
  },

  /** @param {string} room @param {Refused[]} refused */
  setRefused(room, refused) {
    set(`roomlog.refused|${below}${room}`, refused.length > 0 ? JSON.stringify(refused) : "");
  },
};
