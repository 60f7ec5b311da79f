// Makes the screenshots in docs/screenshots: `node screenshots.js` in web/, after `cargo build -p roomlog` and `npm ci`. Needs
// Chromium and an emoji font (Debian: fonts-noto-color-emoji).

import { fileURLToPath } from "node:url";

import { launch, opened, status } from "./app/test/browser.js";
import { Terminal } from "./app/test/terminal.js";
import { Server } from "./sdk/test/server.js";

const CODE = "It was a timer that a send cleared while offline:\n```js\nif (!socket) return; // the timer is for the next attempt\n```\nFixed in `connection.js`.";

/** Terminal colours 0 to 7. */
const COLOURS = ["#16181d", "#e5707a", "#8cc98c", "#e0c070", "#7aa8f0", "#c89ae0", "#70c8d0", "#d8dbe2"];

/** The entries of `general`. */
const ENTRIES = [
  { author: "grace", body: "Is anyone else losing lines when the server restarts?" },
  { author: "ada", body: "No. Kill it while you type and look: each line is there once." },
  { author: "grace", body: "I did. It said “Waiting to be sent”, and then it was sent.", ref: 1 },
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
  await server.put(ENTRIES);
  for (const room of ["releases", "support"]) await server.put([{ author: "grace", body: "hello" }], room);
  const page = await opened(browser, server.url, "ada");
  for (const room of ["support", "releases", "general"]) {
    await page.evaluate(name => { location.hash = `#/${name}`; }, room);
    await page.locator("#slot-0").waitFor();
  }
  await server.put([{ author: "leila", body: "one" }, { author: "leila", body: "two" }], "support");
  await page.locator("#rooms b", { hasText: "2" }).waitFor();
  await page.locator("#slot-10").waitFor();
  await status(page, "live");
  await page.setViewportSize({ width: 1000, height: 640 });
  await page.screenshot({ path: `${folder}light.png` });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: `${folder}dark.png` });
  await page.setViewportSize({ width: 390, height: 780 });
  await page.screenshot({ path: `${folder}phone.png` });
  await terminal();
} finally {
  await browser.close();
  await server.end();
}

/** Draws the terminal chat in a blank page: the server's content security policy forbids inline styles. */
async function terminal() {
  const page = await browser.newPage({ viewport: { width: 830, height: 540 } });
  const chat = await Terminal.open(server.url, "ada", { columns: 96, rows: 26 });
  try {
    for (const room of ["releases", "support", "general"]) {
      await chat.press("C-n");
      await chat.until(screen => screen.includes(`Write to ${room}`) && /\d entr/.test(screen));
    }
    await server.put([{ author: "leila", body: "three" }], "support");
    await chat.until(screen => screen.includes("leila looks") && /support +1/.test(screen));
    await page.setContent(`<style>
      body { margin: 0; padding: 14px; background: #16181d; color: #d8dbe2 }
      pre { margin: 0; font: 14px/20px "DejaVu Sans Mono", monospace }
    </style><pre>${html(await chat.screen({ colours: true }))}</pre>`);
    await page.screenshot({ path: `${folder}terminal.png` });
  } finally {
    await chat.close();
  }
}

/** Converts a screen with escape sequences to HTML. @param {string} screen */
function html(screen) {
  /** @type {Map<string, string>} */
  let style = new Map();
  return screen.split(/\x1b\[([\d;]*)m/).map((part, at) => {
    if (at % 2 === 0) {
      const text = part.replace(/[&<]/g, character => `&#${character.charCodeAt(0)};`);
      return text && `<span style="${[...style].map(it => it.join(":")).join(";")}">${text}</span>`;
    }
    // The first colours may also come in their 256-colour form.
    for (const code of part.replace(/38;5;([0-7])\b/g, (_, colour) => `3${colour}`).split(";").map(Number)) {
      if (code === 0) style = new Map();
      else if (code === 1) style.set("font-weight", "bold");
      else if (code === 2) style.set("opacity", "0.6");
      else if (code === 3) style.set("font-style", "italic");
      else if (code === 7) style.set("background", COLOURS[7]).set("-webkit-text-fill-color", COLOURS[0]);
      else if (code === 39) style.delete("color");
      else if (code >= 30 && code <= 37) style.set("color", COLOURS[code - 30]);
    }
    return "";
  }).join("");
}
