// A session with hand-written frames of a server; the time is passed in.

import assert from "node:assert/strict";
import { test } from "node:test";

import { after, start } from "../src/digest.js";
import { MAX_READS } from "../src/reads.js";
import { AHEAD_MS, ANSWER_MS, CHECK_MS, QUIET_MS, Session } from "../src/session.js";
import { FAR_BEHIND } from "../src/timeline.js";

const LIMITS = {
  body_bytes: 16_384, author_bytes: 64, meta_bytes: 4_096, frame_bytes: 131_072, page_entries: 500, append_ms: 30_000, appends_in_flight: 256,
};
const hello = (log = "log-1") => ({ type: "hello", protocol: 1, log, limits: LIMITS });

const log = Array.from({ length: 100 }, (_, slot) => (
  { slot, author: "ada", id: `a-${slot}`, body: `body ${slot}`, committed_at: 1_000 + slot, salt: "cm9vbWxvZy1zbHQw" }
));
const digests = [start("general")];
for (const entry of log) digests.push(after(digests[entry.slot], entry));

/** @param {number} req @param {number} first @param {number} end */
function reply(req, first, end, latest = end - 1) {
  const digest_at = end > first ? end - 1 : latest;
  return { type: "reply", room: "general", entries: log.slice(first, end), latest, digest_at, digest: digests[digest_at + 1], req };
}
const ack = (/** @type {number} */ first, /** @type {number} */ end) => ({ type: "ack", room: "general", entries: log.slice(first, end) });

/** Takes all frames to send. @param {Session} session @returns {any[]} */
function sent(session, now = 0) {
  const frames = [];
  for (let frame; (frame = session.nextFrame(now));) frames.push(frame);
  return frames;
}

/** Takes all deliveries: of entries the slots, of errors the code. @param {Session} session @returns {any[]} */
function delivered(session) {
  const all = [];
  for (let it; (it = session.nextDelivery());) {
    all.push(it.type === "entries" ? it.entries.map(entry => entry.slot) : it.type === "reset" ? it.why : it.type === "error" ? it.error.code : it.type);
  }
  return all;
}

/** A session that follows `general` and has the first ten entries. */
function following() {
  const session = new Session();
  session.follow("general", 10, 0);
  session.connected(hello(), 0);
  const [join] = sent(session);
  assert.deepEqual(join, { type: "join", room: "general", count: 10, req: -1 });
  session.frame(reply(-1, 0, 10), 0, 0);
  assert.deepEqual(delivered(session), [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]);
  return session;
}

test("nothing is sent before the server has said hello", () => {
  const session = new Session();
  session.follow("general", 10, 0);
  session.outbox.push({ room: "general", id: "a", body: "hi" });
  assert.deepEqual(sent(session), []);
  session.connected(hello(), 0);
  assert.deepEqual(sent(session).map(frame => frame.type), ["join", "append"], "requests go first");
});

test("a room is checked for missed entries now and then, and a missing answer ends the connection", () => {
  const session = following();
  assert.deepEqual(sent(session, CHECK_MS - 1), []);
  assert.deepEqual(sent(session, CHECK_MS), [{ type: "update", room: "general", after: 9, digest: digests[10], req: -2 }]);
  session.frame({ type: "pong" }, CHECK_MS, 0);
  assert.ok("wake" in session.tick(CHECK_MS + ANSWER_MS - 1));
  assert.match(JSON.stringify(session.tick(CHECK_MS + ANSWER_MS)), /dead.*unanswered/);
});

test("an ack that skips a slot triggers an update", () => {
  const session = following();
  session.frame(ack(12, 13), 5, 0);
  assert.deepEqual(delivered(session), []);
  const [update] = sent(session, 5);
  assert.deepEqual(update, { type: "update", room: "general", after: 9, digest: digests[10], req: -2 });
  session.frame(reply(-2, 10, 12, 12), 6, 0);
  assert.deepEqual(sent(session, 6), [{ type: "update", room: "general", after: 11, digest: digests[12], req: -3 }]);
  session.frame(reply(-3, 12, 13), 7, 0);
  assert.deepEqual(delivered(session), [[10, 11], [12]]);
  assert.equal(session.caughtUp, true);
});

