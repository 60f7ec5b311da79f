// The page by keyboard, touch and assistive technology. In a real Chromium, against a real server.

import assert from "node:assert/strict";
import { test } from "node:test";

import axe from "axe-core";

import { eventually } from "../../sdk/test/wait.js";
import { closes, composed, focused, marked, shows, status, testSite } from "./browser.js";

/** @typedef {import("playwright-core").Page} Page */

const site = testSite();

const PHONE = { width: 390, height: 844 }, DESKTOP = { width: 1280, height: 800 };

/** The distance of the view from the end of the timeline, in pixels; lines that are added above do not change it. @param {Page} page */
const scrolledUp = page => page.locator("#scroller").evaluate(it => it.scrollHeight - it.clientHeight - it.scrollTop);
/** The address of the focused link. @param {Page} page */
const link = page => page.evaluate(() => document.activeElement?.getAttribute("href"));

/** Fills a room with entries of all kinds. */
async function filled() {
  const names = ["grace", "edsger", "leila", "barbara", "محمد", "edith", "donald", "tony", "margaret", "alan", "radia", "ken"];
  await site.server.put([
    ...names.map(author => ({ author, body: `I am ${author}` })),
    { author: "ada", body: "see https://example.org and `code`", ref: 0 }, { author: "bo", body: "👍", kind: "reaction", ref: 12 },
    { author: "ada", body: "👍", kind: "reaction", ref: 12 }, { author: "ada", body: "I am Ada", kind: "edit", ref: 12 },
    { author: "bo", body: "waves", kind: "action" }, { author: "bo", body: "```\nlet a;\n```" }, { author: "bo", body: "x\n".repeat(40) },
  ]);
  await site.server.put([{ author: "bo", body: "hello" }], "side");
}

test("the complete timeline can be reached by keyboard, and a dialog lists the keys", async () => {
  await site.server.put(Array.from({ length: 200 }, (_, n) => ({ author: "bo", body: `line ${n} https://example.org/${n}` })));
  const page = await site.open("ada");
  await page.locator("#slot-199").waitFor();
  await status(page, "live");
  await focused(page, "body");
  await eventually(() => scrolledUp(page), px => px < 2);
  await page.keyboard.press("PageUp");
  await eventually(() => scrolledUp(page), px => px > 100);
  await focused(page, "body");
  await page.keyboard.press("PageDown");
  await page.locator("#now").waitFor({ state: "hidden" });
  await page.keyboard.press("Shift+Tab");
  await focused(page, "scroller", "the links of lines are not in the tab order");
  await page.keyboard.press("ArrowUp");
  await focused(page, "slot-199");
  await page.keyboard.press("ArrowUp");
  await focused(page, "slot-198");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await eventually(() => link(page), "https://example.org/198");
  await page.keyboard.press("Home");
  await marked(page, 0);
  await focused(page, "slot-0");
  await page.keyboard.press("?");
  await page.locator("#keys", { hasText: "Reply" }).waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#keys").waitFor({ state: "hidden" });
  await focused(page, "slot-0", "the focus is back");
  await page.keyboard.press("r");
  await page.keyboard.type("a reply");
  await page.keyboard.press("Enter");
  await page.locator("#slot-200 .quote", { hasText: "line 0" }).waitFor();
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("End");
  await page.keyboard.press("Escape");
  await focused(page, "body");
  assert.deepEqual(page.problems, []);
});

test("typed text goes to the composer when nothing has the focus", async () => {
  const page = await site.open("ada");
  await status(page, "live");
  await page.locator("#top").click();
  await page.evaluate(() => /** @type {any} */ (document.activeElement)?.blur());
  await page.keyboard.type("not lost");
  await composed(page, "not lost");
  await page.locator("#send").click();
  await page.keyboard.type("nor this");
  await page.keyboard.press("Enter");
  await shows(page, ["not lost", "nor this"]);
  await page.locator("#open-name").fill("not a room");
  await page.locator("#open-name").press("Enter");
  await page.locator("#open-error", { hasText: "letters" }).waitFor();
  await page.locator("#open-name").fill("side");
  await page.locator("#open-name").press("Enter");
  await page.locator("h1", { hasText: "side" }).waitFor();
  await page.keyboard.type("here");
  await composed(page, "here");
});

