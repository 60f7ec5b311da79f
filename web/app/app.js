// The page: rooms beside a timeline, a composer below it.
//
// ```text
//   address (#/room/slot) ─► Rooms · View · Composer ─► the SDK, which does the rest
// ```

import { connect, emojiOf } from "../sdk/src/index.js";
import { Composer } from "./composer.js";
import { the } from "./dom.js";
import { kept } from "./kept.js";
import { Rooms, hashOf, placeOf } from "./rooms.js";
import { View } from "./view.js";

/** Who one is until one says so: who only reads is nobody's author. */
const READER = "reader";
/** How often those who cannot see are told what came, in ms. */
const TOLD_MS = 3_000;

const log = connect(new URL(".", location.href.split("#")[0]).href, { author: kept.author || READER });
/** @type {View | null} */
let view = null;
/** @type {import("../sdk/src/index.js").Room | null} */
let room = null;
let wasLog = /** @type {string | null} */ (null);

const rooms = new Rooms(() => log.id);
const composer = new Composer({
  mayWrite: () => Boolean(kept.author) || ask(),
  editLast: () => {
    const slot = view?.lastOf(acts.me);
    if (slot != null) acts.edit(slot);
  },
  changed: () => view?.follows && view.toEnd(),
  isLive: () => log.status.state === "live" || log.status.state === "catching-up",
});

/** @type {import("./line.js").Acts} */
const acts = {
  get me() { return kept.author || null; },
  reply: slot => composer.about({ kind: "reply", slot }, view?.shown(slot)),
  edit: slot => composer.about({ kind: "edit", slot }, view?.shown(slot)),
  react: (slot, emoji) => {
    const stands = acts.me !== null && view?.shown(slot)?.reactions.get(emojiOf(emoji))?.includes(acts.me);
    composer.append(stands ? "" : emoji, { kind: "reaction", ref: slot });
  },
  go: slot => { location.hash = hashOf(room?.name ?? "", slot); },
  href: slot => hashOf(room?.name ?? "", slot),
};

/** Opens what the address names. */
async function go() {
  const { room: name, slot } = placeOf(location.hash);
  if (room?.name !== name) open(name);
  document.body.classList.remove("rooms-shown");
  if (slot === null) return;
  await begun();
  const found = await view?.to(slot).catch(() => false);
  if (found === false) notice(`Slot ${slot} of ${name} is not there${room?.last == null ? "" : `: the log ends at ${room.last}`}.`);
}

/** @param {string} name */
function open(name) {
  view?.end();
  room?.leave();
  notice("");
  the("room").textContent = name;
  room = log.room(name, { count: 60 });
  const opened = room, read = kept.read(log.id, name);
  view = new View(room, acts, { unreadFrom: read < 0 ? -1 : read + 1, moved });
  room.on("entries", entries => tell(entries));
  room.on("pending", () => composer.show());
  room.on("error", error => notice(`${name} cannot be shown: ${error.message}`));
  room.on("reset", why => {
    const what = why === "new_log" ? "The server has another log than before" : "The server's log is not the one that was shown before";
    notice(`${what}. What follows is what it has now.`);
    if (opened === room) the("start").hidden = true;
  });
  composer.open(room);
  rooms.open(name);
}

/** Waits for the first reply: before it nothing is known of the room. @returns {Promise<void>} */
function begun() {
  const opened = room;
  if (!opened || opened.last !== null) return Promise.resolve();
  return new Promise(begun => {
    const offs = [opened.on("entries", () => end()), log.on("status", ({ state }) => state === "live" && end())];
    const end = () => {
      offs.forEach(off => off());
      begun();
    };
  });
}

/** What is seen has changed. */
function moved() {
  if (!view || !room) return;
  const { behind, follows, last } = view, now = the("now");
  now.hidden = follows || last < 0;
  now.textContent = behind > 0 ? `${behind.toLocaleString()} newer ↓` : "To the newest ↓";
  if (follows && !document.hidden && last >= 0) {
    kept.setRead(log.id, room.name, last);
    rooms.show();
  }
  composer.show();
}

