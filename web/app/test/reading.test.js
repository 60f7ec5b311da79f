// Reading: unread messages, other logs, names, the connection. In a real Chromium, against a real server.

import assert from "node:assert/strict";
import { test } from "node:test";

import { eventually } from "../../sdk/test/wait.js";
import { composed, focused, marked, say, shows, status, testSite } from "./browser.js";

const site = testSite();

/** Waits until the list of rooms shows this unread count. @param {import("playwright-core").Page} page @param {string} room @param {string} count a regular expression */
const badge = (page, room, count) => page.locator("#rooms a", { hasText: room }).locator("b", { hasText: new RegExp(`^${count}$`) }).waitFor();
/** Opens a room. @param {import("playwright-core").Page} page @param {string} room */
const go = async (page, room) => {
  await page.evaluate(name => { location.hash = `#/${name}`; }, room);
  await page.locator("h1", { hasText: room }).waitFor();
};

test("a room that was never opened is unread, also in the title and on the drawer", async () => {
  await site.server.put([{ author: "bo", body: "one" }, { author: "bo", body: "two" }], "side");
  const page = await site.open("ada");
  await badge(page, "side", "2");
  await page.waitForFunction(() => document.title === "(2) general · Roomlog");
  await eventually(async () => [await page.locator("#side-badge").textContent(), await page.locator("#side-open").getAttribute("aria-label")], ["2", "Rooms, 2 unread"]);
  await go(page, "side");
  await page.waitForFunction(() => document.title === "side · Roomlog");
  await page.locator("#side-badge").waitFor({ state: "hidden" });
});

test("one's own lines, edits and reactions are not unread, and have no \"New\" mark above them", async () => {
  await site.server.put([{ author: "bo", body: "read" }]);
  const page = await site.open("ada");
  await page.locator("#slot-0").waitFor();
  await go(page, "side");
  // From another device of the same person, then from somebody else.
  await site.server.put([{ author: "ada", body: "mine" }, { author: "bo", body: "👍", kind: "reaction", ref: 0 }]);
  await site.server.put([{ author: "bo", body: "his" }, { author: "ada", body: "mine again" }]);
  await badge(page, "general", "1");
  await page.reload();
  await badge(page, "general", "1");
  await go(page, "general");
  await shows(page, ["read", "mine", "his", "mine again"]);
  const items = page.locator("#log > :not(.day), #log > .unread");
  await eventually(() => items.evaluateAll(all => all.map(it => it.querySelector(".body")?.textContent ?? it.textContent)), ["read", "mine", "New", "his", "mine again"]);
});

test("one's own lines are never unread; of very many new lines, only the newest are counted", async () => {
  const lines = (/** @type {string} */ author, /** @type {number} */ count) => Array.from({ length: count }, (_, n) => ({ author, body: `line ${n}` }));
  await site.server.put(lines("ada", 120), "mine");
  await site.server.put([...lines("bo", 10), ...lines("ada", 600), ...lines("bo", 7)], "mixed");
  await site.server.put([...lines("bo", 100), ...lines("ada", 60), ...lines("bo", 60)], "asked");
  await site.server.put(lines("bo", 1_600), "many");
  for (let n = 0; n < 40; n++) await site.server.put(lines("ada", 1), `room-${n}`);
  const page = await site.open("ada");
  await badge(page, "mixed", "7\\+");
  await badge(page, "asked", "160");
  await badge(page, "many", "500\\+");
  await eventually(() => page.locator("#rooms a b").count(), 3);
});