test("typed text goes to the composer after a dialog was closed by mouse", async () => {
  const fresh = async () => {
    const page = await site.open();
    await status(page, "live");
    await page.locator("#who").waitFor();
    return page;
  };
  const reader = await fresh();
  await closes(reader, () => reader.locator("#who-later").click());
  await reader.keyboard.type("browsing");
  await composed(reader, "browsing");
  // Sending opens the dialog again; closing it returns the focus.
  await reader.keyboard.press("Enter");
  await reader.locator("#who").waitFor();
  await closes(reader, () => reader.locator("#who-later").click());
  await reader.keyboard.type(" on");
  await composed(reader, "browsing on");
  const writer = await fresh();
  await writer.keyboard.type("ada");
  await closes(writer, () => writer.locator("#who .main").click());
  await writer.keyboard.type("hello");
  await composed(writer, "hello");
  await writer.keyboard.press("Enter");
  await shows(writer, ["hello"]);
});

test("Shift+Tab leads from the composer to the messages, and End keeps the focus there", async () => {
  await site.server.put(Array.from({ length: 500 }, (_, n) => ({ author: "bo", body: `line ${n}` })));
  const page = await site.open("ada");
  await page.locator("#slot-499").waitFor();
  await page.locator("#body").focus();
  await page.keyboard.press("PageUp");
  await page.locator("#now").waitFor();
  await page.keyboard.press("Shift+Tab");
  await focused(page, "scroller");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Home");
  await marked(page, 0);
  await page.keyboard.press("End");
  await page.locator("#now").waitFor({ state: "hidden" });
  await focused(page, "slot-499");
  await page.keyboard.press("ArrowUp");
  await focused(page, "slot-498");
});

test("letters typed on a button go to the composer; Space and Enter still press it", async () => {
  await site.server.put(Array.from({ length: 60 }, (_, n) => ({ author: "bo", body: `line ${n}` })));
  const page = await site.open("ada");
  await page.locator("#slot-59").waitFor();
  await page.locator("#help").click();
  await closes(page, () => page.locator("#keys .main").click());
  await focused(page, "help");
  await page.keyboard.type("a reply");
  await composed(page, "a reply");
  const focusNow = async () => {
    await page.keyboard.press("PageUp");
    await page.locator("#now").waitFor();
    await page.locator("#now").focus();
    await focused(page, "now");
  };
  await focusNow();
  await page.keyboard.type("!");
  await composed(page, "a reply!");
  for (const key of ["Space", "Enter"]) {
    await focusNow();
    await page.keyboard.press(key);
    await page.locator("#now").waitFor({ state: "hidden" });
    await focused(page, "body");
  }
});

test("a link in the list of rooms keeps the focus while the list changes", async () => {
  await filled();
  const page = await site.open("ada");
  await page.locator("#rooms a", { hasText: "side" }).focus();
  await site.server.put([{ author: "bo", body: "hello" }], "a-first");
  await page.locator("#rooms a", { hasText: "a-first" }).waitFor();
  await eventually(() => link(page), "#/side");
});

test("on a phone, Esc and a tap outside close the drawer, and all targets are large enough", async () => {
  await filled();
  const page = await site.open("ada");
  await page.setViewportSize(PHONE);
  await page.locator("#slot-16").waitFor();
  const drawer = page.locator("#side");
  for (const close of [() => page.keyboard.press("Escape"), () => page.mouse.click(370, 400), () => page.locator("#side-close").click()]) {
    await page.locator("#side-open").click();
    await drawer.waitFor();
    await focused(page, "side-close");
    await close();
    await drawer.waitFor({ state: "hidden" });
    await focused(page, "side-open");
  }
  await page.locator("#side-open").click();
  await page.locator("#rooms a", { hasText: "side" }).click();
  await page.locator("h1", { hasText: "side" }).waitFor();
  await drawer.waitFor({ state: "hidden" });
  await page.evaluate(() => { location.hash = "#/general"; });
  await page.locator("#slot-12").focus();
  const small = () => page.evaluate(() => [...document.querySelectorAll(/** @type {"a"} */ ("button, input, textarea, #rooms a, .entry > a"))]
    .filter(it => it.checkVisibility() && (it.getBoundingClientRect().height < 44 || it.getBoundingClientRect().width < 44))
    .map(it => `${it.id || it.className || it.textContent}: ${it.getBoundingClientRect().width} × ${it.getBoundingClientRect().height}`));
  await eventually(small, []);
  await page.keyboard.press("Delete");
  await page.locator(".confirm").waitFor();
  await eventually(small, []);
  await page.locator("#side-open").click();
  await eventually(small, []);
  const sizes = () => page.locator("input, textarea").evaluateAll(all => all.map(it => parseFloat(getComputedStyle(it).fontSize)));
  await eventually(sizes, sizes => Math.min(...sizes) >= 16);
});

