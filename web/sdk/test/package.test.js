// The package as it is installed from a checkout.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const path = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));
const SDK = path("../"), TSC = path("../../node_modules/typescript/bin/tsc");

/** @type {string} */
let dir;
before(() => { dir = mkdtempSync(join(tmpdir(), "roomlog-package-")); });
after(() => rmSync(dir, { recursive: true, force: true }));

test("its types are those of its sources", async () => {
  await run(process.execPath, [TSC, "-p", SDK, "--outDir", join(dir, "types")]);
  const files = (/** @type {string} */ folder) => Object.fromEntries(readdirSync(folder).map(name => [name, readFileSync(join(folder, name), "utf8")]));
  assert.deepEqual(files(join(SDK, "types")), files(join(dir, "types")), "run `npm run types` in web/");
});

test("a program that installs it from a checkout can import it, with strict types", async () => {
  const program = join(dir, "program"), node = (/** @type {string[]} */ args) => run(process.execPath, args, { cwd: program });
  mkdirSync(program);
  writeFileSync(join(program, "package.json"), JSON.stringify({ name: "program", private: true, type: "module" }));
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", SDK], { cwd: program });
  const { stdout } = await node(["-e", 'import("roomlog").then(it => console.log(Object.keys(it).join(" ")))']);
  assert.equal(stdout.trim(), "BrowserStore Fold Log NoStore Room RoomlogError connect emojiOf isLine");
  for (const name of ["consumer.ts", "tsconfig.json"]) cpSync(path(`consumer/${name}`), join(program, name));
  await node([TSC, "-p", "."]);
});

test("the published files are its sources, its types and its README", async () => {
  const { stdout } = await run("npm", ["pack", "--dry-run", "--json"], { cwd: SDK });
  const [{ files }] = JSON.parse(stdout), folders = new Set(files.map((/** @type {{path: string}} */ file) => file.path.split("/")[0]));
  assert.deepEqual([...folders].sort(), ["README.md", "package.json", "src", "types"]);
});
