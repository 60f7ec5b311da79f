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
import { endSession, loginDialog, sentence } from "./login.js";
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

const log = connect(new URL(".", location.href.split("#")[0]).href, { author: kept.author || READER, session: true });
/** @type {View | null} */
let view = null;
/** @type {import("../sdk/src/index.js").Room | null} */
let room = null;
/** Whether the server refuses to let the open room be followed. */
let isRefused = false;
/** Removes the listeners of the open room. @type {(() => void)[]} */
let offs = [];
/** The author of the connection to an open server. */
let connectedAuthor = kept.author;
/** The author of the last session, on a server with tokens. @type {string | null} */
let sessionAuthor = null;
/** Whether a session was begun, and it is not known yet whether the browser keeps it. */
let isBegun = false;
/** Whether the user was asked for a name. */
let isAsked = Boolean(kept.author);
/** Tells the other tabs that the session has ended. */
const ended = "BroadcastChannel" in window ? new BroadcastChannel("roomlog.ended") : null;

const recent = new Recent(log);
const isLive = () => log.status.state === "live" || log.status.state === "catching-up";
const rooms = new Rooms(() => log.id, () => actions.me);
const composer = new Composer({
  me: () => actions.me,
  mayWrite: then => Boolean(actions.me) || ask("", then),
  editLast: () => {
    const slot = view?.lastOf(actions.me);
    if (slot != null) actions.edit(slot);
  },
  changed: () => view?.follows && view.toEnd(),
  last: () => view?.lines.lastLine,
  shown: slot => view?.shown(slot),
  sent: () => actions.toEnd(),
  // Not the scroller's own height: the "Jump to latest" button changes it, and PageUp then PageDown must lead back.
  scroll: pages => view?.scrollBy(pages * PAGE * (byId("composer").offsetTop - byId("scroller").offsetTop)),
  isLive,
  log: () => log.id,
  maxBytes: () => log.limits?.body_bytes ?? LIMITS.body_bytes,
});

/** @type {import("./line.js").Actions} */
const actions = {
  get me() { return usesTokens() ? sessionAuthor : kept.author || null; },
  reply: slot => composer.begin("reply", slot, view?.shown(slot)),
  edit: slot => {
    if (!isUnsent("redact", slot)) composer.begin("edit", slot, view?.shown(slot));
  },
  remove: slot => {
    const shown = view?.shown(slot);
    if (!shown || isUnsent("redact", slot)) return;
    // An edit without a slot cannot be removed with its message.
    if (isUnsent("edit", slot)) notice("An edit of this message is not sent yet. Remove the message after that.");
    else composer.remove(shown);
  },
  react: (slot, emoji) => {
    const opened = room;
    const act = () => {
      if (room !== opened) return;
      const isSet = view?.shown(slot)?.reactions.get(emojiOf(emoji))?.includes(actions.me ?? "");
      composer.append(isSet ? "" : emoji, { kind: "reaction", ref: slot });
    };
    if (actions.me) act();
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
  closed: () => focusBack(),
});
const askToken = loginDialog({
  begun: () => {
    isBegun = true;
    rooms.clear();
    log.login({ session: true });
    if (isRefused && room) open(room.name);
  },
  closed: () => focusBack(),
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

/** Focuses the composer after a dialog; on a touch screen only if something can be written. */
function focusBack() {
  if (actions.me || !isTouch()) focusText(byId("body"));
  else byId("scroller").focus();
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
      if (error.code === "not_found") rooms.refused();
      notice(error.message);
      moved();
      leaveRefused();
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

/** If the address names no room and the usual one may not be read, opens one that may be. */
function leaveRefused() {
  if (isRefused && usesTokens() && !location.hash && rooms.first) location.replace(hashOf(rooms.first));
}

/** Whether an append of this kind that is about a slot has no outcome yet. @param {string} kind @param {number} slot */
function isUnsent(kind, slot) {
  return Boolean(room?.pending.some(it => it.kind === kind && it.ref === slot));
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
  const isOut = state === "refused" && usesTokens();
  view.start(isRefused ? "bad room" : isOut ? "logged out" : state === "offline" || state === "refused" ? state : "");
  composer.checkAbout();
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
  identified(status);
  if (status.state === "refused") ask(usesTokens() ? whyToLogIn(status.error) : status.error.message);
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

/** Asks for a token or a name, and calls `next` when a name is set. Returns false: for now, nothing can be sent. */
function ask(problem = "", next = () => {}) {
  if (usesTokens()) askToken(problem);
  else askName(problem, next);
  return false;
}

/** Whether a token says who the user is. The server may have refused a cookie before it said so. */
function usesTokens() {
  const { auth, status } = log;
  return auth === "token" || (status.state === "refused" && status.error.code === "unauthorized");
}

/** @param {{code: string, message: string}} error */
function whyToLogIn({ code, message }) {
  if (code === "unauthorized") return `Your session has ended. ${sentence(message)}`;
  if (code !== "login_required") return sentence(message);
  if (isBegun) return "Your browser did not keep the session: it does so only over https, or on this machine.";
  return sessionAuthor ? "Your session has ended. What you have written is kept." : "";
}

/** Applies who the server says the user is. @param {import("../sdk/src/connection.js").Status} status */
function identified({ state }) {
  const isIn = state === "live" || state === "catching-up";
  if (usesTokens() && isIn && log.author !== sessionAuthor) {
    // What is shown was read with the rights of somebody else.
    if (sessionAuthor !== null) return location.reload();
    sessionAuthor = log.author;
    rooms.recount();
    view?.redraw();
  }
  if (isIn) isBegun = false;
  showMe();
  if (log.auth !== "open" || isAsked) return;
  isAsked = true;
  ask();
}

function showMe() {
  const { me } = actions, isOut = usesTokens() && (!me || log.status.state === "refused");
  const name = me && (usesTokens() ? visible(me) : `You are ${visible(me)}`);
  byId("me").textContent = isOut ? "Log in" : name ?? (log.auth === "open" ? "Set your name" : "");
  byId("me").title = isOut || !usesTokens() ? "" : `Logged in as ${name}`;
  byId("log-out").hidden = !usesTokens() || isOut;
}

/** Applies the name, which may have been set in another tab. */
function login() {
  showMe();
  if (usesTokens() || kept.author === connectedAuthor) return;
  connectedAuthor = kept.author;
  log.login({ author: kept.author || READER, session: true });
  rooms.recount();
  view?.redraw();
}

/** @param {string} text */
function notice(text) {
  byId("notice-text").textContent = text;
  byId("notice").hidden = !text;
}

byId("me").onclick = () => ask();
byId("log-out").onclick = async () => {
  if (!await endSession()) return notice("You are still logged in: the server cannot be reached. Try again.");
  ended?.postMessage("");
  location.reload();
};
if (ended) ended.onmessage = () => location.reload();
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
log.on("heads", heads => {
  rooms.moved(heads);
  leaveRefused();
});
log.on("error", error => {
  // If a token is needed, the dialog says why.
  if (!usesTokens() || log.status.state !== "refused") notice(error.message);
});
log.on("settled", outcome => composer.settled(outcome));
log.watch();
login();
statusChanged(log.status);
void go();
