// A real Chromium for tests, Debian's by default, driven by playwright-core.

import { existsSync } from "node:fs";
import { after, afterEach, before, beforeEach } from "node:test";
import { chromium } from "playwright-core";

import { Server } from "../../sdk/test/server.js";
import { PATIENCE_MS, eventually } from "../../sdk/test/wait.js";

/** @typedef {import("playwright-core").Page} Page */

const BINARY = process.env.CHROMIUM ?? "/usr/bin/chromium";

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

/** Starts the browser. */
export async function launch() {
  if (!existsSync(BINARY)) throw new Error(`no ${BINARY}; on Debian: apt-get install chromium, or set CHROMIUM to its path`);
  return chromium.launch({ executablePath: BINARY, args: FLAGS, timeout: PATIENCE_MS });
}

/**
 * A browser for the tests of a file and a new server for each of them. Call it once, at the top of the file.
 * @param {string[]} [flags] further flags of `serve`
 * @param {Record<string, string>} [headers] of the server's own requests
 */
export function testSite(flags, headers = {}) {
  const unset = /** @type {unknown} */ (null);
  const site = {
    browser: /** @type {import("playwright-core").Browser} */ (unset),
    server: /** @type {Server} */ (unset),
    /**
     * Opens a page in a browser profile of its own.
     * @param {string} [author] without one, the page asks for a name
     * @param {string} [place] the part of the address after the host
     * @param {() => void} [script] runs in the page, before its own
     */
    open: (author, place = "#/general", script = () => {}) => opened(site.browser, site.server.url, author, place, async context => {
      await context.addInitScript(noteMarks);
      await context.addInitScript(script);
    }),
    /** Opens another tab beside a page. @param {Page} page */
    async tab(page) {
      const tab = await page.context().newPage();
      await tab.goto(`${site.server.url}/#/general`);
      return tab;
    },
    /** The bodies of a room on the server, in order. @returns {Promise<string[]>} */
    bodies: async (room = "general") => (await site.server.entries(room)).map(it => it.body),
  };
  before(async () => { site.browser = await launch(); });
  after(() => site.browser.close());
  beforeEach(async () => { site.server = Object.assign(await Server.start(flags), { headers }); });
  afterEach(async () => {
    for (const context of site.browser.contexts()) await context.close();
    await site.server.end();
  });
  return site;
}

/**
 * Opens a page in a browser profile of its own.
 * @param {import("playwright-core").Browser} browser
 * @param {string} url
 * @param {string} [author] without one, the page asks for a name
 * @param {string} [place] the part of the address after the host
 * @param {(context: import("playwright-core").BrowserContext) => Promise<unknown>} [prepare] runs before the page is opened
 */
export async function opened(browser, url, author, place = "#/general", prepare = async () => {}) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 700 } });
  context.setDefaultTimeout(PATIENCE_MS);
  if (author !== undefined) await context.addInitScript(name => { localStorage.setItem("roomlog.author", name); }, author);
  await prepare(context);
  const page = await context.newPage();
  /** @type {string[]} */
  const problems = [];
  page.on("pageerror", error => problems.push(String(error)));
  page.on("console", line => { if (line.type() === "error" && !/WebSocket|ERR_CONNECTION|status of 401/.test(line.text())) problems.push(line.text()); });
  await page.goto(`${url}/${place}`);
  return Object.assign(page, { problems });
}

/** Writes a line. @param {Page} page @param {string} text */
export async function say(page, text) {
  await page.locator("#body").fill(text);
  await page.locator("#body").press("Enter");
}

/** Waits until these are the lines of the timeline, in order. @param {Page} page @param {string[]} expected */
export async function shows(page, expected) {
  await eventually(() => page.locator("#log .entry .body").allTextContents(), expected);
}

/** Waits until the page shows this many unsent lines. @param {Page} page @param {number} count */
export async function pending(page, count) {
  await eventually(() => page.locator("#pending .entry").count(), count);
}

/** Waits until the page has this status. @param {Page} page @param {string} state */
export function status(page, state) {
  return page.locator(`#status[data-state="${state}"]`).waitFor();
}

/** Waits until the element with this id has the focus. @param {Page} page @param {string} id @param {string} [message] */
export async function focused(page, id, message) {
  await eventually(() => page.evaluate(() => document.activeElement?.id), id, message);
}

/** Waits until this is the text in the composer. @param {Page} page @param {string} text */
export async function composed(page, text) {
  await eventually(() => page.locator("#body").inputValue(), text);
}

/** Waits until the page has jumped to a slot and has marked it. @param {Page} page @param {number} slot */
export async function marked(page, slot) {
  await page.waitForFunction(id => /** @type {any} */ (window).marks.delete(id), `slot-${slot}`);
}

/** Runs in a page: notes the lines that are marked, since a mark is removed after two seconds. */
function noteMarks() {
  /** @type {Set<string>} */
  const marks = /** @type {any} */ (window).marks = new Set();
  new MutationObserver(changes => {
    for (const { target } of changes) if (target instanceof HTMLElement && target.classList.contains("marked")) marks.add(target.id);
  }).observe(document, { subtree: true, attributes: true, attributeFilter: ["class"] });
}

/**
 * Closes the open dialog, and waits until the page has put the focus where it belongs: the `close` event comes in a later
 * task, and keys that are pressed before it may go nowhere.
 * @param {Page} page @param {() => Promise<void>} close
 */
export async function closes(page, close) {
  const closed = await page.evaluateHandle(() => ({
    event: new Promise(done => document.querySelector("dialog[open]")?.addEventListener("close", () => done(null), { once: true })),
  }));
  await close();
  await closed.evaluate(it => it.event);
}
