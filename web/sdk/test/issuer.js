// Who makes tokens in tests: JSON Web Tokens with a secret that the server shares.

import { createHmac, randomBytes, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";

/** All rights in all rooms. */
const ALL = { "*": ["read", "append", "create"] };

/** Makes a key, which is removed after the tests. Call it once, at the top of a file. */
export function issuer() {
  const dir = mkdtempSync(join(tmpdir(), "roomlog-key-")), file = join(dir, "key"), secret = randomBytes(32).toString("hex");
  writeFileSync(file, secret, { mode: 0o600 });
  after(() => rmSync(dir, { recursive: true, force: true }));
  /**
   * Makes a token; `life` in seconds.
   * @param {string} author
   * @param {{rooms?: Record<string, string[]>, life?: number, jti?: string}} [claims]
   */
  const token = (author, { rooms = ALL, life = 3_600, jti = randomUUID() } = {}) => {
    const iat = Math.floor(Date.now() / 1_000);
    const parts = [{ alg: "HS256", typ: "JWT" }, { sub: author, aud: "chat", iat, exp: iat + life, jti, rooms }];
    const signed = parts.map(part => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
    return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
  };
  return { token, flags: ["--jwt-key", file, "--jwt-audience", "chat"], headers: { authorization: `Bearer ${token("issuer", { rooms: ALL })}` } };
}