/** @type {{count: number, authors: Set<string>, timer: number}} */
const untold = { count: 0, authors: new Set(), timer: 0 };

/** Tells those who cannot see what came: not each entry, and not what one wrote. @param {{author: string}[]} entries */
function tell(entries) {
  if (log.status.state !== "live") return;
  for (const { author } of entries) {
    if (author === acts.me) continue;
    untold.count++;
    untold.authors.add(author);
  }
  if (untold.count === 0) return;
  untold.timer ||= window.setTimeout(() => {
    const authors = [...untold.authors].slice(0, 3).join(", ");
    the("quiet").textContent = `${untold.count} new from ${authors}`;
    Object.assign(untold, { count: 0, authors: new Set(), timer: 0 });
  }, TOLD_MS);
}

/** @param {import("../sdk/src/connection.js").Status} status */
function say(status) {
  const element = the("status");
  element.dataset.state = status.state;
  element.textContent = {
    connecting: () => "connecting",
    live: () => "live",
    "catching-up": () => `catching up${status.state === "catching-up" && status.behind > 0 ? `: ${status.behind.toLocaleString()}` : ""}`,
    offline: () => "offline: will send when back",
    refused: () => "not let in",
    closed: () => "closed",
  }[status.state]();
  if (status.state === "refused") ask(status.error.message);
  if (log.id !== wasLog) {
    if (wasLog !== null) rooms.clear();
    wasLog = log.id;
  }
  view?.start();
  composer.show();
}

/** Asks for a name; `false`: nothing may be written before it is given. */
function ask(problem = "") {
  const dialog = the("who"), error = the("who-error");
  error.hidden = !problem;
  error.textContent = problem;
  the("who-name").value = kept.author ?? "";
  if (!dialog.open) dialog.showModal();
  return false;
}

function me() {
  the("me").textContent = kept.author ? `You are ${kept.author}` : "Say who you are";
}

/** @param {string} text */
function notice(text) {
  the("notice").textContent = text;
  the("notice").hidden = !text;
}

the("who").addEventListener("submit", () => {
  const author = the("who-name").value.trim();
  if (!author) return;
  kept.author = author;
  log.login({ author });
  me();
  view?.again();
  the("body").focus();
});
the("who-later").onclick = () => {
  the("who").close();
  the("scroller").focus();
};
the("me").onclick = () => ask();
the("now").onclick = () => {
  history.replaceState(null, "", hashOf(room?.name ?? ""));
  view?.toEnd();
};
the("side-open").onclick = () => document.body.classList.add("rooms-shown");
the("side-close").onclick = () => document.body.classList.remove("rooms-shown");
the("scroller").onkeydown = (/** @type {KeyboardEvent} */ event) => {
  const target = /** @type {HTMLElement} */ (event.target), line = /** @type {HTMLElement | null} */ (target.closest(".entry[data-slot]"));
  const slot = Number(line?.dataset.slot);
  const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (by && view?.moveFocus(by)) event.preventDefault();
  else if (line && event.key === "r") acts.reply(slot);
  else if (line && event.key === "e" && view?.shown(slot)?.entry.author === acts.me) acts.edit(slot);
  else if (line && event.key >= "1" && event.key <= "3") line.querySelectorAll(/** @type {"button"} */ (".tools button"))[Number(event.key) - 1]?.click();
  else if (event.key === "Escape") the("body").focus();
  else return;
  event.preventDefault();
};
document.addEventListener("visibilitychange", moved);
window.addEventListener("hashchange", () => void go());

log.on("status", say);
log.on("heads", heads => rooms.moved(heads));
log.on("error", error => notice(error.message));
log.on("settled", outcome => composer.settled(outcome));
log.watch();
me();
say(log.status);
void go();
if (kept.author === null) ask();
