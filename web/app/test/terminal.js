// `roomlog chat` in a real terminal for tests: tmux's.

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { BINARY } from "../../sdk/test/server.js";
import { eventually } from "../../sdk/test/wait.js";

const run = promisify(execFile);

/** A terminal of its own, with the chat in it. */
export class Terminal {
  #dir = mkdtempSync(join(tmpdir(), "roomlog-terminal-"));

  /** @param {string} url @param {string} author @param {{columns?: number, rows?: number}} [size] */
  static async open(url, author, { columns = 120, rows = 50 } = {}) {
    const terminal = new Terminal();
    const command = [BINARY, "chat", "general", "--author", author, "--server", url];
    const size = ["-x", String(columns), "-y", String(rows)];
    const env = ["-e", `XDG_STATE_HOME=${terminal.#dir}`, "-e", "TZ=UTC"];
    await terminal.#tmux("-f", "/dev/null", "-u", "new-session", "-d", ...size, ...env, ...command);
    await terminal.until(screen => screen.includes(`● ${author}`));
    return terminal;
  }

  /** Writes a line. @param {string} text */
  async say(text) {
    await this.#tmux("send-keys", "-l", text);
    await this.#tmux("send-keys", "Enter");
  }

  /** Presses keys, by tmux's names of them. @param {string[]} keys */
  async press(...keys) {
    await this.#tmux("send-keys", ...keys);
  }

  /** What is on the screen; with colours, as the escapes that make them. */
  async screen({ colours = false } = {}) {
    return (await this.#tmux("capture-pane", "-p", ...(colours ? ["-e"] : []))).stdout;
  }

  /** The lines of the room that are on the screen: slot and body. Names have 16 columns in a wide terminal. */
  async lines() {
    const rows = (await this.screen()).split("\n").map(row => /│ *(\d+) \d\d:\d\d .{16}  (.*?) *$/.exec(row));
    return rows.filter(row => row !== null).map(([, slot, body]) => ({ slot: Number(slot), body }));
  }

  /** Waits until the screen is so. @param {(screen: string) => boolean} isSo */
  async until(isSo) {
    await eventually(() => this.screen(), isSo);
  }

  async close() {
    await this.#tmux("kill-server").catch(() => {});
    // The chat, which was hung up on, may be writing down what was read.
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }

  /** @param {string[]} args */
  #tmux(...args) {
    return run("tmux", ["-S", join(this.#dir, "tmux"), ...args]);
  }
}
