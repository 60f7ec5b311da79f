// The page in a real Chromium, against a real server.

import assert from "node:assert/strict";
import { test } from "node:test";

import { PATIENCE_MS, eventually } from "../../sdk/test/wait.js";
import { composed, marked, pending, say, shows, status, testSite } from "./browser.js";

const site = testSite();

test("two people write and see one log; what they write is shown as text", async () => {
  const ada = await site.open("ada"), grace = await site.open("grace");
  await status(ada, "live");
  await say(ada, "hello <b>grace</b>");
  await shows(grace, ["hello <b>grace</b>"]);
  await say(grace, "hi ada, see https://example.org/x.");
  const both = ["hello <b>grace</b>", "hi ada, see https://example.org/x."];
  await shows(ada, both);
  await shows(grace, both);
  const links = ada.locator("#log .body a");
  await eventually(() => links.evaluateAll(all => all.map(it => [it.textContent, it.getAttribute("href")])), [["https://example.org/x", "https://example.org/x"]]);
  await pending(ada, 0);
  assert.deepEqual([ada.problems, grace.problems], [[], []]);
});

test("the server is killed and restarted while two people write: each line once, nothing is lost", async () => {
  const pages = [await site.open("ada"), await site.open("grace")];
  for (const page of pages) await status(page, "live");
  for (let n = 0; n < 12; n++) {
    if (n === 4) await site.server.stop("SIGKILL");
    if (n === 8) await site.server.start();
    for (const page of pages) await say(page, String(n));
  }
  for (const page of pages) await page.waitForFunction(() => document.querySelectorAll("#log .entry").length === 24 && !document.querySelector("#pending .entry"));
  const log = await site.server.entries("general");
  for (const author of ["ada", "grace"]) {
    assert.deepEqual(log.filter(it => it.author === author).map(it => it.body), [...Array(12).keys()].map(String));
  }
  for (const page of pages) await shows(page, log.map(it => it.body));
});

test("ten lines that are written while the server is down are sent once each, in order", async () => {
  const page = await site.open("ada");
  await status(page, "live");
  await site.server.stop();
  await status(page, "offline");
  const ten = [...Array(10).keys()].map(n => `line ${n}`);
  for (const line of ten) await say(page, line);
  await pending(page, 10);
  await site.server.start();
  await shows(page, ten);
  await status(page, "live");
  await pending(page, 0);
  assert.deepEqual((await site.server.entries("general")).map(it => it.body), ten);
});

test("an unsent line survives a reload and is sent once", async () => {
  const page = await site.open("ada");
  await status(page, "live");
  await say(page, "first");
  await shows(page, ["first"]);
  await site.server.stop();
  await status(page, "offline");
  await say(page, "unsent");
  await eventually(() => page.locator("#pending .entry").allTextContents(), all => all.length === 1 && /unsent.*Waiting to be sent/.test(all[0]));
  await site.server.start();
  await page.reload();
  await shows(page, ["first", "unsent"]);
  assert.deepEqual((await site.server.entries("general")).map(it => it.body), ["first", "unsent"]);
});

test("scrolling reaches the first slot and the end; a link leads to its slot", async () => {
  await site.server.put(Array.from({ length: 3_000 }, (_, n) => ({ author: n % 7 ? "ada" : "grace", id: `x-${n}`, body: `line ${n}` })));
  const page = await site.open("ada");
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
  await marked(page, 1042);
  await eventually(() => page.locator("#slot-1042").evaluate(line => {
    const { top, bottom } = line.getBoundingClientRect();
    return { top, bottom, height: innerHeight };
  }), ({ top, bottom, height }) => top >= 0 && bottom <= height);
  assert.deepEqual(page.problems, []);
});

test("visible lines do not move when older lines are added above them", async () => {
  await site.server.put(Array.from({ length: 1_000 }, (_, n) => ({ author: "ada", id: `x-${n}`, body: `line ${n} ${"long ".repeat(n % 40)}` })));
  const page = await site.open("grace");
  await page.locator("#slot-999").waitFor();
  const moves = await page.evaluate(async ms => {
    const scroller = /** @type {HTMLElement} */ (document.getElementById("scroller"));
    const frame = () => new Promise(requestAnimationFrame);
    const moves = [];
    // At the top nothing is measured: older lines are still being loaded.
    for (const end = performance.now() + ms; moves.length < 110 && performance.now() < end;) {
      scroller.scrollTop -= 200;
      const top = scroller.getBoundingClientRect().top;
      const visible = [...document.querySelectorAll("#log .entry")].find(line => line.getBoundingClientRect().bottom > top);
      const before = visible?.getBoundingClientRect().top ?? 0;
      await frame();
      await frame();
      if (visible?.isConnected && scroller.scrollTop > 0) moves.push(Math.abs(visible.getBoundingClientRect().top - before));
    }
    return moves;
  }, PATIENCE_MS);
  assert.equal(moves.length, 110);
  assert.ok(Math.max(...moves) < 2, `it moved by ${Math.max(...moves)} px`);
});

