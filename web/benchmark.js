// Measures the page with the browser's own tracing: `node benchmark.js` in web/, after `npm ci` and
// `cargo build --release -p roomlog`. Needs Chromium.
//
// Prints when a page that is opened for the first time is painted and shows the newest entry, and the longest tasks of its
// main thread while 50 entries per second arrive and while 10,000 are scrolled through, up and down. A task of more than
// 50 ms is noticeable. The floor, measured in the same run, is a page without a script, with one line or with all of them.

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
/** The distance of a wheel event, as of a quick flick, in pixels. */
const WHEEL_PX = 2_000;
/** Tasks longer than this are long tasks, in ms (W3C Long Tasks). */
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

/** A typical entry: mostly short, some with many lines, some replies. @param {number} n */
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
  console.log(`first paint, ${LOADS} loads with an empty cache: ${spread(times.paint)}; the floor: ${spread(times.floor)}`);
  console.log(`newest of ${ENTRIES} entries shown: ${spread(times.newest)}`);
}

/** The time of the first paint, in ms after the navigation. @param {import("playwright-core").Page} page */
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
  console.log(`${PER_SECOND} entries per second for ${SECONDS} s: ${summary(tasks)}`);
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
        while (!await page.evaluate(isVisible, slot)) await page.mouse.wheel(0, by);
      });
      const seconds = (performance.now() - begin) / 1_000;
      console.log(`scrolling ${way} through ${count}, ${name}, ${seconds.toFixed(1)} s: ${summary(tasks)}`);
    }
    await page.context().close();
  }
}

/** Runs in the page: whether a slot is visible. @param {number} slot */
function isVisible(slot) {
  const line = document.getElementById(`slot-${slot}`)?.getBoundingClientRect();
  return line !== undefined && line.bottom > 0 && line.top < innerHeight;
}

/**
 * Measures the tasks of the page's main thread during an action, in ms.
 * @param {import("playwright-core").Page} page
 * @param {() => Promise<void>} act
 */
async function traced(page, act) {
  const path = join(tmpdir(), `roomlog-trace-${process.pid}.json`);
  await browser.startTracing(page, { path, categories: ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"] });
  await act();
  await browser.stopTracing();
  /** @type {any[]} */
  const events = JSON.parse(await readFile(path, "utf8")).traceEvents;
  await rm(path);
  const threads = new Set(events.filter(it => it.args?.name === "CrRendererMain").map(it => `${it.pid}/${it.tid}`));
  const tasks = events.filter(it => it.name === "RunTask" && it.dur !== undefined && threads.has(`${it.pid}/${it.tid}`));
  const durations = tasks.map(it => ({ wall: it.dur / 1_000, cpu: (it.tdur ?? it.dur) / 1_000 }));
  if (durations.length === 0) throw new Error("the trace has no task of the page");
  return durations;
}

/**
 * Summarizes tasks by wall time and by CPU time, which leaves out the time that other processes had.
 * @param {{wall: number, cpu: number}[]} tasks
 */
function summary(tasks) {
  const of = (/** @type {"wall" | "cpu"} */ clock) => {
    const times = tasks.map(it => it[clock]).sort((a, b) => a - b);
    const [p99, longest] = [0.99, 1].map(part => times[Math.floor(part * (times.length - 1))]);
    return `p99 ${p99.toFixed(1)} ms, longest ${longest.toFixed(1)} ms, longer than ${LONG_MS} ms: ${times.filter(it => it > LONG_MS).length}`;
  };
  return `${tasks.length} tasks\n  wall time:  ${of("wall")}\n  CPU time:   ${of("cpu")}`;
}

/** Runs in the page: records when an element appears. @param {string} id */
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
