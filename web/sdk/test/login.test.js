// A login with hand-written frames of a server; the time is passed in.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import { Login, TOKEN_MS } from "../src/login.js";

const HOUR = 3_600_000;

/** A token that expires at a time, in ms. @param {number} exp @param {string} [name] */
const token = (exp, name = "x") => `h.${Buffer.from(JSON.stringify({ exp: exp / 1_000, name })).toString("base64url")}.s`;

/**
 * A login whose clock is `it.now`, and what it has to say at that time.
 * @param {import("../src/login.js").Who} who
 * @param {number} [random]
 */
function started(who, random = 0) {
  const it = { now: 0, offset: 0, tokens: 0 };
  const runtime = /** @type {any} */ ({ clock: () => it.now + it.offset, random: () => random });
  const login = new Login(who, runtime, () => { it.tokens++; });
  /** The frame to send at a time, or what comes next. @returns {Promise<any>} */
  const at = async (now = it.now) => {
    it.now = now;
    await turn();
    const next = login.tick(now);
    await turn();
    return login.nextFrame(now) ?? next;
  };
  return Object.assign(it, { login, at });
}

const unauthorized = { code: "unauthorized", message: "the token has expired; get a new one", req: 0 };

test("an open server is told the author, even by a client that could get a token", async () => {
  for (const auth of ["open", undefined]) {
    const it = started({ author: "ada", getToken: () => assert.fail("nobody needs one") });
    assert.deepEqual([it.login.author, it.login.connected({ auth }, 0)], [null, null]);
    assert.deepEqual(await it.at(), { type: "login", author: "ada", req: 0 });
    assert.deepEqual([it.login.author, it.login.isReady], ["ada", true]);
  }
  assert.equal(started({ author: "ada" }).login.author, "ada", "without tokens it is known before the server is");
});

test("a client without tokens cannot log in where one is needed", () => {
  const it = started({ author: "ada" });
  assert.deepEqual(it.login.connected({ auth: "token" }, 0), {
    code: "login_required", message: "this server needs a token, and this client has none: pass getToken to connect()",
  });
});

test("the author is that of the welcome; the token is renewed after 75 to 90 % of its life, on the same connection", async () => {
  for (const [random, due] of [[0, 0.75 * HOUR], [1, 0.9 * HOUR]]) {
    let made = 0;
    const it = started({ author: "ignored", getToken: async () => token(it.now + HOUR, `${++made}`) }, random);
    it.login.connected({ auth: "token" }, 0);
    assert.deepEqual(await it.at(0), { type: "login", token: token(HOUR, "1"), req: 0 });
    assert.deepEqual([it.login.author, it.login.isReady], [null, false]);
    it.login.welcomed("ada");
    assert.deepEqual([it.login.author, it.login.isReady], ["ada", true]);
    assert.deepEqual(await it.at(1), { wake: due });
    assert.deepEqual(await it.at(due - 1), { wake: due });
    assert.deepEqual(await it.at(due), { type: "login", token: token(due + HOUR, "2"), req: 0 });
    it.login.welcomed("ada");
    assert.deepEqual(await it.at(due + 1), { wake: due + due });
  }
});

test("a timer that is late, because the machine slept, renews the token at once, by the clock on the wall", async () => {
  const it = started({ getToken: () => token(it.now + it.offset + HOUR) });
  it.login.connected({ auth: "token" }, 0);
  await it.at(0);
  it.login.welcomed("ada");
  it.offset = 2 * HOUR; // The monotonic clock stood still meanwhile.
  assert.deepEqual(await it.at(60_000), { type: "login", token: token(60_000 + 3 * HOUR), req: 0 });
});

test("a token that seems to have expired is not renewed again and again: the server's clock counts", async () => {
  for (const value of [token(-HOUR), "not a JSON Web Token", "a.b.c"]) {
    const it = started({ getToken: () => value });
    it.login.connected({ auth: "token" }, 0);
    assert.equal((await it.at(0)).token, value);
    it.login.welcomed("ada");
    assert.deepEqual(await it.at(24 * HOUR), { wake: Infinity });
  }
});

