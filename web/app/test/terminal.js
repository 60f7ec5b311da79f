// `roomlog chat` in a real terminal for tests, provided by tmux.

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { BINARY } from "../../sdk/test/server.js";
import { eventually } from "../../sdk/test/wait.js";

const run = promisify(execFile);

/** A terminal that runs the chat. */
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

  /** Presses keys, by their tmux names. @param {string[]} keys */
  async press(...keys) {
    await this.#tmux("send-keys", ...keys);
  }

  /** The text on the screen; `colours` adds the escape sequences. */
  async screen({ colours = false } = {}) {
    return (await this.#tmux("capture-pane", "-p", ...(colours ? ["-e"] : []))).stdout;
  }

  /** The slots and bodies on the screen. Names have 16 columns in a wide terminal. */
  async lines() {
    const rows = (await this.screen()).split("\n").map(row => /│ *(\d+) \d\d:\d\d .{16}  (.*?) *$/.exec(row));
    return rows.filter(row => row !== null).map(([, slot, body]) => ({ slot: Number(slot), body }));
  }

  /** Waits until the screen meets a condition. @param {(screen: string) => boolean} holds */
  async until(holds) {
    await eventually(() => this.screen(), holds);
  }

  async close() {
    await this.#tmux("kill-server").catch(() => {});
    // The chat may still be saving its read marks.
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }

  /** @param {string[]} args */
  #tmux(...args) {
    return run("tmux", ["-S", join(this.#dir, "tmux"), ...args]);
  }
}
