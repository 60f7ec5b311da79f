// Writing: the name, the focus, drafts, rejected messages. In a real Chromium, against a real server.

import assert from "node:assert/strict";
import { test } from "node:test";

import { eventually } from "../../sdk/test/wait.js";
import { closes, composed, focused, marked, say, shows, status, testSite } from "./browser.js";

const site = testSite();

test("the name dialog can be closed, opens again when something is sent, and returns the focus to the composer", async () => {
  const page = await site.open();
  const dialog = page.locator("#who");
  await dialog.waitFor();
  await closes(page, () => page.keyboard.press("Escape"));
  await page.keyboard.type("hello");
  await composed(page, "hello");
  await page.keyboard.press("Enter");
  await dialog.waitFor();
  await closes(page, () => page.locator("#who-later").click());
  await composed(page, "hello");
  await page.locator("#me", { hasText: "Set your name" }).click();
  await dialog.waitFor();
  await closes(page, () => page.keyboard.press("Escape"));
  await page.locator("#body").press("Enter");
  await dialog.waitFor();
  await page.keyboard.type("ada");
  await closes(page, () => page.keyboard.press("Enter"));
  await shows(page, ["hello"]);
  await page.keyboard.type("and more");
  await page.keyboard.press("Enter");
  await shows(page, ["hello", "and more"]);
  assert.deepEqual((await site.server.entries("general")).map(it => it.author), ["ada", "ada"]);
});

test("an invalid or invisible name is rejected in the dialog", async () => {
  const page = await site.open("");
  for (const [name, why] of [["é".repeat(40), "80 bytes"], ["\u200b\u2060", "invisible"]]) {
    await page.locator("#who-name").fill(name);
    await page.locator("#who-name").press("Enter");
    await page.locator("#who-error", { hasText: why }).waitFor();
  }
  await page.locator("#who-name").fill("grace");
  await page.locator("#who-name").press("Enter");
  await page.locator("#me", { hasText: "You are grace" }).waitFor();
});

test("one's own line is scrolled into view after a link to an earlier slot", async () => {
  await site.server.put([{ author: "bo", body: "hello" }], "short");
  await site.server.put(Array.from({ length: 400 }, (_, n) => ({ author: "bo", body: `line ${n}` })));
  for (const [room, latest] of /** @type {const} */ ([["short", 0], ["general", 399]])) {
    const page = await site.open("ada", `#/${room}/0`);
    await marked(page, 0);
    await say(page, "mine");
    await page.waitForFunction(id => {
      const box = document.getElementById(id)?.getBoundingClientRect(), all = document.getElementById("scroller")?.getBoundingClientRect();
      return box && all && box.top >= all.top && box.bottom <= all.bottom;
    }, `slot-${latest + 1}`);
    await eventually(() => page.evaluate(() => location.hash), `#/${room}`, "a reload shows the end, too");
    await focused(page, "body");
  }
});

test("in a short room that was opened by a link, new lines of others are shown", async () => {
  await site.server.put([{ author: "bo", body: "hello" }]);
  const page = await site.open("ada", "#/general/0");
  await marked(page, 0);
  await site.server.put([{ author: "bo", body: "again" }]);
  await shows(page, ["hello", "again"]);
});

test("the Enter that ends an input method's composition sends nothing, in the composer and in single-line fields", async () => {
  const page = await site.open("ada");
  await status(page, "live");
  for (const field of ["#body", "#open-name"]) {
    await page.locator(field).fill("まだ");
    const prevented = await page.locator(field).evaluate(it => {
      it.dispatchEvent(new CompositionEvent("compositionend", { data: "まだ", bubbles: true }));
      return !it.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", keyCode: 229, bubbles: true, cancelable: true }));
    });
    assert.equal(prevented, field !== "#body", "a single-line form is not submitted; the composer keeps its default");
    await eventually(() => page.locator(field).inputValue(), "まだ");
  }
  await say(page, "まだです");
  await shows(page, ["まだです"]);
  assert.deepEqual(await site.bodies(), ["まだです"]);
});

test("empty lines around a text are removed, and nothing else; lone surrogates are replaced", async () => {
  const page = await site.open("ada");
  await status(page, "live");
  await say(page, " \n\n    if x:\n        go()\n\n \n");
  await say(page, "cut \ud83d here");
  await say(page, " \n ");
  await page.locator("#slot-1").waitFor();
  assert.deepEqual(await site.bodies(), ["    if x:\n        go()", "cut \ufffd here"]);
});