test("lines that come while the page is visible are not marked as new; those that come while it is hidden are", async () => {
  await site.server.put([{ author: "bo", body: "read" }]);
  const page = await site.open("ada");
  await page.locator("#slot-0").waitFor();
  await site.server.put([{ author: "bo", body: "seen" }]);
  await page.locator("#slot-1").waitFor();
  assert.equal(await page.locator("li.unread").count(), 0);
  const hide = (/** @type {boolean} */ hidden) => page.evaluate(hidden => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await hide(true);
  await site.server.put([{ author: "bo", body: "missed" }]);
  await page.waitForFunction(() => document.title === "(1) general · Roomlog");
  await hide(false);
  await page.waitForFunction(() => document.title === "general · Roomlog");
  await eventually(() => page.locator("li.unread + .entry .body").allTextContents(), ["missed"]);
});

test("read marks, reply drafts and links of another log are invalid", async () => {
  await site.server.put(Array.from({ length: 5 }, (_, n) => ({ author: "bo", body: `old ${n}` })));
  const page = await site.open("ada");
  await page.locator("#slot-4").press("r");
  await focused(page, "body");
  await page.locator("#body").fill("a reply to old 4");
  const link = await page.locator("#slot-4 > a").getAttribute("href");
  await page.evaluate(href => { location.hash = href ?? ""; }, link);
  await marked(page, 4);
  await site.server.reset();
  await site.server.put(Array.from({ length: 6 }, (_, n) => ({ author: "bo", body: `new ${n}` })));
  await page.locator("#notice", { hasText: "another log" }).waitFor();
  await page.locator("#slot-5").waitFor();
  await eventually(() => page.evaluate(() => location.hash), "#/general", "a reload does not go to another message");
  await page.locator("#about").waitFor({ state: "hidden" });
  await composed(page, "a reply to old 4");
  await go(page, "side");
  await page.evaluate(href => { location.hash = href ?? ""; }, link);
  await page.locator("#notice", { hasText: "earlier log" }).waitFor();
  // The read mark of an earlier log does not apply to the current one.
  await page.evaluate(() => localStorage.setItem("roomlog.read|quiet", "900|another"));
  await site.server.put([{ author: "bo", body: "a" }, { author: "bo", body: "b" }], "quiet");
  await badge(page, "quiet", "2");
});

test("offline, a room that was never opened says so, and one that was open before is shown", async () => {
  const page = await site.open("ada");
  await status(page, "live");
  await page.locator("#start", { hasText: "No messages yet" }).waitFor();
  await say(page, "hello");
  await shows(page, ["hello"]);
  await site.server.stop();
  await page.locator("#status", { hasText: "Offline: reconnecting. Your messages will be sent." }).waitFor();
  await go(page, "never");
  await page.locator("#start", { hasText: "You are offline" }).waitFor();
  await go(page, "general");
  await shows(page, ["hello"]);
  await page.locator("#start", { hasText: "offline" }).waitFor({ state: "detached" });
});

test("an empty room says so, and a room that cannot be shown says why", async () => {
  const page = await site.open("ada");
  await status(page, "live");
  const start = (/** @type {string} */ text) => page.locator("#start", { hasText: text }).waitFor();
  await page.locator("#open-name").fill("plans");
  await page.locator("#open-name").press("Enter");
  await page.locator("h1", { hasText: "plans" }).waitFor();
  await start("No messages yet");
  await page.evaluate(() => { location.hash = "#/empty/7"; });
  await page.locator("#notice", { hasText: "There is no message #7 in empty yet." }).waitFor();
  await start("No messages yet");
  for (const address of ["#/bad name", "#/bad name/3"]) {
    await page.evaluate(to => { location.hash = to; }, address);
    await page.locator("#notice", { hasText: 'Room "bad name" cannot be followed: ' }).waitFor();
    await status(page, "live");
    await page.locator("#start").waitFor({ state: "hidden" });
  }
  await go(page, "empty");
  await start("No messages yet");
  const refused = await site.open("x".repeat(65), "#/empty");
  await refused.locator("#start", { hasText: "The server refused the connection." }).waitFor();
});

test("at the server's limit of rooms per connection, the least recently opened rooms are left", async () => {
  site.server.flags = ["--rooms-per-connection", "3"];
  await site.server.reset();
  for (let n = 0; n < 6; n++) await site.server.put([{ author: "bo", body: `in ${n}` }], `room-${n}`);
  const page = await site.open("ada", "#/room-0");
  await status(page, "live");
  for (const n of [0, 1, 2, 3, 4, 5, 0]) {
    await go(page, `room-${n}`);
    await shows(page, [`in ${n}`]);
  }
  assert.equal(await page.locator("#notice").isHidden(), true);
});

test("names like those of members of Object work", async () => {
  const rooms = ["constructor", "hasOwnProperty", "toString", "valueOf"];
  for (const room of rooms) await site.server.put([{ author: "__proto__", body: room }], room);
  await site.server.put([{ author: "constructor", body: "👍", kind: "reaction", ref: 0 }], "toString");
  const page = await site.open("ada", "#/toString");
  await shows(page, ["toString"]);
  await eventually(async () => (await page.locator("#rooms a span").allTextContents()).sort(), rooms);
  await eventually(() => page.locator(".author").allTextContents(), ["__proto__"]);
  await eventually(() => page.locator("#slot-0 .reactions button").allTextContents(), ["👍 1"]);
  for (const room of rooms) {
    await go(page, room);
    await page.locator("#log .body", { hasText: room }).waitFor();
  }
  assert.deepEqual(page.problems, []);
});

test("a heart is one reaction, with and without U+FE0F", async () => {
  await site.server.put([{ author: "bo", body: "hello" }, { author: "bo", kind: "reaction", ref: 0, body: "\u2764" }, { author: "cy", kind: "reaction", ref: 0, body: "\u2764\ufe0f" }]);
  const page = await site.open("ada");
  const chip = page.locator("#slot-0 .reactions button");
  await eventually(() => chip.allTextContents(), all => all.length === 1 && /^\u2764\ufe0f? 2$/.test(all[0]));
  await chip.click();
  await page.locator("#slot-0 .reactions button[aria-pressed=true]", { hasText: "3" }).waitFor();
  await chip.click();
  await page.locator("#slot-0 .reactions button[aria-pressed=false]", { hasText: "2" }).waitFor();
});

test("a name that is set in one tab applies to the others", async () => {
  const first = await site.open("");
  const second = await site.tab(first);
  await first.locator("#who-later").click();
  await second.locator("#who-name").fill("ada");
  await second.locator("#who-name").press("Enter");
  await first.locator("#me", { hasText: "You are ada" }).waitFor();
  await say(first, "from the first");
  await shows(second, ["from the first"]);
  assert.deepEqual((await site.server.entries("general")).map(it => it.author), ["ada"]);
  await shows(first, ["from the first"]);
});

test("the current day stays at the top", async () => {
  const day = 86_400_000, now = Date.now() - 1_000;
  await site.server.put(Array.from({ length: 90 }, (_, n) => ({ author: "bo", body: `line ${n}`, sent_at: now - (3 - Math.floor(n / 30)) * day })));
  const page = await site.open("ada");
  await page.locator("#slot-89").waitFor();
  await eventually(() => page.evaluate(() => {
    const top = /** @type {HTMLElement} */ (document.getElementById("scroller")).getBoundingClientRect().top;
    return document.elementFromPoint(innerWidth / 2 + 100, top + 10)?.closest("li")?.textContent;
  }), "Yesterday");
});
