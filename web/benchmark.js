// What the page costs, by the browser's own tracing: `node benchmark.js` in web/, behind `npm ci` and
// `cargo build --release -p roomlog`. Needs Chromium.
//
// Prints: when a page that is opened for the first time is painted and shows the newest entry; the longest
// tasks of the page's thread while 50 entries a second arrive, and while 10,000 are scrolled through, up and
// down. A task of more than 50 ms is one that a person notices. The floor, in the same run: a file with one
// line, and one with as many lines as are scrolled through, both without a script.

import { readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

process.env.ROOMLOG_BINARY ??= fileURLToPath(new URL("../target/release/roomlog", import.meta.url));
const { launch, opened, status } = await import("./app/test/browser.js");
const { Server } = await import("./sdk/test/server.js");

const ENTRIES = 10_000, LOADS = 15;
const PER_SECOND = 50, SECONDS = 10;
/** How far one turn of the wheel scrolls: as far as a quick flick. */
const WHEEL_PX = 2_000;
/** The longest task that is no long task, in ms (W3C Long Tasks). */
const LONG_MS = 50;

const server = await Server.start(), browser = await launch();
const floor = createServer(({ url }, answer) => {
  const lines = Array.from({ length: url?.startsWith("/long") ? ENTRIES : 1 }, (_, n) => `<p id="slot-${n}">${entry(n).body}`);
  answer.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(`<!doctype html><div id="log">${lines.join("")}</div>`);
});
await new Promise(listening => floor.listen(0, "127.0.0.1", () => listening(undefined)));
const floorUrl = `http://127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (floor.address()).port}`;
try {
  await server.put(Array.from({ length: ENTRIES }, (_, n) => entry(n)));
  await firstPaint();
  await arriving();
  await scrolling();
} finally {
  await browser.close();
  floor.close();
  await server.end();
}

/** An entry as people write them: mostly short, some of many lines, some replies. @param {number} n */
function entry(n) {
  const words = "the quick brown fox jumps over the lazy dog and looks at https://example.org/fox once more".split(" ");
  const body = words.slice(0, 2 + (n * 7) % 15).join(" ") + (n % 40 === 0 ? "\n```js\nif (fox) jump();\n```\nand so on" : "");
  return { author: ["ada", "grace", "edsger", "leila"][(n >> 1) % 4], id: `b-${n}`, body, ...n % 9 === 8 && { ref: n - 5 } };
}

async function firstPaint() {
  /** @type {Record<"floor" | "paint" | "newest", number[]>} */
  const times = { floor: [], paint: [], newest: [] };
  for (let n = 0; n < LOADS; n++) {
    const plain = await opened(browser, floorUrl, "ada", "");
    times.floor.push(await paint(plain));
    const prepare = (/** @type {import("playwright-core").BrowserContext} */ context) => context.addInitScript(watchFor, `slot-${ENTRIES - 1}`);
    const page = await opened(browser, server.url, "ada", "#/general", prepare);
    await page.locator(`#slot-${ENTRIES - 1}`).waitFor();
    times.paint.push(await paint(page));
    times.newest.push(await page.evaluate(() => performance.getEntriesByName("seen")[0].startTime));
    for (const context of browser.contexts()) await context.close();
  }
  console.log(`first paint, ${LOADS} loads with nothing cached: ${spread(times.paint)}; the floor: ${spread(times.floor)}`);
  console.log(`the newest of ${ENTRIES} entries is there: ${spread(times.newest)}`);
}

/** When a page was painted first, in ms from the navigation. @param {import("playwright-core").Page} page */
function paint(page) {
  return page.evaluate(async () => {
    for (;;) {
      const [paint] = performance.getEntriesByName("first-contentful-paint");
      if (paint) return paint.startTime;
      await new Promise(requestAnimationFrame);
    }
  });
}

async function arriving() {
  const page = await opened(browser, server.url, "ada");
  await page.locator(`#slot-${ENTRIES - 1}`).waitFor();
  await status(page, "live");
  const tasks = await traced(page, async () => {
    const begin = performance.now();
    for (let n = 0; n < PER_SECOND * SECONDS; n++) {
      const late = performance.now() - begin - n * 1_000 / PER_SECOND;
      if (late < 0) await new Promise(next => setTimeout(next, -late));
      await server.put([entry(ENTRIES + n)]);
    }
    await page.locator(`#slot-${ENTRIES + PER_SECOND * SECONDS - 1}`).waitFor();
  });
  console.log(`${PER_SECOND} entries a second for ${SECONDS} s: ${told(tasks)}`);
  await page.context().close();
}

async function scrolling() {
  for (const [name, url, count] of /** @type {const} */ ([["the floor", `${floorUrl}/long`, ENTRIES], ["the page", server.url, ENTRIES + PER_SECOND * SECONDS]])) {
    const page = await opened(browser, url, "ada", name === "the page" ? "#/general" : "");
    if (name === "the floor") await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await page.locator(`#slot-${count - 1}`).waitFor();
    await page.mouse.move(600, 300);
    for (const [way, by, slot] of /** @type {const} */ ([["up", -WHEEL_PX, 0], ["down", WHEEL_PX, count - 1]])) {
      const begin = performance.now();
      const tasks = await traced(page, async () => {
        while (!await page.evaluate(isSeen, slot)) await page.mouse.wheel(0, by);
      });
      const seconds = (performance.now() - begin) / 1_000;
      console.log(`scrolling ${way} through ${count}, ${name}, ${seconds.toFixed(1)} s: ${told(tasks)}`);
    }
    await page.context().close();
  }
}

/** Runs in the page: whether a slot is on the screen. @param {number} slot */
function isSeen(slot) {
  const line = document.getElementById(`slot-${slot}`)?.getBoundingClientRect();
  return line !== undefined && line.bottom > 0 && line.top < innerHeight;
}

/**
 * How long the tasks of the page's own thread were meanwhile, in ms.
 * @param {import("playwright-core").Page} page
 * @param {() => Promise<void>} meanwhile
 */
async function traced(page, meanwhile) {
  const path = join(tmpdir(), `roomlog-trace-${process.pid}.json`);
  await browser.startTracing(page, { path, categories: ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"] });
  await meanwhile();
  await browser.stopTracing();
  /** @type {any[]} */
  const events = JSON.parse(await readFile(path, "utf8")).traceEvents;
  await rm(path);
  const threads = new Set(events.filter(it => it.args?.name === "CrRendererMain").map(it => `${it.pid}/${it.tid}`));
  const tasks = events.filter(it => it.name === "RunTask" && it.dur !== undefined && threads.has(`${it.pid}/${it.tid}`));
  const durations = tasks.map(it => ({ wall: it.dur / 1_000, cpu: (it.tdur ?? it.dur) / 1_000 }));
  if (durations.length === 0) throw new Error("the trace holds no task of the page");
  return durations;
}

/**
 * By the clock, and by the thread's own time: what the machine gave to others is no work of the page.
 * @param {{wall: number, cpu: number}[]} tasks
 */
function told(tasks) {
  const of = (/** @type {"wall" | "cpu"} */ clock) => {
    const times = tasks.map(it => it[clock]).sort((a, b) => a - b);
    const [p99, longest] = [0.99, 1].map(part => times[Math.floor(part * (times.length - 1))]);
    return `p99 ${p99.toFixed(1)} ms, longest ${longest.toFixed(1)} ms, longer than ${LONG_MS} ms: ${times.filter(it => it > LONG_MS).length}`;
  };
  return `${tasks.length} tasks\n  by the clock:      ${of("wall")}\n  of the thread's:   ${of("cpu")}`;
}

/** Runs in the page: notes when an element is there first. @param {string} id */
function watchFor(id) {
  new MutationObserver((_, watch) => {
    if (!document.getElementById(id)) return;
    performance.mark("seen");
    watch.disconnect();
  }).observe(document, { childList: true, subtree: true });
}

/** @param {number[]} times */
function spread(times) {
  const [low, middle, high] = [0, 0.5, 1].map(part => times.toSorted((a, b) => a - b)[Math.floor(part * (times.length - 1))]);
  return `median ${middle.toFixed(0)} ms (${low.toFixed(0)}–${high.toFixed(0)})`;
}
