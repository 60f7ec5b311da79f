// Clients of a page that has a session: a cookie that scripts do not see says who it is. Browsers do not tell a page why a
// handshake failed.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { WebSocket } from "ws";

import { clients } from "./clients.js";
import { issuer } from "./issuer.js";
import { until } from "./wait.js";

const { token, flags, headers } = issuer();
const made = clients(flags, headers), open = clients();
const realFetch = globalThis.fetch;
/** The cookie of the browser. */
let cookie = "";

class CookieSocket extends WebSocket {
  constructor(/** @type {string} */ url, /** @type {string} */ protocol) {
    super(url, protocol, { headers: cookie ? { cookie } : {} });
  }
}

/** A page with a cookie jar. */
function page(server = made) {
  globalThis.fetch = (url, options) => realFetch(url, { ...options, headers: { cookie } });
  const log = server.as("ada", { session: true, WebSocket: CookieSocket }), errors = /** @type {string[]} */ ([]);
  log.on("error", error => errors.push(`${error.code}: ${error.reason}`));
  return { log, errors };
}

/** Begins a session. @param {string} token */
async function begin(token) {
  const answer = await realFetch(`${made.server.url}/v1/session`, { method: "POST", headers: { authorization: `Bearer ${token}` } });
  cookie = answer.headers.get("set-cookie")?.split(";")[0] ?? "";
}

afterEach(() => {
  globalThis.fetch = realFetch;
  cookie = "";
});

test("with a session the author is that of the welcome, after a restart of the server too", async () => {
  await begin(token("grace"));
  const { log, errors } = page(), room = log.room("general");
  assert.deepEqual(await room.append("hello"), { slot: 0 });
  assert.equal(log.author, "grace");
  await made.server.stop("SIGKILL");
  await until(() => log.status.state === "offline");
  await made.server.start();
  assert.deepEqual(await room.append("again"), { slot: 1 });
  assert.deepEqual(errors, []);
});

test("without a session the client is refused at once, and goes on when there is one", async () => {
  const { log, errors } = page(), waits = log.room("general").append("hello");
  await until(() => log.status.state === "refused");
  assert.deepEqual(errors, ["login_required: there is no session: log in"]);
  await begin(token("ada"));
  log.login({ session: true });
  assert.deepEqual(await waits, { slot: 0 });
});

test("when the token of a session is revoked, the client is refused with the server's reason", async () => {
  await begin(token("ada", { jti: "lost" }));
  const { log, errors } = page();
  await until(() => log.status.state === "live");
  await made.server.revoke(["--jti", "lost"]);
  await until(() => log.status.state === "refused");
  assert.deepEqual(errors, ["unauthorized: the token was revoked; get a new one"]);
});

test("a session that expires ends the connection", async () => {
  await begin(token("ada", { life: 1 }));
  const { log, errors } = page();
  await until(() => log.status.state === "live");
  cookie = ""; // The browser has removed it.
  await until(() => log.status.state === "refused");
  assert.deepEqual(errors, ["login_required: there is no session: log in"]);
});

test("an open server gets the author", async () => {
  const { log, errors } = page(open);
  assert.deepEqual(await log.room("general").append("hello"), { slot: 0 });
  assert.deepEqual([log.author, log.auth, errors], ["ada", "open", []]);
});
