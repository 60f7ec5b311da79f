// Logging in on a server with tokens, in a real Chromium.

import assert from "node:assert/strict";
import { test } from "node:test";

import axe from "axe-core";

import { issuer } from "../../sdk/test/issuer.js";
import { eventually } from "../../sdk/test/wait.js";
import { closes, composed, focused, pending, say, shows, status, testSite } from "./browser.js";

/** @typedef {import("playwright-core").Page} Page */

const { token, flags, headers } = issuer();
const site = testSite(flags, headers);

const PHONE = { width: 390, height: 844 }, DESKTOP = { width: 1280, height: 800 };

/** Opens the page and waits until it asks for a token. @param {string} [place] */
async function asked(place) {
  const page = await site.open(undefined, place);
  await focused(page, "login-token");
  return page;
}

/** Logs in by keyboard. @param {Page} page @param {string} value */
async function logIn(page, value) {
  await page.locator("#login-token").fill(value);
  await closes(page, () => page.keyboard.press("Enter"));
  await status(page, "live");
}

/** Waits until the dialog says why. @param {Page} page @param {string} why */
async function saysWhy(page, why) {
  await page.locator("#login-error", { hasText: why }).waitFor();
}

test("a token logs in, for a reload too; scripts and addresses never have it", async () => {
  const page = await asked(), value = token("ada"), urls = /** @type {string[]} */ ([]);
  page.on("request", request => urls.push(request.url()));
  page.on("websocket", socket => urls.push(socket.url()));
  // As it is pasted from a terminal or a header.
  await logIn(page, ` Bearer ${value.slice(0, 80)} \t${value.slice(80)} `);
  await focused(page, "body");
  await page.locator("#me", { hasText: "ada" }).waitFor();
  await say(page, "hello");
  await shows(page, ["hello"]);
  await page.reload();
  await shows(page, ["hello"]);
  await page.locator("#me", { hasText: "ada" }).waitFor();
  assert.equal(await page.locator("dialog[open]").count(), 0);
  await say(page, "again");
  await shows(page, ["hello", "again"]);
  assert.deepEqual((await site.server.entries("general")).map(it => it.author), ["ada", "ada"]);

  const held = await page.evaluate(() => JSON.stringify([
    { ...localStorage }, { ...sessionStorage }, document.cookie, location.href, document.documentElement.outerHTML,
    [...document.querySelectorAll("input")].map(it => it.value),
  ]));
  assert.equal([held, ...urls].join().includes(value.split(".")[1].slice(0, 40)), false);
  const [cookie] = await page.context().cookies();
  assert.deepEqual([cookie.httpOnly, cookie.secure, cookie.sameSite], [true, true, "Strict"]);
  assert.deepEqual(page.problems, []);
});

test("a bad token shows the server's reason, and the next one can be pasted over it", async () => {
  const page = await asked();
  for (const [value, why] of [["nonsense", "not a signed JSON Web Token"], [`${token("ada")}x`, "signature is wrong"], [token("ada", { life: -90 }), "The token has expired; get a new one."], ["é", "not a token"]]) {
    await page.locator("#login-token").fill(value);
    await page.keyboard.press("Enter");
    await saysWhy(page, why);
  }
  await site.server.stop();
  await page.locator("#login-token").fill(token("ada"));
  await page.keyboard.press("Enter");
  await saysWhy(page, "cannot be reached");
  await site.server.start();
  await eventually(() => page.evaluate(() => getSelection()?.toString().length), length => Number(length) > 0, "it is selected");
  await logIn(page, token("ada"));
});

test("the dialog can be closed, and opens again when something is sent", async () => {
  const page = await asked();
  await closes(page, () => page.keyboard.press("Escape"));
  await page.keyboard.type("hello");
  await page.keyboard.press("Enter");
  await page.locator("#login").waitFor();
  await closes(page, () => page.locator("#login-later").click());
  await page.locator("#me", { hasText: "Log in" }).click();
  await page.locator("#login").waitFor();
  await logIn(page, token("ada"));
  await composed(page, "hello");
  await page.keyboard.press("Enter");
  await shows(page, ["hello"]);
});

test("a browser that does not keep the cookie, as over plain http, is named as the cause", async () => {
  const page = await asked();
  await page.route("**/v1/session", route => route.fulfill({ status: 204 }));
  await page.locator("#login-token").fill(token("ada"));
  await page.keyboard.press("Enter");
  await saysWhy(page, "did not keep the session: it does so only over https");
});

test("logging out removes the cookie and what was read, in other tabs too", async () => {
  await site.server.put([{ body: "secret" }]);
  const page = await asked();
  await logIn(page, token("ada"));
  const tab = await site.tab(page);
  for (const it of [page, tab]) await shows(it, ["secret"]);
  await site.server.stop();
  await page.locator("#log-out").click();
  await page.locator("#notice", { hasText: "You are still logged in" }).waitFor();
  await site.server.start();
  const reloaded = Promise.all([page, tab].map(it => it.waitForEvent("load")));
  await page.locator("#log-out").click();
  await reloaded;
  for (const it of [page, tab]) {
    await focused(it, "login-token");
    await shows(it, []);
    assert.equal(await it.locator("#log-out").isVisible(), false);
  }
  assert.deepEqual(await page.context().cookies(), []);
});

