// What this browser remembers: who one is, how far one has read each room.
//
// A browser may refuse to remember (private windows, full storage): then it is for this page only.

/** @type {Map<string, string>} */
const here = new Map();

/** @param {string} key @returns {string | null} */
function get(key) {
  try {
    return localStorage.getItem(key) ?? here.get(key) ?? null;
  } catch {
    return here.get(key) ?? null;
  }
}

/** @param {string} key @param {string} value */
function set(key, value) {
  here.set(key, value);
  try {
    localStorage.setItem(key, value);
  } catch {
    // Said above.
  }
}

export const kept = {
  get author() { return get("roomlog.author"); },
  set author(name) { set("roomlog.author", name ?? ""); },

  /** The last slot of a room that was seen, of this log; −1 for none. @param {string | null} log @param {string} room */
  read(log, room) {
    const [slot, of] = (get(`roomlog.read|${room}`) ?? "").split("|");
    return slot !== "" && of === log ? Number(slot) : -1;
  },

  /** @param {string | null} log @param {string} room @param {number} slot */
  setRead(log, room, slot) {
    if (log !== null && slot > this.read(log, room)) set(`roomlog.read|${room}`, `${slot}|${log}`);
  },
};
