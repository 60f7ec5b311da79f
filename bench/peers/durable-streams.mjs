// The reference server of Durable Streams with its file store: node durable-streams.mjs PORT DIR
import { mkdirSync } from "node:fs";
import { DurableStreamTestServer } from "@durable-streams/server";

const [, , port, dataDir] = process.argv;
mkdirSync(dataDir, { recursive: true });
const server = new DurableStreamTestServer({
  host: "127.0.0.1",
  port: Number(port),
  dataDir,
  // No other system here compresses.
  compression: false,
});
await server.start();