test("replies, reactions, edits and actions are sent and shown", async () => {
  const ada = await site.open("ada"), grace = await site.open("grace");
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
  await composed(ada, "helo");
  await say(ada, "hello");
  await grace.locator("#slot-0 .edited").waitFor();
  await say(ada, "/me waves");
  await shows(grace, ["hello", "you mean hello", "waves"]);
  await eventually(() => grace.locator("#slot-1 .quote").textContent(), "ada: hello");
  await grace.locator("#slot-0 .reactions button").click();
  await ada.locator("#slot-0 .reactions").waitFor({ state: "detached" });
  assert.deepEqual((await site.server.entries("general")).map(it => it.kind ?? "text"), ["text", "text", "reaction", "edit", "action", "reaction"]);
});

test("a room opens at its end, however long it is, and stays there when the window becomes smaller", async () => {
  const atEnd = (/** @type {import("playwright-core").Page} */ page) => page.waitForFunction(() => {
    const { scrollTop, scrollHeight, clientHeight } = /** @type {HTMLElement} */ (document.getElementById("scroller"));
    return scrollHeight - scrollTop - clientHeight < 2 && document.getElementById("now")?.hidden;
  });
  for (const [room, count] of /** @type {const} */ ([["short", 3], ["some", 30], ["long", 500]])) {
    await site.server.put(Array.from({ length: count }, (_, n) => ({ author: "ada", id: `x-${n}`, body: `line ${n}` })), room);
    const page = await site.open("grace", `#/${room}`);
    await page.locator(`#slot-${count - 1}`).waitFor();
    await atEnd(page);
    await page.setViewportSize({ width: 400, height: 300 });
    await atEnd(page);
    await site.server.put([{ author: "ada", id: "last", body: "the last" }], room);
    await page.locator(`#slot-${count}`).waitFor();
    await atEnd(page);
  }
});

test("malicious entries do no harm", async () => {
  const bodies = [
    "<script>window.harmed = true</script>", "<img src=x onerror='window.harmed = true'>", "javascript:window.harmed=true",
    "w".repeat(16_384), `a${"\u0301".repeat(1_000)}`, "\u202Egnihtemos\u202C", "\u200B\u200D\uFEFF", "\u001B[31mred\u001B]0;title\u0007", "\n".repeat(2_000),
  ];
  await site.server.put(bodies.map((body, n) => ({ author: "eve", id: `e-${n}`, body })));
  const page = await site.open("ada");
  await page.locator("#slot-8").waitFor();
  await shows(page, bodies);
  const isWide = () => page.evaluate(() => document.documentElement.scrollWidth > innerWidth || document.getElementById("scroller")?.scrollWidth !== document.getElementById("scroller")?.clientWidth);
  await eventually(isWide, false, "nothing is wider than the page");
  await eventually(() => page.locator("#log .entry").evaluateAll(all => all.map(it => it.getBoundingClientRect().height)), heights => Math.max(...heights) < 600);
  assert.equal(await page.evaluate(() => "harmed" in window), false);
  assert.deepEqual(page.problems, []);
});

test("two tabs of one browser: each sends its own lines, and those of a closed tab are sent by the other after a reload", async () => {
  const first = await site.open("ada");
  const second = await site.tab(first);
  for (const page of [first, second]) await status(page, "live");
  await site.server.stop();
  for (const page of [first, second]) await status(page, "offline");
  await say(first, "from the first");
  await say(second, "from the second");
  await first.close();
  await site.server.start();
  await second.reload();
  await second.waitForFunction(() => document.querySelectorAll("#log .entry").length === 2);
  assert.deepEqual((await site.server.entries("general")).map(it => it.body).sort(), ["from the first", "from the second"]);
});

test("the page asks for a name once, and rooms show unread messages", async () => {
  const page = await site.open();
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
  await site.server.put([{ author: "grace", id: "g-1", body: "one" }, { author: "grace", id: "g-2", body: "two" }]);
  await page.locator("#rooms a", { hasText: "general" }).locator("b", { hasText: "2" }).waitFor();
  await page.evaluate(() => { location.hash = "#/general"; });
  await page.locator("li.unread").waitFor();
  await page.locator("#rooms b").waitFor({ state: "detached" });
});

test("another log is announced, and shown from its beginning", async () => {
  const page = await site.open("ada");
  await status(page, "live");
  await say(page, "old");
  await shows(page, ["old"]);
  await site.server.reset();
  await site.server.put([{ author: "grace", id: "n-1", body: "new" }]);
  await page.locator("#notice", { hasText: "another log" }).waitFor();
  await shows(page, ["new"]);
});
