// The pictures of the README, made anew: `node screenshots.js` in web/, behind `cargo build -p roomlog` and
// `npm ci`. Needs Chromium, and a font with emoji (Debian: fonts-noto-color-emoji).

import { fileURLToPath } from "node:url";

import { launch, opened, status } from "./app/test/browser.js";
import { Server } from "./sdk/test/server.js";

const CODE = "It was a timer that a send cleared while offline:\n```js\nif (!socket) return; // the timer is that of the next try\n```\nFixed in `connection.js`.";

/** What people say in `general`. */
const SAID = [
  { author: "grace", body: "Is anyone else losing lines when the server restarts?" },
  { author: "ada", body: "No. Kill it while you type and look: each line is there once." },
  { author: "grace", body: "I did. It said “will be sent when back”, and then it was.", ref: 1 },
  { author: "edsger", body: "🎉", kind: "reaction", ref: 2 },
  { author: "ada", body: "🎉", kind: "reaction", ref: 2 },
  { author: "edsger", body: "The build is green again, see https://ci.example.org/runs/418." },
  { author: "edsger", body: CODE },
  { author: "ada", body: "👍", kind: "reaction", ref: 6 },
  { author: "leila", body: "صباح الخير، هل يمكنني المساعدة؟" },
  { author: "ada", body: "Yes please! The import of 2015 could use a second pair of eyes.", ref: 8 },
  { author: "leila", body: "looks", kind: "action" },
];

const folder = fileURLToPath(new URL("../docs/screenshots/", import.meta.url));
const server = await Server.start(), browser = await launch();
try {
  await say("general", SAID);
  for (const room of ["releases", "support"]) await say(room, [{ author: "grace", body: "hello" }]);
  const page = await opened(browser, server.url, "ada");
  for (const room of ["support", "releases", "general"]) {
    await page.evaluate(name => { location.hash = `#/${name}`; }, room);
    await page.locator("#slot-0").waitFor();
  }
  await say("support", [{ author: "leila", body: "one" }, { author: "leila", body: "two" }]);
  await page.locator("#rooms b", { hasText: "2" }).waitFor();
  await page.locator("#slot-10").waitFor();
  await status(page, "live");
  await page.setViewportSize({ width: 1000, height: 640 });
  await page.screenshot({ path: `${folder}light.png` });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: `${folder}dark.png` });
  await page.setViewportSize({ width: 390, height: 780 });
  await page.screenshot({ path: `${folder}phone.png` });
} finally {
  await browser.close();
  await server.end();
}

/** @param {string} room @param {object[]} entries */
async function say(room, entries) {
  const body = entries.map((entry, n) => JSON.stringify({ id: `${Date.now()}-${n}`, ...entry })).join("\n");
  const headers = { "content-type": "application/x-ndjson" };
  const answer = await fetch(`${server.url}/v1/rooms/${room}/entries`, { method: "POST", headers, body });
  if (!answer.ok) throw new Error(await answer.text());
}