test("after a lost connection a room is joined at its last slot, and reads are sent again", () => {
  const session = following();
  /** @type {any[]} */
  const answers = [];
  session.read("general", { count: 5, upto: 4 }, 1, (error, entries) => answers.push(error ?? entries.length));
  assert.deepEqual(sent(session, 1), [{ type: "update", room: "general", count: 5, upto: 4, req: -2 }]);
  session.disconnected(2);
  assert.equal(session.caughtUp, false);
  session.connected(hello(), 3);
  const again = sent(session, 3);
  assert.deepEqual(again, [
    { type: "join", room: "general", after: 9, digest: digests[10], req: -3 },
    { type: "update", room: "general", count: 5, upto: 4, req: -2 },
  ]);
  session.frame(reply(-3, 10, 12), 4, 0);
  session.frame(reply(-2, 0, 5, 11), 4, 0);
  assert.deepEqual(delivered(session), [[10, 11]]);
  assert.deepEqual(answers, [0], "the entries were held already");
});

test("with another log, entries are dropped and unsent appends are kept", () => {
  const session = following();
  session.outbox.push({ room: "general", id: "mine", body: "hi", after: 9 });
  session.disconnected(1);
  session.connected(hello("log-2"), 2);
  assert.deepEqual(delivered(session), ["new_log"]);
  assert.deepEqual(sent(session, 2), [
    { type: "join", room: "general", count: 10, req: -2 },
    { type: "append", room: "general", id: "mine", body: "hi", seq: 0, req: 1 },
  ]);
});

test("a digest that differs is reported, and the room is read again", () => {
  const session = following();
  session.frame({ type: "error", code: "diverged", message: "…", req: -2, room: "general" }, 1, 0);
  assert.deepEqual(delivered(session), [], "there was no such request");
  sent(session, CHECK_MS);
  session.frame({ type: "error", code: "diverged", message: "…", req: -2, room: "general" }, CHECK_MS, 0);
  assert.deepEqual(delivered(session), ["diverged"]);
  assert.deepEqual(sent(session, CHECK_MS), [{ type: "join", room: "general", count: 10, req: -3 }]);
});

test("answers to requests from before a reset are ignored", () => {
  const session = following();
  sent(session, CHECK_MS);
  session.read("general", { count: 1, upto: 0 }, CHECK_MS, () => {});
  sent(session, CHECK_MS);
  const other = { ...reply(-3, 3, 4, 9), digest: digests[0] };
  session.frame(other, CHECK_MS, 0);
  assert.deepEqual(delivered(session), ["diverged"]);
  session.frame(reply(-2, 10, 12), CHECK_MS, 0);
  assert.deepEqual(delivered(session), []);
  assert.deepEqual(sent(session, CHECK_MS).map(frame => frame.type), ["join"]);
});

test("a session that is far behind joins at the newest entries and reports a gap", () => {
  const session = following();
  session.disconnected(1);
  session.connected(hello(), 2);
  sent(session, 2);
  session.frame({ ...reply(-2, 10, 12), latest: 9 + FAR_BEHIND + 1 }, 3, 0);
  assert.deepEqual(delivered(session), ["gap"]);
  assert.deepEqual(sent(session, 3), [{ type: "join", room: "general", count: 10, req: -3 }]);
  session.frame(reply(-3, 90, 100), 4, 0);
  assert.deepEqual(delivered(session), [[90, 91, 92, 93, 94, 95, 96, 97, 98, 99]]);
});

test("`busy` is retried when the server says; a permanent error is reported and not retried", () => {
  const session = new Session();
  session.follow("general", 10, 0);
  session.connected(hello(), 0);
  sent(session);
  session.frame({ type: "error", code: "busy", message: "…", req: -1, room: "general", retry_after_ms: 700 }, 0, 0);
  assert.deepEqual(sent(session, 699), []);
  assert.equal(sent(session, 700).length, 1);
  session.frame({ type: "error", code: "bad_name", message: "…", req: -2, room: "general" }, 701, 0);
  assert.deepEqual(delivered(session), ["bad_name"]);
  assert.deepEqual(sent(session, 1e9), []);
});

