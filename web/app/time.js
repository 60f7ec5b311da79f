// Times as people read them, in their own zone and language.

/** @typedef {import("../sdk/src/types.js").Entry} Entry */

/** Further apart than this, the author's clock tells when it was said: imported history. In ms. */
const HISTORY_MS = 86_400_000;
/** The last time that a Date can be, by ECMA-262, "Time Values": a slot's may be later. In ms. */
const LAST_MS = 8.64e15;
/** Entries of one author within so long stand under one name. */
export const GROUP_MS = 300_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** When an entry was said. @param {Entry} entry */
export function saidAt({ sent_at, committed_at }) {
  const said = sent_at !== undefined && sent_at < committed_at - HISTORY_MS ? sent_at : committed_at;
  return Math.min(said, LAST_MS);
}

/** @param {number} ms */
export const clockOf = ms => clock.format(ms);
/** @param {number} ms */
export const wholeOf = ms => whole.format(ms);
/** A time without a time of day. @param {number} ms */
export const dateOf = ms => new Date(ms).toDateString();

/** A day's name. @param {number} ms */
export function dayOf(ms, now = Date.now()) {
  if (dateOf(ms) === dateOf(now)) return "Today";
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  return dateOf(ms) === dateOf(yesterday.getTime()) ? "Yesterday" : day.format(ms);
}
