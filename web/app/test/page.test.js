// The page in a real Chromium, against a real server.

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

test("two people write and see one log; what they write is text", async () => {
  const ada = await opened(browser, server.url, "ada"), grace = await opened(browser, server.url, "grace");
  await status(ada, "live");
  await say(ada, "hello <b>grace</b>");
  await shows(grace, ["hello <b>grace</b>"]);
  await say(grace, "hi ada, see https://example.org/x.");
  const both = ["hello <b>grace</b>", "hi ada, see https://example.org/x."];
  await shows(ada, both);
  await shows(grace, both);
  const link = ada.locator("#log .body a");
  assert.deepEqual([await link.textContent(), await link.getAttribute("href")], ["https://example.org/x", "https://example.org/x"]);
  assert.equal(await ada.locator("#pending .entry").count(), 0);
  assert.deepEqual([ada.problems, grace.problems], [[], []]);
});

test("the server is killed and started again while two write: each line once, nothing is lost", async () => {
  const pages = [await opened(browser, server.url, "ada"), await opened(browser, server.url, "grace")];
  for (const page of pages) await status(page, "live");
  for (let n = 0; n < 12; n++) {
    if (n === 4) await server.stop("SIGKILL");
    if (n === 8) await server.start();
    for (const page of pages) await say(page, String(n));
  }
  for (const page of pages) await page.waitForFunction(() => document.querySelectorAll("#log .entry").length === 24 && !document.querySelector("#pending .entry"));
  const log = await server.entries("general");
  for (const author of ["ada", "grace"]) {
    assert.deepEqual(log.filter(it => it.author === author).map(it => it.body), [...Array(12).keys()].map(String));
  }
  for (const page of pages) await shows(page, log.map(it => it.body));
});

test("ten lines wait while the server is away: then each is there once, in order", async () => {
  const page = await opened(browser, server.url, "ada");
  await status(page, "live");
  await server.stop();
  await status(page, "offline");
  const ten = [...Array(10).keys()].map(n => `line ${n}`);
  for (const line of ten) await say(page, line);
  assert.equal(await page.locator("#pending .entry").count(), 10);
  await server.start();
  await shows(page, ten);
  await status(page, "live");
  assert.equal(await page.locator("#pending .entry").count(), 0);
  assert.deepEqual((await server.entries("general")).map(it => it.body), ten);
});

test("a line that could not be sent survives a reload, and is sent once", async () => {
  const page = await opened(browser, server.url, "ada");
  await status(page, "live");
  await say(page, "first");
  await shows(page, ["first"]);
  await server.stop();
  await status(page, "offline");
  await say(page, "unsent");
  assert.match(await page.locator("#pending .entry").textContent() ?? "", /unsent.*Waiting to be sent/);
  await server.start();
  await page.reload();
  await shows(page, ["first", "unsent"]);
  assert.deepEqual((await server.entries("general")).map(it => it.body), ["first", "unsent"]);
});

test("scrolling goes to the first slot and back; a link goes to its slot", async () => {
  await server.put(Array.from({ length: 3_000 }, (_, n) => ({ author: n % 7 ? "ada" : "grace", id: `x-${n}`, body: `line ${n}` })));
  const page = await opened(browser, server.url, "ada");
  await page.locator("#slot-2999").waitFor();
  await page.evaluate(async () => {
    const scroller = /** @type {HTMLElement} */ (document.getElementById("scroller"));
    while (!document.getElementById("slot-0")) {
      scroller.scrollTop = 0;
      await new Promise(requestAnimationFrame);
    }
    scroller.scrollTop = 0;
  });
  assert.ok(await page.locator("#log .entry").count() <= 300);
  await page.locator("#start", { hasText: "beginning" }).waitFor();
  await page.locator("#now").click();
  await page.locator("#slot-2999").waitFor();
  await say(page, "at the end");
  await page.locator("#slot-3000").waitFor();

  await page.evaluate(() => { location.hash = "#/general/1042"; });
  await page.locator("#slot-1042.marked").waitFor();
  assert.ok(await page.locator("#slot-1042").evaluate(line => {
    const { top, bottom } = line.getBoundingClientRect();
    return top >= 0 && bottom <= innerHeight;
  }));
  assert.deepEqual(page.problems, []);
});

test("what is looked at does not move when older lines come above it", async () => {
  await server.put(Array.from({ length: 1_000 }, (_, n) => ({ author: "ada", id: `x-${n}`, body: `line ${n} ${"long ".repeat(n % 40)}` })));
  const page = await opened(browser, server.url, "grace");
  await page.locator("#slot-999").waitFor();
  const moves = await page.evaluate(async () => {
    const scroller = /** @type {HTMLElement} */ (document.getElementById("scroller"));
    const frame = () => new Promise(requestAnimationFrame);
    const moves = [];
    for (let n = 0; n < 120; n++) {
      scroller.scrollTop -= 200;
      const top = scroller.getBoundingClientRect().top;
      const seen = [...document.querySelectorAll("#log .entry")].find(line => line.getBoundingClientRect().bottom > top);
      const before = seen?.getBoundingClientRect().top ?? 0;
      await frame();
      await frame();
      if (seen?.isConnected && scroller.scrollTop > 0) moves.push(Math.abs(seen.getBoundingClientRect().top - before));
    }
    return moves;
  });
  assert.ok(moves.length > 100);
  assert.ok(Math.max(...moves) < 2, `it moved by ${Math.max(...moves)} px`);
});

