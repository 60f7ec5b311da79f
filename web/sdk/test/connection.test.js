// A client with fake sockets: late answers, and answers from an older connection.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { start } from "../src/digest.js";
import { connect } from "../src/index.js";
import { until } from "./wait.js";

/** A fake WebSocket, with the server's side. */
class Socket {
  /** @type {Socket[]} */
  static all = [];
  bufferedAmount = 0;
  /** @type {any[]} */
  sent = [];
  /** @type {((event: any) => void) | null} */
  onmessage = null;
  /** @type {((event: any) => void) | null} */
  onclose = null;
  onerror = null;
  constructor() {
    Socket.all.push(this);
  }
  send(/** @type {string} */ text) { this.sent.push(JSON.parse(text)); }
  close() {}
  /** @param {any} frame */
  receive(frame) { this.onmessage?.({ data: JSON.stringify(frame) }); }
  hello(log = "log-1", auth = "open") {
    const limits = { body_bytes: 16_384, author_bytes: 64, meta_bytes: 4_096, frame_bytes: 131_072, page_entries: 500, append_ms: 30_000, appends_in_flight: 256 };
    this.receive({ type: "hello", protocol: 1, log, auth, limits });
  }
  /** The append that was sent with this id. @param {string} id */
  append(id) { return this.sent.find(frame => frame.type === "append" && frame.id === id); }
}

/** @type {import("../src/index.js").Log} */
let log;
afterEach(() => {
  log.close();
  Socket.all = [];
});

/** A client with a room and its first socket, after `hello`. */
async function connected() {
  log = connect("http://127.0.0.1:1", { author: "ada", WebSocket: Socket });
  const room = log.room("general");
  await until(() => Socket.all.length === 1);
  Socket.all[0].hello();
  return { room, first: Socket.all[0] };
}

/** Loses the connection and waits for the next one. */
async function lost() {
  const { length } = Socket.all;
  Socket.all[length - 1].onclose?.({ code: 1006 });
  await until(() => Socket.all.length === length + 1);
  return Socket.all[length];
}

const appended = (/** @type {any} */ { room, id, seq, req }, /** @type {number} */ slot) => ({ type: "appended", room, id, seq, req, slot, committed_at: 1 });

test("an answer on an older connection is ignored", async () => {
  const { room, first } = await connected();
  const promise = room.append("x", { id: "k" });
  await until(() => first.append("k"));
  const next = await lost();
  next.hello();
  await until(() => next.append("k"));
  first.receive(appended(first.append("k"), 9));
  first.receive({ ...first.append("k"), type: "error", code: "bad_message", message: "late" });
  next.receive(appended(next.append("k"), 3));
  assert.deepEqual(await promise, { slot: 3 });
});

test("a login that is refused with `busy` is retried", async () => {
  const { room, first } = await connected(), events = /** @type {string[]} */ ([]), read = room.around(3);
  log.on("status", ({ state }) => events.push(state));
  log.on("error", error => events.push(error.code));
  first.receive({ type: "error", code: "busy", message: "too many logins", req: 0 });
  await until(() => Socket.all.length === 2);
  assert.deepEqual(events, ["offline", "connecting"]);
  log.close();
  await assert.rejects(read, { code: "closed" });
});

test("answers out of order, with one id, go to the appends that they answer", async () => {
  const { room, first } = await connected();
  const all = [room.append("x", { id: "k" }), room.append("y", { id: "k" }), room.append("z", { id: "k" })];
  await until(() => first.sent.filter(frame => frame.id === "k").length === 3);
  const [x, y, z] = first.sent.filter(frame => frame.id === "k");
  first.receive(appended(z, 2));
  first.receive({ type: "error", code: "id_reused", message: "another", room: "general", id: "k", slot: 2, seq: y.seq, req: y.req });
  first.receive(appended(x, 1));
  const [one, two, three] = await Promise.allSettled(all);
  assert.deepEqual([one, three].map(it => it.status === "fulfilled" && it.value.slot), [1, 2]);
  assert.equal(two.status === "rejected" && two.reason.code, "id_reused");
});

test("the log changes while appends are in flight: each is sent without `after`, or rejected", async () => {
  const { room, first } = await connected();
  const { req } = first.sent.find(frame => frame.type === "join");
  first.receive({ type: "reply", room: "general", req, entries: [], latest: -1, digest_at: -1, digest: start("general") });
  assert.equal(room.last, -1);
  const text = room.append("text", { id: "text" }), reply = room.append("reply", { id: "reply", ref: 7 });
  const refused = assert.rejects(reply, { code: "new_log" });
  await until(() => first.append("reply"));
  assert.equal(first.append("text").after, -1);
  const next = await lost();
  next.hello("log-2");
  await refused;
  await until(() => next.append("text"));
  assert.deepEqual([next.append("text").after, next.append("text").log, next.append("reply")], [undefined, undefined, undefined]);
  next.receive(appended(next.append("text"), 0));
  assert.deepEqual(await text, { slot: 0 });
});

test("with a token nothing but the login is sent before the welcome; each connection asks for a token", async () => {
  let made = 0;
  log = connect("http://127.0.0.1:1", { getToken: async () => `token ${++made}`, WebSocket: Socket });
  const room = log.room("general"), promise = room.append("x", { id: "k" });
  await until(() => Socket.all.length === 1);
  for (const n of [1, 2]) {
    const socket = Socket.all[n - 1];
    assert.equal(made, n - 1, "it is not asked before the server is there");
    socket.hello("log-1", "token");
    await until(() => socket.sent.length > 0);
    assert.deepEqual(socket.sent, [{ type: "login", token: `token ${n}`, req: 0 }]);
    socket.receive({ type: "welcome", author: "ada" });
    await until(() => socket.append("k"));
    assert.equal(socket.append("k").author, undefined, "the connection's");
    if (n === 1) await lost();
    else socket.receive(appended(socket.append("k"), 3));
  }
  assert.deepEqual(await promise, { slot: 3 });
});

test("a token that comes late is not used; one that is refused is asked for once more", async () => {
  /** @type {((token: string) => void)[]} */
  const answers = [];
  log = connect("http://127.0.0.1:1", { getToken: () => new Promise(answer => answers.push(answer)), WebSocket: Socket });
  await until(() => Socket.all.length === 1);
  Socket.all[0].hello("log-1", "token");
  await until(() => answers.length === 1);
  const next = await lost();
  next.hello("log-1", "token");
  await until(() => answers.length === 2);
  answers[0]("late");
  answers[1]("fresh");
  await until(() => next.sent.length > 0);
  next.receive({ type: "error", code: "unauthorized", message: "expired", req: 0 });
  await until(() => answers.length === 3);
  answers[2]("fresher");
  await until(() => next.sent.length > 1);
  assert.deepEqual(next.sent.map(frame => frame.token), ["fresh", "fresher"]);
  assert.deepEqual(Socket.all[0].sent, []);
  next.receive({ type: "error", code: "unauthorized", message: "expired, too", req: 0 });
  assert.deepEqual(log.status, { state: "refused", error: { type: "error", code: "unauthorized", message: "expired, too", req: 0 } });
});
