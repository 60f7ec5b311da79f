// The real server for tests: the binary built by `cargo build`.

import { execFile, spawn } from "node:child_process";
import { randomInt, randomUUID } from "node:crypto";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The binary under test. */
export const BINARY = process.env.ROOMLOG_BINARY ?? fileURLToPath(new URL("../../../target/debug/roomlog", import.meta.url));

/** A server on its own port, which can be stopped and restarted on its data. */
export class Server {
  #dir = mkdtempSync(join(tmpdir(), "roomlog-sdk-"));
  /** @type {import("node:child_process").ChildProcess | null} */
  #process = null;
  port = 0;
  /** @type {string[]} */
  flags = [];
  /** Headers of every request, like a token. @type {Record<string, string>} */
  headers = {};

  /** @param {string[]} flags further flags of `serve` */
  static async start(flags = []) {
    const server = new Server();
    server.flags = flags;
    server.port = await freePort();
    await server.start();
    return server;
  }

  get url() { return `http://127.0.0.1:${this.port}`; }

  async start() {
    const args = ["serve", "--listen", `127.0.0.1:${this.port}`, "--data", join(this.#dir, "data"), ...this.flags];
    const child = this.#process = spawn(BINARY, args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", data => { output += data; });
    let isOver = false;
    const ended = new Promise((_, reject) => {
      child.once("error", error => reject(new Error(`${BINARY}: ${error.message}; run cargo build -p roomlog`)));
      child.once("exit", code => reject(new Error(`the server exited with ${code}: ${output}`)));
    });
    ended.catch(() => { isOver = true; });
    await Promise.race([ended, this.#ready(() => isOver)]);
  }

  /** Polls until it is ready, or over. @param {() => boolean} isOver */
  async #ready(isOver) {
    while (!isOver()) {
      const answer = await fetch(`${this.url}/readyz`).catch(() => null);
      if (answer?.ok) return;
      await new Promise(again => setTimeout(again, 10));
    }
  }

  /** @param {NodeJS.Signals} signal */
  async stop(signal = "SIGKILL") {
    const child = this.#process;
    this.#process = null;
    if (!child || child.exitCode !== null) return;
    const exited = new Promise(exited => child.once("exit", exited));
    child.kill(signal);
    await exited;
  }

  /** Appends entries; each needs an `author`; an `id` is added if absent. @param {any[]} appends */
  async put(appends, room = "general") {
    for (let at = 0; at < appends.length; at += 1_000) {
      const body = appends.slice(at, at + 1_000).map(it => JSON.stringify({ id: randomUUID(), ...it })).join("\n");
      const headers = { "content-type": "application/x-ndjson", ...this.headers };
      const answer = await fetch(`${this.url}/v1/rooms/${room}/entries`, { method: "POST", headers, body });
      const outcomes = (await answer.text()).trim().split("\n").map(line => JSON.parse(line));
      const refused = outcomes.find(outcome => !outcome.entry);
      if (refused) throw new Error(`an append was rejected: ${JSON.stringify(refused)}`);
    }
  }

  /** Takes a backup; the function that it returns restores it. */
  async backup() {
    const backup = join(this.#dir, `backup-${Date.now()}`);
    await promisify(execFile)(BINARY, ["backup", backup, "--data", join(this.#dir, "data")]);
    return async () => {
      await this.stop();
      rmSync(join(this.#dir, "data"), { recursive: true });
      cpSync(backup, join(this.#dir, "data"), { recursive: true });
      await this.start();
    };
  }

  /** Revokes tokens. @param {string[]} which the flags of `revoke` */
  async revoke(which) {
    await promisify(execFile)(BINARY, ["revoke", ...which, "--data", join(this.#dir, "data")]);
  }

  /** Restarts it at the same address on an empty directory, so that it has another log. */
  async reset() {
    await this.stop();
    rmSync(join(this.#dir, "data"), { recursive: true });
    await this.start();
  }

  /** Stops it and removes its data. */
  async end() {
    await this.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** Reads all entries of a room. @param {string} room @returns {Promise<any[]>} */
  async entries(room) {
    /** @type {any[]} */
    const all = [];
    for (;;) {
      /** @type {number} */
      const after = all.at(-1)?.slot ?? -1;
      const answer = await fetch(`${this.url}/v1/rooms/${room}/entries?after=${after}`, { headers: this.headers });
      const { entries, latest } = await answer.json();
      all.push(...entries);
      if ((all.at(-1)?.slot ?? -1) >= latest) return all;
    }
  }
}

/**
 * Returns a free port, below the range of outgoing connections: one of those could take it while the server is stopped.
 * @returns {Promise<number>}
 */
function freePort() {
  const port = randomInt(10_000, 32_000);
  return new Promise(resolve => {
    const server = createServer().once("error", () => resolve(freePort()));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(port)));
  });
}