test("an empty first reply is delivered, also after a reset; an empty later reply is not", () => {
  const session = new Session(), nothing = (/** @type {number} */ req) => reply(req, 0, 0, -1);
  session.follow("general", 10, 0);
  session.connected(hello(), 0);
  sent(session);
  session.frame(nothing(-1), 0, 0);
  assert.deepEqual(delivered(session), [[]]);
  session.disconnected(1);
  session.connected(hello(), 2);
  sent(session, 2);
  session.frame(nothing(-2), 3, 0);
  assert.deepEqual(delivered(session), [], "nothing is new");
  session.disconnected(4);
  session.connected(hello("log-2"), 5);
  sent(session, 5);
  session.frame(nothing(-3), 6, 0);
  assert.deepEqual(delivered(session), ["new_log", []]);
});

test("reads of earlier entries in a refused room are rejected with the same error", () => {
  const session = new Session();
  session.follow("general", 10, 0);
  session.connected(hello(), 0);
  /** @type {any[]} */
  const answers = [], before = () => session.before("general", 5, 1, error => answers.push(error?.code));
  before();
  const [{ req }] = sent(session);
  session.frame({ type: "error", code: "bad_name", message: "…", req, room: "general" }, 0, 0);
  before();
  assert.deepEqual(answers, ["bad_name", "bad_name"]);
  session.disconnected(1);
  before();
  session.connected(hello(), 2);
  const [join] = sent(session, 2);
  session.frame(reply(join.req, 0, 0, -1), 3, 0);
  assert.deepEqual(answers, ["bad_name", "bad_name", undefined], "another connection may be allowed to follow it");
});

test("a room whose following the server ends is joined again later", () => {
  const session = following();
  session.frame({ type: "error", code: "unavailable", message: "…", room: "general", retry_after_ms: 500 }, 1, 0);
  assert.deepEqual(sent(session, 500), []);
  assert.deepEqual(sent(session, 501), [{ type: "join", room: "general", after: 9, digest: digests[10], req: -2 }]);
});

test("a following that a new token does not cover ends with one error, even if a request is in flight", () => {
  const session = following();
  session.frame(ack(12, 13), CHECK_MS, 0);
  sent(session, CHECK_MS);
  assert.equal(session.behind, 3);
  session.frame({ type: "error", code: "forbidden", message: "…", room: "general" }, CHECK_MS, 0);
  session.frame({ type: "error", code: "not_found", message: "…", room: "general", req: -2 }, CHECK_MS, 0);
  assert.deepEqual([delivered(session), sent(session, CHECK_MS + 1)], [["forbidden"], []]);
  assert.equal(session.caughtUp, true, "it does not wait for what will not come");
  session.disconnected(CHECK_MS + 2);
  session.connected(hello(), CHECK_MS + 3);
  assert.deepEqual(sent(session, CHECK_MS + 3).map(frame => [frame.type, frame.after]), [["join", 9]], "another login may follow it");
});

test("after silence a ping is sent, and without an answer the connection ends", () => {
  const session = new Session();
  session.connected(hello(), 0);
  session.tick(QUIET_MS - 1);
  assert.deepEqual(sent(session, QUIET_MS - 1), []);
  session.tick(QUIET_MS);
  session.tick(QUIET_MS + 1);
  assert.deepEqual(sent(session, QUIET_MS), [{ type: "ping" }], "only one");
  assert.match(JSON.stringify(session.tick(QUIET_MS + ANSWER_MS)), /dead/);
});

test("for a room that was left, nothing is delivered or requested", () => {
  const session = following();
  session.unfollow("general");
  assert.deepEqual(sent(session, 1), [{ type: "leave", room: "general" }]);
  session.frame(ack(10, 11), 2, 0);
  assert.deepEqual(delivered(session), []);
  assert.deepEqual(sent(session, 1e9), []);
});

test("one read more than the limit is rejected", () => {
  const session = following();
  /** @type {any[]} */
  const answers = [];
  for (let i = 0; i <= MAX_READS; i++) session.read("general", { count: 1, upto: i }, 1, error => answers.push(error?.code));
  assert.deepEqual(answers, ["busy"]);
  assert.equal(sent(session, 1).length, MAX_READS);
});

