// The page: rooms beside a timeline, a composer below it.
//
// ```text
//   address (#/room/slot) ─► Rooms · View · Composer ─► the SDK, which does the rest
// ```

import { connect, emojiOf } from "../sdk/src/index.js";
import { Composer } from "./composer.js";
import { byId, focusText, isTouch } from "./dom.js";
import { kept } from "./kept.js";
import { listenToKeys } from "./keys.js";
import { visible } from "./names.js";
import { Recent } from "./recent.js";
import { Rooms, hashOf, markOf, placeOf } from "./rooms.js";
import { View } from "./view.js";
import { nameDialog } from "./who.js";

/** The author of the connection while no name is set. Nothing is appended under it. */
const READER = "reader";
/** The least interval between announcements of new messages to screen readers, in ms. */
const ANNOUNCE_MS = 3_000;
/** Shorter losses of the connection are not shown, in ms. */
const SHORT_MS = 700;
/** The limits until the server has sent its own: the defaults of docs/PROTOCOL.md. */
const LIMITS = { body_bytes: 16_384, author_bytes: 64 };
/** How much of the timeline's height PageUp and PageDown scroll. */
const PAGE = 0.9;

const log = connect(new URL(".", location.href.split("#")[0]).href, { author: kept.author || READER });
/** @type {View | null} */
let view = null;
/** @type {import("../sdk/src/index.js").Room | null} */
let room = null;
/** Whether the server refuses to let the open room be followed. */
let isRefused = false;
/** Removes the listeners of the open room. @type {(() => void)[]} */
let offs = [];
/** The author of the connection. */
let connectedAuthor = kept.author;

const recent = new Recent(log);
const isLive = () => log.status.state === "live" || log.status.state === "catching-up";
const rooms = new Rooms(() => log.id, () => actions.me);
const composer = new Composer({
  mayWrite: then => Boolean(kept.author) || ask("", then),
  editLast: () => {
    const slot = view?.lastOf(actions.me);
    if (slot != null) actions.edit(slot);
  },
  changed: () => view?.follows && view.toEnd(),
  last: () => view?.lines.lastLine,
  sent: () => actions.toEnd(),
  // Not the scroller's own height: the "Jump to latest" button changes it, and PageUp then PageDown must lead back.
  scroll: pages => view?.scrollBy(pages * PAGE * (byId("composer").offsetTop - byId("scroller").offsetTop)),
  isLive,
  log: () => log.id,
  maxBytes: () => log.limits?.body_bytes ?? LIMITS.body_bytes,
});

/** @type {import("./line.js").Actions} */
const actions = {
  get me() { return kept.author || null; },
  reply: slot => composer.begin("reply", slot, view?.shown(slot)),
  edit: slot => composer.begin("edit", slot, view?.shown(slot)),
  react: (slot, emoji) => {
    const opened = room;
    const act = () => {
      if (room !== opened) return;
      const isSet = view?.shown(slot)?.reactions.get(emojiOf(emoji))?.includes(actions.me ?? "");
      composer.append(isSet ? "" : emoji, { kind: "reaction", ref: slot });
    };
    if (kept.author) act();
    else ask("", act);
  },
  go: slot => {
    const hash = actions.href(slot);
    if (location.hash === hash) void go();
    else location.hash = hash;
  },
  // Removes the slot from the address: a reload shows the end, too.
  toEnd: () => {
    history.replaceState(null, "", hashOf(room?.name ?? ""));
    view?.toEnd();
  },
  href: slot => hashOf(room?.name ?? "", slot, log.id),
};
const askName = nameDialog({
  author: () => kept.author ?? "",
  maxBytes: () => log.limits?.author_bytes ?? LIMITS.author_bytes,
  named: name => {
    kept.author = name;
    login();
  },
  closed: () => kept.author || !isTouch() ? focusText(byId("body")) : byId("scroller").focus(),
});

/** Opens the room and the slot of the address. */
async function go() {
  const { room: name, slot, mark } = placeOf(location.hash);
  if (room?.name !== name) open(name);
  rooms.drawer(false);
  if (slot === null) return focusComposer();
  const opened = room;
  await joined();
  if (opened !== room) return;
  const isOther = mark !== null && log.id !== null && mark !== markOf(log.id);
  const found = !isOther && await view?.to(slot).catch(() => false);
  if (opened !== room || found || isRefused) return;
  const end = opened?.last ?? -1;
  if (isOther) notice("This link leads to a message of an earlier log, which the server no longer has.");
  else notice(end < slot ? `There is no message #${slot} in ${name} yet.` : `Message #${slot} cannot be shown now. Try again when you are connected.`);
  focusComposer();
}

/** Focuses the composer, but not on a touch screen, where the keyboard would cover the messages. */
function focusComposer() {
  if (!isTouch() && !document.querySelector("dialog[open]")) byId("body").focus();
}

