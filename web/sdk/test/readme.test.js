// Runs the README's JavaScript against a server.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Server } from "./server.js";
import { PATIENCE_MS } from "./wait.js";

const SDK = fileURLToPath(new URL("..", import.meta.url));

/** Makes an append wait until the room's listener has the entry too, so that the output does not depend on timing. */
const IN_ORDER = `
  import { Room } from "roomlog";
  const append = Room.prototype.append;
  Room.prototype.append = async function (...args) {
    const done = await append.apply(this, args);
    while (this.last === null || this.last < done.slot) await new Promise(again => setTimeout(again, 5));
    return done;
  };`;

/** Runs a program in which `roomlog` is this package. @param {string} source */
async function run(source) {
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", source], { cwd: SDK, timeout: PATIENCE_MS });
  return stdout.trim().split("\n");
}

test("its snippets together are a working program", async () => {
  const server = await Server.start(), dir = mkdtempSync(join(tmpdir(), "roomlog-readme-")), file = join(dir, "outbox.json");
  try {
    const readme = readFileSync(join(SDK, "README.md"), "utf8").replaceAll("http://127.0.0.1:7400", server.url);
    const snippets = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(match => match[1]);
    assert.ok(snippets.length > 3);
    const said = await run(`${IN_ORDER}${snippets.join("\n")}
      log.close();
      const later = connect("${server.url}", { author: "ada", WebSocket, store: fileStore(${JSON.stringify(file)}) });
      await later.room("general").append("from the store");
      later.close();`);
    assert.ok(said.includes("my line is slot 0"), said.join("\n"));
    assert.ok(said.includes("0 ada hello! (edited) 1"), said.join("\n"));
    assert.ok(said.includes("0 ada (removed) (edited) 0"), said.join("\n"));
    const bodies = (await server.entries("general")).map(entry => entry.body ?? "(redacted)");
    assert.deepEqual(bodies, ["(redacted)", "(redacted)", "❤", "", "", "", "from the store"]);
    assert.equal(readFileSync(file, "utf8"), "[]");
  } finally {
    await server.end();
    rmSync(dir, { recursive: true, force: true });
  }
});
