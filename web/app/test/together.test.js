// Two browsers and a terminal in one room, against a real server.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { eventually } from "../../sdk/test/wait.js";
import { say, shows, status, testSite } from "./browser.js";
import { Terminal } from "./terminal.js";

/** @typedef {import("playwright-core").Page} Page */

const site = testSite();
/** @type {Terminal} */
let bo;

beforeEach(async () => { bo = await Terminal.open(site.server.url, "bo"); });
afterEach(() => bo.close());

/** The slots and bodies that a page shows. @param {Page} page */
function shown(page) {
  return page.locator("#log .entry").evaluateAll(all => all.map(it => ({
    slot: Number(/** @type {HTMLElement} */ (it).dataset.slot), body: it.querySelector(".body")?.textContent,
  })));
}

/** Opens the pages of two people, and waits until both are connected. @returns {Promise<Page[]>} */
async function people() {
  const pages = [await site.open("ada"), await site.open("grace")];
  for (const page of pages) await status(page, "live");
  return pages;
}

test("the server is killed while three people write: all see the same slots, each line once", async () => {
  const pages = await people();
  for (let n = 0; n < 12; n++) {
    if (n === 4) await site.server.stop("SIGKILL");
    if (n === 8) await site.server.start();
    await Promise.all([...pages.map(page => say(page, `page ${n}`)), bo.say(`terminal ${n}`)]);
  }
  for (const page of pages) await page.waitForFunction(() => document.querySelectorAll("#log .entry").length === 36);
  await bo.until(screen => screen.includes("36 entries") && screen.includes(" 35 "));
  const log = (await site.server.entries("general")).map(({ slot, body, author }) => ({ slot, body, author }));
  for (const author of ["ada", "grace", "bo"]) {
    const said = log.filter(it => it.author === author).map(it => it.body);
    assert.deepEqual(said, [...Array(12).keys()].map(n => `${author === "bo" ? "terminal" : "page"} ${n}`));
  }
  const expected = log.map(({ slot, body }) => ({ slot, body }));
  for (const page of pages) await eventually(() => shown(page), expected);
  await eventually(() => bo.lines(), expected);
});

test("replies, edits and reactions of one person are seen by the others", async () => {
  const [ada] = /** @type {[Page, Page]} */ (await people());
  await say(ada, "shall we?");
  await bo.until(screen => screen.includes("shall we?"));
  await bo.say("/reply 0 yes");
  await bo.say("/react 0 🎉");
  await ada.locator("#slot-1 .quote", { hasText: "shall we?" }).waitFor();
  await ada.locator("#slot-0 .reactions button", { hasText: "🎉" }).waitFor();
  await bo.until(screen => screen.includes("🎉 1"));
  await bo.say("/edit 1 yes, at noon");
  await ada.locator("#slot-1 .edited").waitFor();
  await shows(ada, ["shall we?", "yes, at noon"]);
  await bo.until(screen => screen.includes("yes, at noon (edited)") && screen.includes("🎉 1"));
});

test("an older backup is restored: all are notified, show its messages, and can go on writing", async () => {
  const pages = await people();
  const [ada] = /** @type {[Page, Page]} */ (pages);
  await say(ada, "kept");
  await bo.until(screen => screen.includes("kept"));
  const restore = await site.server.backup();
  await say(ada, "lost");
  for (const page of pages) await page.locator("#slot-1").waitFor();
  await bo.until(screen => screen.includes("lost"));
  await restore();
  await bo.until(screen => screen.includes("another log") && screen.includes("kept") && !screen.includes("lost"));
  for (const page of pages) await shows(page, ["kept"]);
  await bo.say("anew");
  await say(ada, "as well");
  for (const page of pages) await page.waitForFunction(() => document.querySelectorAll("#log .entry").length === 3);
  await bo.until(screen => screen.includes("3 entries"));
  const bodies = (await site.server.entries("general")).map(it => it.body);
  assert.deepEqual([bodies[0], bodies.slice(1).sort()], ["kept", ["anew", "as well"]]);
  for (const page of pages) await shows(page, bodies);
});
