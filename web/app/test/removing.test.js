// Removing messages. In a real Chromium, against a real server.

import assert from "node:assert/strict";
import { test } from "node:test";

import { eventually } from "../../sdk/test/wait.js";
import { composed, focused, pending, say, shows, status, testSite } from "./browser.js";

/** @typedef {import("playwright-core").Page} Page */

const site = testSite();

/** A text that is to be removed. */
const SECRET = "4929 1738 6054";

/** Everything that a page has in its document, its fields and its storage. @param {Page} page */
const held = page => page.evaluate(() => JSON.stringify([
  document.documentElement.outerHTML, { ...localStorage }, { ...sessionStorage },
  [...document.querySelectorAll("input, textarea")].map(it => /** @type {HTMLInputElement} */ (it).value),
]));

/** Everything that the server sends of a room. */
const sent = async (room = "general") => JSON.stringify(await site.server.entries(room));

/** The texts of the buttons of a line, once the pointer is on it. @param {Page} page @param {number} slot */
async function tools(page, slot) {
  await page.locator(`#slot-${slot}`).hover();
  return page.locator(`#slot-${slot} .tools button`).evaluateAll(all => all.map(it => it.getAttribute("aria-label")));
}

/** Removes a message by its button. @param {Page} page @param {number} slot */
async function remove(page, slot) {
  await page.locator(`#slot-${slot}`).hover();
  await page.locator(`#slot-${slot} .tools .remove`).click();
  await page.locator(`#slot-${slot} .confirm .danger`).click();
}

/** Waits until a page shows a message as removed. @param {Page} page @param {number} slot */
const gone = (page, slot) => page.locator(`#slot-${slot}.gone .body`, { hasText: /^Message removed$/ }).waitFor();

test("one's own message is removed by its button, for all who follow, and stays so after a reload", async () => {
  const ada = await site.open("ada"), grace = await site.open("grace");
  for (const page of [ada, grace]) await status(page, "live");
  await say(ada, `my card is ${SECRET}`);
  await say(ada, "and so on");
  await grace.locator("#slot-0").press("r");
  await say(grace, "not here!");
  await grace.locator("#slot-2 .quote", { hasText: SECRET }).waitFor();
  await remove(ada, 0);
  for (const page of [ada, grace]) {
    await gone(page, 0);
    await shows(page, ["Message removed", "and so on", "not here!"]);
    await eventually(() => page.locator("#slot-2 .quote").textContent(), "ada: Message removed");
    assert.equal((await held(page)).includes(SECRET), false);
  }
  await pending(ada, 0);
  const [entry, , , redact] = await site.server.entries("general");
  assert.deepEqual([entry.redacted, entry.body], [true, undefined]);
  assert.deepEqual([redact.kind, redact.ref, redact.body], ["redact", 0, ""]);
  assert.deepEqual(await tools(ada, 0), ["Reply (r)"]);
  for (const page of [ada, grace]) {
    await page.reload();
    await shows(page, ["Message removed", "and so on", "not here!"]);
  }
  assert.deepEqual([ada.problems, grace.problems], [[], []]);
});

test("by keyboard alone: Delete asks, Esc and Keep keep the message, Remove removes it", async () => {
  await site.server.put([{ author: "ada", body: SECRET }, { author: "ada", body: "waves", kind: "action" }]);
  const page = await site.open("ada"), confirm = page.locator(".confirm");
  await page.locator("#slot-1").waitFor();
  await focused(page, "body");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("ArrowUp");
  await focused(page, "slot-0");
  const button = () => page.evaluate(() => document.activeElement?.textContent);
  await page.keyboard.press("Delete");
  await eventually(button, "Keep", "a removal cannot be undone");
  await page.keyboard.press("Escape");
  await confirm.waitFor({ state: "detached" });
  await focused(page, "slot-0");
  await page.keyboard.press("Backspace");
  await eventually(button, "Keep");
  await page.keyboard.press("Enter");
  await confirm.waitFor({ state: "detached" });
  await focused(page, "slot-0");
  await shows(page, [SECRET, "waves"]);
  await page.keyboard.press("Delete");
  await page.keyboard.press("Shift+Tab");
  await eventually(button, "Remove");
  await page.keyboard.press("Enter");
  await gone(page, 0);
  await focused(page, "slot-0", "the keys still work");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Delete");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Space");
  await gone(page, 1);
  assert.equal(await page.locator("#log .confirm").count(), 0);
  assert.deepEqual((await site.server.entries("general")).map(it => it.ref), [undefined, undefined, 0, 1]);
  // Nothing asks about a message that is removed, and ↑ edits none.
  await page.keyboard.press("Delete");
  assert.equal(await confirm.count(), 0);
  await page.keyboard.press("Escape");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.type("next");
  await composed(page, "next");
  await page.locator("#about").waitFor({ state: "hidden" });
});