test("on a phone, the unread count is next to the icon of the list of rooms", async () => {
  const page = await site.open("ada");
  await page.setViewportSize(PHONE);
  for (const [count, badge] of /** @type {const} */ ([[3, "3"], [20, "23"], [150, "99+"]])) {
    await site.server.put(Array.from({ length: count }, (_, n) => ({ author: "bo", body: `line ${n}` })), `of-${count}`);
    await page.locator("#side-badge", { hasText: badge }).waitFor();
    const gap = () => page.locator("#side-open").evaluate(button => {
      const icon = document.createRange();
      icon.selectNode(/** @type {ChildNode} */ (button.firstChild));
      const box = button.getBoundingClientRect(), count = /** @type {HTMLElement} */ (document.getElementById("side-badge")).getBoundingClientRect();
      return { beside: count.left - icon.getBoundingClientRect().right, inside: box.right - count.right };
    });
    await eventually(gap, ({ beside, inside }) => beside >= 2 && inside >= 2, `the gaps of ${badge}`);
  }
});

test("the \"Jump to latest\" button covers nothing, and lines of text have a limited width", async () => {
  await site.server.put(Array.from({ length: 60 }, (_, n) => ({ author: "bo", body: `line ${n} ${"word ".repeat(60)}` })));
  for (const size of [DESKTOP, PHONE]) {
    const page = await site.open("ada");
    await page.setViewportSize(size);
    await page.locator("#slot-59").waitFor();
    await page.locator("#body").focus();
    await page.keyboard.press("PageUp");
    await page.locator("#now", { hasText: "Jump to latest" }).waitFor();
    const boxes = () => page.evaluate(() => ["#now", "#scroller", "#composer", "#slot-59 .body"].map(it => document.querySelector(it)?.getBoundingClientRect().toJSON()));
    await eventually(boxes, ([now, scroller, composer]) => now.top >= scroller.bottom && now.bottom <= composer.top);
    await eventually(boxes, all => all[3].width <= 620);
    await page.locator("#now").click();
    await page.locator("#now").waitFor({ state: "hidden" });
  }
});

test("axe finds no problem: desktop and phone, light and dark, with dialogs, the drawer and a rejected message", async () => {
  await filled();
  const page = await site.open("ada");
  await status(page, "live");
  await page.evaluate(() => localStorage.setItem("roomlog.refused|general", JSON.stringify([
    { append: { room: "general", id: "r-1", body: "refused", author: "ada" }, message: "it is too large", log: null },
  ])));
  await page.reload();
  await page.locator("#pending .failed").waitFor();
  await page.locator("#slot-18").waitFor();
  await page.evaluate(axe.source);
  /** @param {string} what */
  const check = async what => {
    const found = await page.evaluate(async () => {
      const { violations } = await /** @type {any} */ (window).axe.run(document, { rules: { "target-size": { enabled: true } } });
      return violations.map((/** @type {any} */ it) => `${it.id}: ${it.nodes.map((/** @type {any} */ node) => `${node.target} ${node.failureSummary}`)}`);
    });
    assert.deepEqual(found, [], what);
  };
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    for (const size of [DESKTOP, PHONE]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize(size);
      const at = `${colorScheme} ${size.width}`;
      await page.locator("#slot-12").focus();
      await focused(page, "slot-12");
      await check(`${at}, a line has the focus`);
      await page.keyboard.press("Delete");
      await page.locator(".confirm").waitFor();
      await check(`${at}, a question whether to remove a line`);
      await page.keyboard.press("Escape");
      await focused(page, "slot-12");
      await page.keyboard.press("r");
      await page.locator("#about").waitFor();
      await page.locator("#body").fill("x".repeat(16_390));
      await page.locator("#count.over").waitFor();
      await check(`${at}, a reply that is too long`);
      await page.locator("#about-drop").click();
      await page.locator("#body").fill("");
      await page.locator("#slot-12").press("?");
      await page.locator("#keys").waitFor();
      await check(`${at}, the list of keys`);
      await closes(page, () => page.keyboard.press("Escape"));
      if (size === PHONE) await page.locator("#side-open").click();
      await page.locator("#open-name").fill("not a room");
      await page.locator("#open-name").press("Enter");
      await page.locator("#open-error", { hasText: "letters" }).waitFor();
      await check(`${at}, the list of rooms`);
      await page.locator("#me").click();
      await page.locator("#who").waitFor();
      await check(`${at}, the name`);
      await closes(page, () => page.keyboard.press("Escape"));
    }
  }
  await site.server.stop();
  await status(page, "offline");
  await page.evaluate(() => { location.hash = "#/never"; });
  await page.locator("#start", { hasText: "offline" }).waitFor();
  await check("offline");
});