test("a room that is left before its join is answered is left on the server too", () => {
  const session = new Session();
  session.connected(hello(), 0);
  session.follow("general", 10, 0);
  session.unfollow("general");
  assert.deepEqual(sent(session), [], "the server was sent nothing");
  session.follow("general", 10, 0);
  assert.deepEqual(sent(session), [{ type: "join", room: "general", count: 10, req: -1 }]);
  session.unfollow("general");
  session.follow("general", 5, 0);
  assert.deepEqual(sent(session), [{ type: "leave", room: "general" }, { type: "join", room: "general", count: 5, req: -2 }]);
  session.frame(reply(-1, 0, 10), 1, 0);
  session.frame(ack(10, 11), 1, 0);
  assert.deepEqual(delivered(session), [], "an answer to the first join does not answer the second");
  session.frame(reply(-2, 6, 11), 1, 0);
  assert.deepEqual(delivered(session), [[6, 7, 8, 9, 10]]);
});

test("a watch that is refused or ends is sent again, with a new `req`", () => {
  const session = new Session();
  session.watch();
  session.connected(hello(), 0);
  assert.deepEqual(sent(session), [{ type: "watch", req: -1 }]);
  session.frame({ type: "error", code: "busy", message: "…", req: -1, retry_after_ms: 500 }, 0, 0);
  assert.deepEqual([sent(session, 499), delivered(session)], [[], []]);
  assert.deepEqual(sent(session, 500), [{ type: "watch", req: -2 }]);
  session.frame({ type: "heads", rooms: { general: 3 }, req: -2 }, 500, 0);
  session.frame({ type: "error", code: "unavailable", message: "…", retry_after_ms: 500 }, 600, 0);
  assert.deepEqual(sent(session, 1_100), [{ type: "watch", req: -3 }]);
  session.disconnected(1_200);
  session.connected(hello(), 1_300);
  assert.deepEqual(sent(session, 1_300), [{ type: "watch", req: -4 }]);
  session.watch();
  assert.deepEqual(sent(session, 1_300), [], "one watch is enough");
});

test("a server that stays behind what was seen is reported, and retried", () => {
  const session = following();
  session.disconnected(0);
  session.connected(hello(), 0);
  let now = 0, asked = 0;
  for (; now <= AHEAD_MS; now += 6_000, asked++) {
    const [join] = sent(session, now);
    assert.deepEqual([join.type, join.after], ["join", 9]);
    session.frame({ type: "error", code: "ahead", message: "…", room: "general", req: join.req, latest: 4, retry_after_ms: 500 }, now, 0);
  }
  assert.deepEqual([asked, delivered(session)], [11, ["ahead"]]);
  assert.equal(sent(session, now).length, 1);
});

test("when a room has diverged, appends that refer to its slots are rejected", () => {
  const session = following();
  sent(session, CHECK_MS);
  session.outbox.push({ room: "general", id: "text", body: "x", after: 9 });
  session.outbox.push({ room: "general", id: "reply", body: "x", ref: 3 });
  session.outbox.push({ room: "other", id: "elsewhere", body: "x", ref: 3 });
  session.frame({ type: "error", code: "diverged", message: "…", req: -2, room: "general" }, CHECK_MS, 0);
  assert.deepEqual(delivered(session), ["diverged", "settled"]);
  const appends = sent(session, CHECK_MS).filter(frame => frame.type === "append");
  assert.deepEqual(appends.map(frame => [frame.id, frame.after]), [["text", undefined], ["elsewhere", undefined]]);
});

test("an answer with the id of another append ends the connection; the append is sent again on the next", () => {
  const session = new Session();
  session.connected(hello(), 0);
  session.outbox.push({ room: "general", id: "a", body: "x" });
  const [{ req }] = sent(session);
  assert.match(String(session.frame({ type: "appended", room: "general", id: "b", slot: 0, committed_at: 1, seq: 0, req }, 0, 0)), /id of another/);
  session.disconnected(1);
  session.connected(hello(), 1);
  assert.deepEqual(sent(session, 1).map(frame => [frame.id, frame.seq]), [["a", 0]]);
});