test("an edited message is removed with its edits: neither the document nor the server has a text of it", async () => {
  const ada = await site.open("ada"), grace = await site.open("grace");
  for (const page of [ada, grace]) await status(page, "live");
  const texts = [`old ${SECRET}`, `newer ${SECRET}`, `newest ${SECRET}`];
  await say(ada, texts[0]);
  for (const text of texts.slice(1)) {
    await ada.locator("#slot-0").waitFor();
    await ada.locator("#body").press("ArrowUp");
    await say(ada, text);
    await shows(ada, [text]);
  }
  await shows(grace, [texts[2]]);
  await remove(ada, 0);
  for (const page of [ada, grace]) await gone(page, 0);
  await eventually(async () => (await sent()).includes(SECRET), false);
  const refs = async () => (await site.server.entries("general")).map(it => it.redacted ?? it.ref);
  await eventually(refs, [true, true, true, 0, 1, 2]);
  for (const page of [ada, grace]) {
    await eventually(async () => (await held(page)).includes(SECRET), false);
    await page.reload();
    await gone(page, 0);
    assert.equal((await held(page)).includes(SECRET), false);
  }
});

test("an edit that is redacted by another client: the message has its earlier text again", async () => {
  await site.server.put([{ author: "ada", body: "first" }, { author: "ada", kind: "edit", ref: 0, body: "second" }]);
  const page = await site.open("ada");
  await shows(page, ["second"]);
  await site.server.put([{ author: "ada", kind: "redact", ref: 1, body: "" }]);
  await shows(page, ["first"]);
  await page.locator("#slot-0 .edited").waitFor({ state: "detached" });
  await page.reload();
  await shows(page, ["first"]);
});

test("messages of others have no Remove button, and Delete does nothing on them", async () => {
  await site.server.put([{ author: "bo", body: "his" }, { author: "ada", body: "mine" }]);
  const page = await site.open("ada");
  await page.locator("#slot-1").waitFor();
  assert.deepEqual((await tools(page, 0)).slice(3), ["Reply (r)"]);
  assert.deepEqual((await tools(page, 1)).slice(3), ["Reply (r)", "Edit (e)", "Remove (Delete)"]);
  await page.locator("#slot-0").press("Delete");
  assert.equal(await page.locator(".confirm").count(), 0);
  await focused(page, "slot-0");
});

test("at most one message is asked about, and a question stays until it is answered", async () => {
  await site.server.put([{ author: "ada", body: "one" }, { author: "ada", body: "two" }]);
  const page = await site.open("ada");
  for (const slot of [0, 1]) {
    await page.locator(`#slot-${slot}`).hover();
    await page.locator(`#slot-${slot} .tools .remove`).click();
    await page.locator(`#slot-${slot} .confirm`).waitFor();
    assert.equal(await page.locator(".confirm").count(), 1);
  }
  await page.locator("#body").fill("a draft");
  await page.locator("#slot-1 .confirm button", { hasText: "Keep" }).click();
  await page.locator(".confirm").waitFor({ state: "detached" });
  await composed(page, "a draft");
  assert.deepEqual(await site.bodies(), ["one", "two"]);
});

test("a removal waits for the connection, with its edits; an edit that is not sent yet goes first", async () => {
  await site.server.put([{ author: "ada", body: SECRET }, { author: "ada", body: SECRET, kind: "edit", ref: 0 }]);
  const page = await site.open("ada"), unsent = page.locator("#pending .entry");
  await page.locator("#slot-0").waitFor();
  await status(page, "live");
  await site.server.stop();
  await status(page, "offline");
  await remove(page, 0);
  const texts = () => unsent.evaluateAll(all => all.map(it => it.querySelector(".body")?.textContent));
  await eventually(texts, ["Removal of message #0", "Removal of message #1"]);
  // Neither a second time, nor edited meanwhile.
  await remove(page, 0);
  await page.locator("#slot-0").press("e");
  await page.locator("#about").waitFor({ state: "hidden" });
  await eventually(texts, ["Removal of message #0", "Removal of message #1"]);
  // The page is left while the server is away; another one sends what it has not.
  await page.goto("about:blank");
  await site.server.start();
  await page.goto(`${site.server.url}/#/general`);
  await gone(page, 0);
  await pending(page, 0);
  assert.equal((await sent()).includes(SECRET), false);

  await say(page, "next");
  await shows(page, ["Message removed", "next"]);
  const slot = (await site.server.entries("general")).length - 1;
  await site.server.stop();
  await status(page, "offline");
  await page.locator("#body").press("ArrowUp");
  await say(page, "edited");
  await remove(page, slot);
  await page.locator("#notice", { hasText: "An edit of this message is not sent yet." }).waitFor();
  await pending(page, 1);
});

