// A real Chromium for tests: Debian's, driven by playwright-core.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const BINARY = process.env.CHROMIUM ?? "/usr/bin/chromium";

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

/** Starts it. */
export async function launch() {
  if (!existsSync(BINARY)) throw new Error(`no ${BINARY}; on Debian: apt-get install chromium, or say where it is in CHROMIUM`);
  return chromium.launch({ executablePath: BINARY, args: FLAGS });
}

/**
 * A page of someone's: a browser profile of its own.
 * @param {import("playwright-core").Browser} browser
 * @param {string} url
 * @param {string} author
 * @param {string} [place] the part of the address behind the host
 * @param {(context: import("playwright-core").BrowserContext) => Promise<unknown>} [prepare] before the page is opened
 */
export async function opened(browser, url, author, place = "#/general", prepare = async () => {}) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 700 } });
  await context.addInitScript(name => { localStorage.setItem("roomlog.author", name); }, author);
  await prepare(context);
  const page = await context.newPage();
  /** @type {string[]} */
  const problems = [];
  page.on("pageerror", error => problems.push(String(error)));
  page.on("console", said => { if (said.type() === "error" && !/WebSocket|ERR_CONNECTION/.test(said.text())) problems.push(said.text()); });
  await page.goto(`${url}/${place}`);
  return Object.assign(page, { problems });
}

/**
 * Waits until the lines of a page that are in the log are these, in order. A line that another page or the server
 * has is drawn here a frame later, so a test that reads it at once is a race.
 * @param {import("playwright-core").Page} page @param {string[]} expected
 */
export async function shows(page, expected) {
  const drawn = "#log .entry .body";
  await page.waitForFunction(
    ([drawn, wanted]) => JSON.stringify([...document.querySelectorAll(drawn ?? "")].map(it => it.textContent)) === wanted,
    [drawn, JSON.stringify(expected)],
  ).catch(async () => assert.deepEqual(await page.locator(drawn).allTextContents(), expected));
}

/** Writes a line. @param {import("playwright-core").Page} page @param {string} text */
export async function say(page, text) {
  await page.locator("#body").fill(text);
  await page.locator("#body").press("Enter");
}

/** Waits until the status says so. @param {import("playwright-core").Page} page @param {string} state */
export function status(page, state) {
  return page.locator(`#status[data-state="${state}"]`).waitFor();
}