test("drafts survive a reload, each in its room, with what they reply to", async () => {
  await site.server.put([{ author: "bo", body: "hello" }]);
  const page = await site.open("ada");
  await page.locator("#slot-0").press("r");
  await focused(page, "body");
  await page.locator("#body").fill("a reply");
  await page.evaluate(() => { location.hash = "#/side"; });
  await page.locator("h1", { hasText: "side" }).waitFor();
  await composed(page, "");
  await page.locator("#body").fill("another");
  await page.reload();
  await composed(page, "another");
  await page.evaluate(() => { location.hash = "#/general"; });
  await page.locator("#about", { hasText: "Replying" }).waitFor();
  await composed(page, "a reply");
  await page.locator("#body").press("Enter");
  await page.locator("#slot-1 .quote").waitFor();
  assert.equal((await site.server.entries("general"))[1].ref, 0);
  await page.reload();
  await page.locator("#slot-1").waitFor();
  await composed(page, "");
});

test("the remaining bytes are shown near the limit, and a text that is too long stays in the composer", async () => {
  const page = await site.open("ada");
  await status(page, "live");
  await page.locator("#body").fill("é".repeat(7_000));
  await page.locator("#count").waitFor({ state: "hidden" });
  await page.locator("#body").fill("é".repeat(8_000));
  await page.locator("#count", { hasText: "384 bytes left" }).waitFor();
  await page.locator("#body").fill("é".repeat(8_200));
  await page.locator("#count", { hasText: "Too long by 16 bytes" }).waitFor();
  await page.locator("#body").press("Enter");
  await composed(page, "é".repeat(8_200));
  await page.locator("#body").fill("é".repeat(8_192));
  await page.locator("#body").press("Enter");
  await page.locator("#slot-0").waitFor();
});

test("a rejected message survives a reload, and can be edited and sent again", async () => {
  await site.server.put([{ author: "bo", body: "hello" }]);
  const page = await site.open("ada");
  await page.locator("#slot-0").press("r");
  await focused(page, "body");
  await site.server.stop();
  await status(page, "offline");
  await say(page, "a reply");
  // Another log at the same address, without the message that the reply is about.
  await site.server.reset();
  await site.server.put([{ author: "bo", body: "something else" }]);
  const failed = page.locator("#pending .failed");
  await failed.waitFor();
  await page.reload();
  await failed.waitFor();
  await eventually(() => failed.locator("button").allTextContents(), ["Edit", "Discard"], "sent again as it is, it would be a reply to another message");
  await failed.locator("button", { hasText: "Edit" }).click();
  await focused(page, "body");
  await composed(page, "a reply");
  await page.keyboard.type(", sent anew");
  await page.keyboard.press("Enter");
  await shows(page, ["something else", "a reply, sent anew"]);
  assert.equal((await site.server.entries("general"))[1].ref, undefined);
  await failed.waitFor({ state: "detached" });
});

test("the page works in a browser whose storage is blocked or full", async () => {
  const ways = {
    blocked: () => Object.defineProperty(window, "localStorage", { get() { throw new DOMException("no", "SecurityError"); } }),
    full: () => { Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError"); }; },
  };
  for (const way of Object.values(ways)) {
    const page = await site.open(undefined, "#/general", way);
    await page.locator("#who-name").fill("ada");
    await page.locator("#who-name").press("Enter");
    await status(page, "live");
    const slot = (await site.bodies()).length;
    await say(page, "hello");
    await page.locator(`#slot-${slot}`).waitFor();
    await page.locator("#body").fill("a draft");
    await page.evaluate(() => { location.hash = "#/side"; });
    await page.locator("h1", { hasText: "side" }).waitFor();
    await page.evaluate(() => { location.hash = "#/general"; });
    await page.locator(`#slot-${slot}`).waitFor();
    await composed(page, "a draft");
    assert.deepEqual(page.problems, []);
  }
});

test("unsent lines have their author's name, once per group", async () => {
  const page = await site.open("ada");
  await status(page, "live");
  await site.server.put([{ author: "bo", body: "his" }]);
  await page.locator("#slot-0").waitFor();
  await site.server.stop();
  await status(page, "offline");
  for (const text of ["one", "two", "/me waves"]) await say(page, text);
  const unsent = page.locator("#pending .entry");
  await eventually(() => unsent.evaluateAll(all => all.map(it => it.querySelector(".author")?.textContent ?? "")), ["ada", "", "ada"]);
  await site.server.start();
  await shows(page, ["his", "one", "two", "waves"]);
});
