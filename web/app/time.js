// Times in the user's time zone and language.

/** @typedef {import("../sdk/src/types.js").Entry} Entry */

/** If an entry was sent this long before it was committed, it is imported history, shown at the time it was sent. In ms. */
const HISTORY_MS = 86_400_000;
/** The latest time of a Date (ECMA-262, "Time Values"); an entry's may be later. In ms. */
const LAST_MS = 8.64e15;
/** Entries of one author within this time are grouped under one name, in ms. */
export const GROUP_MS = 300_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** The time at which an entry is shown. @param {Entry} entry */
export function timeOf({ sent_at, committed_at }) {
  const ms = sent_at !== undefined && sent_at < committed_at - HISTORY_MS ? sent_at : committed_at;
  return Math.min(ms, LAST_MS);
}

/** @param {number} ms */
export const clockOf = ms => clock.format(ms);
/** @param {number} ms */
export const timestampOf = ms => full.format(ms);
/** The date of a time. @param {number} ms */
export const dateOf = ms => new Date(ms).toDateString();

/** The name of a day. @param {number} ms */
export function dayOf(ms, now = Date.now()) {
  if (dateOf(ms) === dateOf(now)) return "Today";
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  return dateOf(ms) === dateOf(yesterday.getTime()) ? "Yesterday" : day.format(ms);
}