/** @param {string} name */
function open(name) {
  view?.end();
  offs.forEach(off => off());
  notice("");
  byId("room").textContent = name;
  byId("room").title = name;
  isRefused = false;
  const opened = room = recent.open(name);
  view = new View(room, actions, { read: () => kept.read(log.id, name), moved });
  offs = [
    room.on("entries", entries => {
      isRefused = false;
      announce(entries);
    }),
    room.on("pending", () => composer.unsent.show()),
    room.on("error", error => {
      isRefused = opened.last === null;
      notice(error.message);
      moved();
    }),
    room.on("reset", why => {
      notice(`${why === "new_log" ? "The server now has another log" : "The server’s log has changed"}. These are the messages it has now.`);
      history.replaceState(null, "", hashOf(name));
      composer.detach();
      moved();
    }),
  ];
  composer.open(room);
  rooms.open(name);
  moved();
}

/** Waits for the first reply of the open room. @returns {Promise<void>} */
function joined() {
  const opened = room;
  if (!opened || opened.last !== null) return Promise.resolve();
  return new Promise(done => {
    const offs = [
      opened.on("entries", () => end()),
      opened.on("error", () => end()),
      log.on("status", ({ state }) => state === "live" && end()),
    ];
    const end = () => {
      offs.forEach(off => off());
      done();
    };
  });
}

/** Updates everything that depends on the place in the timeline. */
function moved() {
  if (!view || !room) return;
  const { behind, follows, last } = view, now = byId("now");
  now.hidden = follows || last < 0;
  now.textContent = `Jump to latest${behind > 0 ? ` (${behind.toLocaleString()} new)` : ""}`;
  if (follows && !document.hidden && last >= 0) {
    kept.setRead(log.id, room.name, last);
    rooms.show();
  }
  const { state } = byId("status").dataset;
  view.start(isRefused ? "bad room" : state === "offline" || state === "refused" ? state : "");
  composer.unsent.show();
}

/** Messages that are not announced yet. @type {{count: number, authors: Set<string>, timer: number}} */
const unannounced = { count: 0, authors: new Set(), timer: 0 };

/** Announces messages of others to screen readers: how many, not each of them. @param {{author: string}[]} entries */
function announce(entries) {
  if (log.status.state !== "live") return;
  for (const { author } of entries) {
    if (author === actions.me) continue;
    unannounced.count++;
    unannounced.authors.add(author);
  }
  if (unannounced.count === 0) return;
  unannounced.timer ||= window.setTimeout(() => {
    const authors = [...unannounced.authors].slice(0, 3).map(visible).join(", ");
    byId("quiet").textContent = `${unannounced.count} new from ${authors}`;
    Object.assign(unannounced, { count: 0, authors: new Set(), timer: 0 });
  }, ANNOUNCE_MS);
}

let lossTimer = 0;

/** Shows a new status, a loss of the connection after SHORT_MS. @param {import("../sdk/src/connection.js").Status} status */
function statusChanged(status) {
  const isLost = status.state === "offline", wasLost = byId("status").dataset.state === "offline";
  if (isLost && !wasLost) {
    lossTimer ||= window.setTimeout(() => show(status), SHORT_MS);
  } else if (status.state !== "connecting") {
    window.clearTimeout(lossTimer);
    lossTimer = 0;
    show(status);
  // A retry keeps "Offline".
  } else if (!wasLost) show(status);
  if (status.state === "refused") ask(status.error.message);
  composer.connected();
  moved();
}

/** @param {import("../sdk/src/connection.js").Status} status */
function show(status) {
  const element = byId("status");
  element.dataset.state = status.state;
  element.textContent = {
    connecting: () => "Connecting…",
    live: () => "live",
    "catching-up": () => `Catching up${status.state === "catching-up" && status.behind > 0 ? `: ${status.behind.toLocaleString()} to go` : "…"}`,
    offline: () => "Offline: reconnecting. Your messages will be sent.",
    refused: () => "Not connected",
    closed: () => "Closed",
  }[status.state]();
  moved();
}

/** Asks for a name, and calls `next` when it is set. Returns false: for now, nothing can be sent. */
function ask(problem = "", next = () => {}) {
  askName(problem, next);
  return false;
}

/** Applies the name, which may have been set in another tab. */
function login() {
  byId("me").textContent = kept.author ? `You are ${visible(kept.author)}` : "Set your name";
  if (kept.author === connectedAuthor) return;
  connectedAuthor = kept.author;
  log.login({ author: kept.author || READER });
  rooms.recount();
  view?.redraw();
}

/** @param {string} text */
function notice(text) {
  byId("notice-text").textContent = text;
  byId("notice").hidden = !text;
}

byId("me").onclick = () => ask();
byId("now").onclick = () => {
  actions.toEnd();
  focusComposer();
};
byId("notice-drop").onclick = () => {
  notice("");
  focusComposer();
};
document.addEventListener("visibilitychange", () => {
  if (document.hidden) view?.away();
  else view?.back();
  moved();
});
window.addEventListener("hashchange", () => void go());
// Another tab has changed the storage.
window.addEventListener("storage", () => {
  login();
  moved();
  rooms.show();
});
listenToKeys(actions, () => view);

log.on("status", statusChanged);
// Counts are of the previous log, and links to slots contain the log.
log.on("log", () => {
  rooms.clear();
  view?.redraw();
});
log.on("heads", heads => rooms.moved(heads));
log.on("error", error => notice(error.message));
log.on("settled", outcome => composer.unsent.settled(outcome));
log.watch();
login();
statusChanged(log.status);
void go();
if (!kept.author) ask();
