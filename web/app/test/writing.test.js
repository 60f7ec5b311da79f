// Writing on the page: the name, the focus, drafts, what is refused. In a real Chromium, against a real server.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { Server } from "../../sdk/test/server.js";
import { launch, opened, say, shows, status } from "./browser.js";

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Server} */
let server;

before(async () => { browser = await launch(); });
after(() => browser.close());
beforeEach(async () => { server = await Server.start(); });
afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
  await server.end();
});

const bodies = async (room = "general") => (await server.entries(room)).map(it => it.body);
/** The id of what has the focus. @param {import("playwright-core").Page} page */
const focus = page => page.evaluate(() => document.activeElement?.id);

test("the dialog of the name can be closed, asks again when something is sent, and gives the focus to the composer", async () => {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${server.url}/#/general`);
  const dialog = page.locator("#who");
  await dialog.waitFor();
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  await page.keyboard.type("hello");
  assert.equal(await page.locator("#body").inputValue(), "hello");
  await page.keyboard.press("Enter");
  await dialog.waitFor();
  await page.locator("#who-later").click();
  await dialog.waitFor({ state: "hidden" });
  assert.equal(await page.locator("#body").inputValue(), "hello");
  await page.locator("#me", { hasText: "Set your name" }).click();
  await page.keyboard.press("Escape");
  await page.locator("#body").press("Enter");
  await page.keyboard.type("ada");
  await page.keyboard.press("Enter");
  await shows(page, ["hello"]);
  await page.keyboard.type("and more");
  await page.keyboard.press("Enter");
  await shows(page, ["hello", "and more"]);
  assert.deepEqual((await server.entries("general")).map(it => it.author), ["ada", "ada"]);
});

test("a name that no server takes, or that nobody can see, is refused where it is typed", async () => {
  const page = await opened(browser, server.url, "");
  for (const [name, why] of [["é".repeat(40), "80 bytes"], ["\u200b\u2060", "cannot be seen"]]) {
    await page.locator("#who-name").fill(name);
    await page.locator("#who-name").press("Enter");
    await page.locator("#who-error", { hasText: why }).waitFor();
  }
  await page.locator("#who-name").fill("grace");
  await page.locator("#who-name").press("Enter");
  await page.locator("#me", { hasText: "You are grace" }).waitFor();
});

test("one's own line is seen: after a link to a slot, and when one had scrolled up", async () => {
  await server.put([{ author: "bo", body: "hello" }], "short");
  await server.put(Array.from({ length: 400 }, (_, n) => ({ author: "bo", body: `line ${n}` })));
  for (const [room, latest] of /** @type {const} */ ([["short", 0], ["general", 399]])) {
    const page = await opened(browser, server.url, "ada", `#/${room}/0`);
    await page.locator("#slot-0.marked").waitFor();
    await say(page, "mine");
    const line = page.locator(`#slot-${latest + 1}`);
    await line.waitFor();
    await page.waitForFunction(id => {
      const box = document.getElementById(id)?.getBoundingClientRect(), all = document.getElementById("scroller")?.getBoundingClientRect();
      return box && all && box.top >= all.top && box.bottom <= all.bottom;
    }, `slot-${latest + 1}`);
    assert.equal(await page.evaluate(() => location.hash), `#/${room}`, "a reload shows the end, too");
    assert.equal(await focus(page), "body");
  }
});

test("in a room of one screen that was opened by a link, what others write is seen as well", async () => {
  await server.put([{ author: "bo", body: "hello" }]);
  const page = await opened(browser, server.url, "ada", "#/general/0");
  await page.locator("#slot-0.marked").waitFor();
  await server.put([{ author: "bo", body: "again" }]);
  await shows(page, ["hello", "again"]);
});

test("the Enter that ends a composition sends nothing, here and in the fields of one line", async () => {
  const page = await opened(browser, server.url, "ada");
  await status(page, "live");
  for (const field of ["#body", "#open-name"]) {
    await page.locator(field).fill("まだ");
    const prevented = await page.locator(field).evaluate(it => {
      it.dispatchEvent(new CompositionEvent("compositionend", { data: "まだ", bubbles: true }));
      return !it.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", keyCode: 229, bubbles: true, cancelable: true }));
    });
    assert.equal(prevented, field !== "#body", "the form of one line is not submitted; the box does what it does");
    assert.equal(await page.locator(field).inputValue(), "まだ");
  }
  await say(page, "まだです");
  await shows(page, ["まだです"]);
  assert.deepEqual(await bodies(), ["まだです"]);
});

test("empty lines around a text are removed, and nothing else; half a sign is made whole", async () => {
  const page = await opened(browser, server.url, "ada");
  await status(page, "live");
  await say(page, " \n\n    if x:\n        go()\n\n \n");
  await say(page, "cut \ud83d here");
  await say(page, " \n ");
  await page.locator("#slot-1").waitFor();
  assert.deepEqual(await bodies(), ["    if x:\n        go()", "cut \ufffd here"]);
});