test("an edit is dropped when its message is removed, here or elsewhere; a reply has no text of it", async () => {
  await site.server.put([{ author: "ada", body: SECRET }, { author: "ada", body: `also ${SECRET}` }]);
  const page = await site.open("ada"), other = await site.open("grace");
  await other.locator("#slot-1").press("r");
  await other.locator("#about", { hasText: SECRET }).waitFor();
  await other.locator("#body").fill("a reply");
  await page.locator("#slot-0").press("e");
  await composed(page, SECRET);
  await remove(page, 0);
  await composed(page, "");
  await page.locator("#slot-1").press("e");
  await composed(page, `also ${SECRET}`);
  await site.server.put([{ author: "ada", kind: "redact", ref: 1, body: "" }]);
  await composed(page, "");
  await other.locator("#about", { hasText: "Replying to ada: Message removed" }).waitFor();
  await composed(other, "a reply");
  for (const it of [page, other]) assert.equal((await held(it)).includes(SECRET), false);
});

test("an erase entry removes all that its author has said, here and elsewhere; it is no line of its own", async () => {
  await site.server.put([
    { author: "ada", body: `my card is ${SECRET}` }, { author: "grace", body: "not here!", ref: 0 },
    { author: "ada", body: `it is ${SECRET}`, kind: "edit", ref: 0 }, { author: "ada", body: "🎉", kind: "reaction", ref: 1 },
    { author: "ada", body: `also ${SECRET}` },
  ]);
  const ada = await site.open("ada"), grace = await site.open("grace");
  for (const page of [ada, grace]) {
    await shows(page, [`it is ${SECRET}`, "not here!", `also ${SECRET}`]);
    await page.locator("#slot-1 .quote", { hasText: SECRET }).waitFor();
    await page.locator("#slot-1 .reactions").waitFor();
  }
  await ada.locator("#slot-4").press("e");
  await composed(ada, `also ${SECRET}`);
  await grace.locator("#slot-4").press("r");
  await grace.locator("#about", { hasText: SECRET }).waitFor();
  await grace.locator("#body").fill("a reply");
  await site.server.put([{ author: "ada", kind: "erase", ref: 4, body: "ada" }, { author: "ada", body: "new here" }]);
  for (const page of [ada, grace]) {
    await shows(page, ["Message removed", "not here!", "Message removed", "new here"]);
    await eventually(() => page.locator("#slot-1 .quote").textContent(), "ada: Message removed");
    await page.locator("#slot-1 .reactions").waitFor({ state: "detached" });
  }
  await composed(ada, "");
  await grace.locator("#about", { hasText: "Replying to ada: Message removed" }).waitFor();
  await composed(grace, "a reply");
  for (const page of [ada, grace]) {
    assert.equal((await held(page)).includes(SECRET), false);
    await page.reload();
    await shows(page, ["Message removed", "not here!", "Message removed", "new here"]);
    assert.equal((await held(page)).includes(SECRET), false);
  }
  assert.deepEqual([ada.problems, grace.problems], [[], []]);
});

test("an edit in another room or of an earlier page is dropped if its message was removed meanwhile", async () => {
  await site.server.put([{ author: "ada", body: SECRET }, { author: "ada", body: `also ${SECRET}` }]);
  const page = await site.open("ada");
  await page.locator("#slot-0").press("e");
  await composed(page, SECRET);
  await page.evaluate(() => { location.hash = "#/side"; });
  await page.locator("h1", { hasText: "side" }).waitFor();
  await site.server.put([{ author: "ada", kind: "redact", ref: 0, body: "" }]);
  await page.evaluate(() => { location.hash = "#/general"; });
  await gone(page, 0);
  await composed(page, "");
  await page.locator("#slot-1").press("e");
  await composed(page, `also ${SECRET}`);
  await page.goto("about:blank");
  await site.server.put([{ author: "ada", kind: "redact", ref: 1, body: "" }]);
  await page.goto(`${site.server.url}/#/general`);
  await gone(page, 1);
  await composed(page, "");
  assert.equal((await held(page)).includes(SECRET), false);
});