test("a token that is revoked while the page is open: the dialog says so, and what was written is kept and sent", async () => {
  const page = await asked();
  await logIn(page, token("ada", { jti: "lost" }));
  await say(page, "first");
  await shows(page, ["first"]);
  await page.locator("#body").fill("a draft");
  await site.server.revoke(["--jti", "lost"]);
  await saysWhy(page, "Your session has ended. The token was revoked; get a new one.");
  await closes(page, () => page.keyboard.press("Escape"));
  await composed(page, "a draft");
  await page.keyboard.press("Enter");
  await pending(page, 1);
  await page.locator("#body").fill("another");
  await page.locator("#me", { hasText: "Log in" }).click();
  await page.locator("#login").waitFor();
  await logIn(page, token("ada"));
  await shows(page, ["first", "a draft"]);
  await pending(page, 0);
  await composed(page, "another");
  // A cookie that is refused is replaced after a reload, too.
  await site.server.revoke(["--author", "ada", "--issued-before", String(Math.floor(Date.now() / 1_000) + 60)]);
  await saysWhy(page, "revoked");
  await page.reload();
  await saysWhy(page, "revoked");
  await logIn(page, token("grace"));
  await page.locator("#me", { hasText: "grace" }).waitFor();
  await composed(page, "another");
});

test("a session that expires asks again; another author sees nothing of what the first one read", async () => {
  await site.server.put([{ body: "secret" }]);
  const page = await asked();
  await logIn(page, token("ada", { life: 3 }));
  await shows(page, ["secret"]);
  await saysWhy(page, "Your session has ended. What you have written is kept.");
  await page.locator("#login-token").fill(token("bo", { rooms: { other: ["read"] } }));
  await page.keyboard.press("Enter");
  await page.locator("#me", { hasText: "bo" }).waitFor();
  await page.locator("#notice", { hasText: "there is no such room" }).waitFor();
  await shows(page, []);
});

test("rooms that the token may not read are not there; a text that may not be sent stays, with the reason", async () => {
  for (const room of ["general", "news", "team"]) await site.server.put([{ body: `in ${room}` }], room);
  const page = await asked("");
  await logIn(page, token("ada", { rooms: { news: ["read"], team: ["read", "append"] } }));
  await page.locator("h1", { hasText: "news" }).waitFor();
  await shows(page, ["in news"]);
  await eventually(() => page.locator("#rooms a span").allTextContents(), ["news", "team"]);
  await focused(page, "body");
  await page.keyboard.type("hello");
  await page.keyboard.press("Enter");
  await page.locator("#refusal", { hasText: "Not sent: your token may not append to this room." }).waitFor();
  await composed(page, "hello");
  await pending(page, 0);
  await page.keyboard.type(" you");
  await page.locator("#refusal").waitFor({ state: "hidden" });
  // Of two, the second is in the list, where it can be edited.
  await page.keyboard.press("Enter");
  await page.locator("#refusal").waitFor();
  await composed(page, "hello you");
  await page.evaluate(() => { location.hash = "#/team"; });
  await shows(page, ["in team"]);
  await say(page, "hello");
  await shows(page, ["in team", "hello"]);
  assert.deepEqual(await site.bodies("news"), ["in news"]);
});

test("a removal that the token does not allow is shown as rejected, and cannot be edited", async () => {
  await site.server.put([{ body: "mine" }]);
  const page = await asked();
  await logIn(page, token("issuer", { rooms: { general: ["read"] } }));
  await page.locator("#slot-0").press("Delete");
  await page.locator(".confirm .danger").click();
  const failed = page.locator("#pending .failed");
  await eventually(() => failed.locator(".body").allTextContents(), ["Removal of message #0"]);
  await failed.locator(".state", { hasText: "Not sent: your token may not append to this room" }).waitFor();
  await eventually(() => failed.locator("button").allTextContents(), ["Try again", "Discard"]);
  await composed(page, "");
  await failed.locator("button", { hasText: "Discard" }).click();
  await pending(page, 0);
  await shows(page, ["mine"]);
});

test("axe finds no problem with the dialog and the page after it: desktop and phone, light and dark", async () => {
  const page = await asked();
  await page.evaluate(axe.source);
  /** @param {string} what */
  const check = async what => {
    const found = await page.evaluate(async () => {
      const { violations } = await /** @type {any} */ (window).axe.run(document, { rules: { "target-size": { enabled: true } } });
      return violations.map((/** @type {any} */ it) => `${it.id}: ${it.nodes.map((/** @type {any} */ node) => `${node.target} ${node.failureSummary}`)}`);
    });
    assert.deepEqual(found, [], what);
    await eventually(() => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, `${what}: nothing is wider than the page`);
  };
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    for (const size of [DESKTOP, PHONE]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize(size);
      await page.locator("#login-token").fill("nonsense");
      await page.keyboard.press("Enter");
      await saysWhy(page, "JSON Web Token");
      await check(`${colorScheme} ${size.width} login`);
    }
  }
  await logIn(page, token("ada", { rooms: { "*": ["read"] } }));
  for (const colorScheme of /** @type {const} */ (["dark", "light"])) {
    for (const size of [PHONE, DESKTOP]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize(size);
      await page.locator("#body").fill("");
      await say(page, "hello");
      await page.locator("#refusal").waitFor();
      await check(`${colorScheme} ${size.width} refused`);
      if (size === PHONE) await page.locator("#side-open").click();
      await page.locator("#log-out").focus();
      await check(`${colorScheme} ${size.width} rooms`);
      if (size === PHONE) await page.keyboard.press("Escape");
    }
  }
});