test("drafts survive a reload, each in its room, with what they reply to", async () => {
  await server.put([{ author: "bo", body: "hello" }]);
  const page = await opened(browser, server.url, "ada");
  await page.locator("#slot-0").focus();
  await page.keyboard.press("r");
  await page.locator("#body").fill("a reply");
  await page.evaluate(() => { location.hash = "#/side"; });
  await page.locator("h1", { hasText: "side" }).waitFor();
  assert.equal(await page.locator("#body").inputValue(), "");
  await page.locator("#body").fill("another");
  await page.reload();
  assert.equal(await page.locator("#body").inputValue(), "another");
  await page.evaluate(() => { location.hash = "#/general"; });
  await page.locator("#about", { hasText: "Replying" }).waitFor();
  assert.equal(await page.locator("#body").inputValue(), "a reply");
  await page.locator("#body").press("Enter");
  await page.locator("#slot-1 .quote").waitFor();
  assert.equal((await server.entries("general"))[1].ref, 0);
  await page.reload();
  await page.locator("#slot-1").waitFor();
  assert.equal(await page.locator("#body").inputValue(), "");
});

test("the limit is shown before it is reached, in bytes, and what is too long stays in the box", async () => {
  const page = await opened(browser, server.url, "ada");
  await status(page, "live");
  await page.locator("#body").fill("é".repeat(7_000));
  assert.equal(await page.locator("#count").isHidden(), true);
  await page.locator("#body").fill("é".repeat(8_000));
  await page.locator("#count", { hasText: "384 bytes left" }).waitFor();
  await page.locator("#body").fill("é".repeat(8_200));
  await page.locator("#count", { hasText: "Too long by 16 bytes" }).waitFor();
  await page.locator("#body").press("Enter");
  assert.equal((await page.locator("#body").inputValue()).length, 8_200);
  await page.locator("#body").fill("é".repeat(8_192));
  await page.locator("#body").press("Enter");
  await page.locator("#slot-0").waitFor();
});

test("what is refused survives a reload, and can be edited and sent again", async () => {
  await server.put([{ author: "bo", body: "hello" }]);
  const page = await opened(browser, server.url, "ada");
  await page.locator("#slot-0").focus();
  await page.keyboard.press("r");
  await server.stop();
  await status(page, "offline");
  await say(page, "a reply");
  // Another log at the same address: what the reply is about is not in it.
  const { port } = server;
  await server.end();
  server = new Server();
  server.port = port;
  await server.start();
  await server.put([{ author: "bo", body: "something else" }]);
  const failed = page.locator("#pending .failed");
  await failed.waitFor();
  await page.reload();
  await failed.waitFor();
  assert.equal(await failed.locator("button", { hasText: "Try again" }).count(), 0, "as it is, it would be a reply to another message");
  await failed.locator("button", { hasText: "Edit" }).click();
  assert.deepEqual([await focus(page), await page.locator("#body").inputValue()], ["body", "a reply"]);
  await page.keyboard.type(", sent anew");
  await page.keyboard.press("Enter");
  await shows(page, ["something else", "a reply, sent anew"]);
  assert.equal((await server.entries("general"))[1].ref, undefined);
  assert.equal(await failed.count(), 0);
});

test("a browser that stores nothing, or nothing more, keeps the page working", async () => {
  const ways = {
    blocked: () => Object.defineProperty(window, "localStorage", { get() { throw new DOMException("no", "SecurityError"); } }),
    full: () => { Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError"); }; },
  };
  for (const way of Object.values(ways)) {
    const page = await (await browser.newContext()).newPage();
    /** @type {string[]} */
    const problems = [];
    page.on("pageerror", error => problems.push(String(error)));
    await page.addInitScript(way);
    await page.goto(`${server.url}/#/general`);
    await page.locator("#who-name").fill("ada");
    await page.locator("#who-name").press("Enter");
    await status(page, "live");
    const slot = (await bodies()).length;
    await say(page, "hello");
    await page.locator(`#slot-${slot}`).waitFor();
    await page.locator("#body").fill("a draft");
    await page.evaluate(() => { location.hash = "#/side"; });
    await page.locator("h1", { hasText: "side" }).waitFor();
    await page.evaluate(() => { location.hash = "#/general"; });
    await page.locator(`#slot-${slot}`).waitFor();
    assert.equal(await page.locator("#body").inputValue(), "a draft");
    assert.deepEqual(problems, []);
  }
});

test("lines that wait to be sent have their author's name, once above those that follow each other", async () => {
  const page = await opened(browser, server.url, "ada");
  await status(page, "live");
  await server.put([{ author: "bo", body: "his" }]);
  await page.locator("#slot-0").waitFor();
  await server.stop();
  await status(page, "offline");
  for (const text of ["one", "two", "/me waves"]) await say(page, text);
  await page.locator("#pending .entry").nth(2).waitFor();
  const authors = await page.locator("#pending .entry").evaluateAll(all => all.map(it => it.querySelector(".author")?.textContent ?? ""));
  assert.deepEqual(authors, ["ada", "", "ada"]);
  await server.start();
  await shows(page, ["his", "one", "two", "waves"]);
});