test("replies, reactions, edits and actions are made and shown", async () => {
  const ada = await opened(browser, server.url, "ada"), grace = await opened(browser, server.url, "grace");
  await status(ada, "live");
  await say(ada, "helo");
  const line = grace.locator("#slot-0");
  await line.waitFor();
  await line.focus();
  await line.press("r");
  await say(grace, "you mean hello");
  await line.focus();
  await line.press("1");
  await ada.locator("#slot-0 .reactions", { hasText: "👍 1" }).waitFor();
  await ada.locator("#body").press("ArrowUp");
  assert.equal(await ada.locator("#body").inputValue(), "helo");
  await say(ada, "hello");
  await grace.locator("#slot-0 .edited").waitFor();
  await say(ada, "/me waves");
  await shows(grace, ["hello", "you mean hello", "waves"]);
  assert.equal(await grace.locator("#slot-1 .quote").textContent(), "ada: helo".replace("helo", "hello"));
  await grace.locator("#slot-0 .reactions button").click();
  await ada.locator("#slot-0 .reactions").waitFor({ state: "detached" });
  assert.deepEqual((await server.entries("general")).map(it => it.kind ?? "text"), ["text", "text", "reaction", "edit", "action", "reaction"]);
});

test("a room is opened at its end, however long it is, and stays there when the window becomes smaller", async () => {
  const atEnd = (/** @type {import("playwright-core").Page} */ page) => page.waitForFunction(() => {
    const { scrollTop, scrollHeight, clientHeight } = /** @type {HTMLElement} */ (document.getElementById("scroller"));
    return scrollHeight - scrollTop - clientHeight < 2 && document.getElementById("now")?.hidden;
  });
  for (const [room, count] of /** @type {const} */ ([["short", 3], ["some", 30], ["long", 500]])) {
    await server.put(Array.from({ length: count }, (_, n) => ({ author: "ada", id: `x-${n}`, body: `line ${n}` })), room);
    const page = await opened(browser, server.url, "grace", `#/${room}`);
    await page.locator(`#slot-${count - 1}`).waitFor();
    await atEnd(page);
    await page.setViewportSize({ width: 400, height: 300 });
    await atEnd(page);
    await server.put([{ author: "ada", id: "last", body: "the last" }], room);
    await page.locator(`#slot-${count}`).waitFor();
    await atEnd(page);
  }
});

test("entries that mean harm do none", async () => {
  const bodies = [
    "<script>window.harmed = true</script>", "<img src=x onerror='window.harmed = true'>", "javascript:window.harmed=true",
    "w".repeat(16_384), `a${"\u0301".repeat(1_000)}`, "\u202Egnihtemos\u202C", "\u200B\u200D\uFEFF", "\u001B[31mred\u001B]0;title\u0007", "\n".repeat(2_000),
  ];
  await server.put(bodies.map((body, n) => ({ author: n === 5 ? "\u202Eada" : "eve", id: `e-${n}`, body })));
  const page = await opened(browser, server.url, "ada");
  await page.locator("#slot-8").waitFor();
  assert.equal(await page.evaluate(() => "harmed" in window), false);
  await shows(page, bodies);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth || document.getElementById("scroller")?.scrollWidth !== document.getElementById("scroller")?.clientWidth);
  assert.equal(wide, false, "nothing is wider than the page");
  const heights = await page.locator("#log .entry").evaluateAll(all => all.map(it => it.getBoundingClientRect().height));
  assert.ok(Math.max(...heights) < 600, `${heights}`);
  assert.deepEqual(page.problems, []);
});

test("two tabs of one browser: each sends its own, and what a closed one left is sent by the other's next page", async () => {
  const first = await opened(browser, server.url, "ada");
  const second = await first.context().newPage();
  await second.goto(`${server.url}/#/general`);
  for (const page of [first, second]) await status(page, "live");
  await server.stop();
  for (const page of [first, second]) await status(page, "offline");
  await say(first, "from the first");
  await say(second, "from the second");
  await first.close();
  await server.start();
  await second.reload();
  await second.waitForFunction(() => document.querySelectorAll("#log .entry").length === 2);
  assert.deepEqual((await server.entries("general")).map(it => it.body).sort(), ["from the first", "from the second"]);
});

test("a name is asked for once, and rooms tell what was not read", async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${server.url}/#/general`);
  await page.locator("#who-name").fill("ada");
  await page.locator("#who-name").press("Enter");
  await status(page, "live");
  await say(page, "hi");
  await page.locator("#slot-0").waitFor();
  await page.reload();
  await page.locator("#slot-0").waitFor();
  assert.equal(await page.locator("#who").isVisible(), false);
  await page.evaluate(() => { location.hash = "#/side"; });
  await page.locator("h1", { hasText: "side" }).waitFor();
  await server.put([{ author: "grace", id: "g-1", body: "one" }, { author: "grace", id: "g-2", body: "two" }]);
  await page.locator("#rooms a", { hasText: "general" }).locator("b", { hasText: "2" }).waitFor();
  await page.evaluate(() => { location.hash = "#/general"; });
  await page.locator("li.unread").waitFor();
  await page.locator("#rooms b").waitFor({ state: "detached" });
});

test("another log than before is told, and shown from its beginning", async () => {
  const page = await opened(browser, server.url, "ada");
  await status(page, "live");
  await say(page, "old");
  await shows(page, ["old"]);
  const port = server.port;
  await server.end();
  server = new Server();
  server.port = port;
  await server.start();
  await server.put([{ author: "grace", id: "n-1", body: "new" }]);
  await page.locator("#notice", { hasText: "another log" }).waitFor();
  await shows(page, ["new"]);
});