test("a token that is refused is asked for once more; then the client is refused, with the server's reason", async () => {
  let calls = 0;
  const it = started({ getToken: () => token(HOUR, `${++calls}`) });
  it.login.connected({ auth: "token" }, 0);
  await it.at(0);
  assert.deepEqual(it.login.refused(unauthorized, 0), { wake: TOKEN_MS });
  assert.deepEqual(await it.at(1), { type: "login", token: token(HOUR, "2"), req: 0 });
  assert.deepEqual(it.login.refused(unauthorized, 1), { refused: unauthorized });
  assert.equal(calls, 2);
});

test("`getToken` that throws, rejects, hangs or returns something else ends the connection, with the reason", async () => {
  const ways = /** @type {[any, RegExp][]} */ ([
    [() => { throw new Error("no network\u001b[2J"); }, /^getToken failed: no network \[2J$/],
    [async () => { throw "offline"; }, /^getToken failed: offline$/],
    [() => undefined, /^getToken returned no token$/],
    [() => "", /^getToken returned no token$/],
    [() => new Promise(() => {}), /^getToken gave no token within 8 s$/],
  ]);
  for (const [getToken, why] of ways) {
    const it = started({ getToken });
    it.login.connected({ auth: "token" }, 0);
    const first = await it.at(0);
    assert.match((first.dead ? first : await it.at(TOKEN_MS)).dead, why);
  }
});

test("what `getToken` returns too late, or for an earlier connection, is ignored", async () => {
  /** @type {((token: string) => void)[]} */
  const answers = [];
  const it = started({ getToken: () => new Promise(answer => answers.push(answer)) });
  it.login.connected({ auth: "token" }, 0);
  await it.at(0);
  it.login.disconnected();
  it.login.connected({ auth: "token" }, 1);
  await it.at(1);
  answers[0]("early");
  assert.deepEqual(await it.at(2), { wake: 1 + TOKEN_MS });
  answers[1]("second");
  assert.deepEqual(await it.at(3), { type: "login", token: "second", req: 0 });
  assert.equal(it.tokens, 1);
});

test("a renewal that fails is tried again while the token holds, later and later", async () => {
  let calls = 0, works = true;
  const it = started({ getToken: async () => {
    calls++;
    if (!works) throw new Error("down");
    return token(it.now + HOUR);
  } });
  it.login.connected({ auth: "token" }, 0);
  await it.at(0);
  it.login.welcomed("ada");
  works = false;
  const waits = [];
  let now = 0.75 * HOUR;
  for (let i = 0; i < 8; i++) {
    await it.at(now);
    const { wake } = await it.at(now);
    waits.push(wake - now);
    now = wake;
  }
  assert.deepEqual([waits, calls], [[1_050, 1_100, 1_200, 1_400, 1_800, 2_600, 3_500, 3_500], 9]);
  works = true;
  assert.equal((await it.at(now)).type, "login");
  it.login.welcomed("ada");
  // One that the server refuses twice is tried again later, too.
  now = it.now + 0.75 * HOUR;
  assert.equal((await it.at(now)).type, "login");
  it.login.refused(unauthorized, now);
  assert.equal((await it.at(now)).type, "login");
  assert.ok("wake" in it.login.refused(unauthorized, now));
  assert.deepEqual(await it.at(now), { wake: now + 1_050 });
});

test("a renewal with a token of another author needs a new connection", async () => {
  const it = started({ getToken: () => token(HOUR) });
  it.login.connected({ auth: "token" }, 0);
  await it.at(0);
  it.login.welcomed("ada");
  await it.at(HOUR);
  const error = { code: "forbidden", message: "this connection is logged in as another author; open a new one", req: 0 };
  assert.deepEqual(it.login.refused(error, HOUR), { dead: error.message });
});

test("with a session the client waits for the welcome, and a pong before it means that there is no session", async () => {
  const it = started({ author: "ada", session: true });
  it.login.connected({ auth: "token" }, 0);
  assert.deepEqual(await it.at(0), { type: "ping" });
  assert.deepEqual(it.login.ponged(), { code: "login_required", message: "there is no session: log in" });
  it.login.welcomed("grace");
  assert.deepEqual([it.login.ponged(), it.login.author, await it.at(1)], [null, "grace", { wake: Infinity }]);
  it.login.disconnected();
  it.login.connected({ auth: "token" }, 2);
  await it.at(2);
  assert.match((await it.at(20_000)).dead, /unanswered/);
});
