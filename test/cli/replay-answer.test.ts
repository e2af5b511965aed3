import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { millrace } from "../platform/running-platform.ts";

const PROGRESS = { progress: { phase: "rebuild", table: "silver.orders", events: 1, total: 2 } };
const REPLAYED = {
  replayed: { table: "silver.orders", version: 7, tables: [], elapsedMs: 3 },
};
const REFUSED = { error: { code: "REPLAY_SOURCE_DAMAGED", message: "bronze lacks events", hint: "put them back" } };

/** What the command makes of an answer that comes in this way. */
async function replayAnswered(answer: (response: ServerResponse) => void) {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    answer(response);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    return await millrace(["replay", "silver.orders"], { MILLRACE_URL: url, MILLRACE_KEY: "mk_test" });
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const line = (content: object) => `${JSON.stringify(content)}\n`;

test("a replay's own error ends the command, also when the connection stays open behind it", async () => {
  const { code, stderr } = await replayAnswered((response) => response.write(line(PROGRESS) + line(REFUSED)));
  assert.equal(code, 1);
  assert.match(stderr, /^REPLAY_SOURCE_DAMAGED: bronze lacks events\n {2}put them back/);
  assert.doesNotMatch(stderr, /\bat .*\.ts:/);
});

test("the outcome is shown and no failure beside it, also when the connection stays open behind it", async () => {
  const { code, stdout, stderr } = await replayAnswered((response) => response.write(line(REPLAYED)));
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /^silver\.orders stays as it is \(version 7\)/);
});

test("a connection that breaks in the middle of a replay is told as that", async () => {
  const { code, stderr } = await replayAnswered((response) => {
    response.write(`${line(PROGRESS)}{"repl`, () => setTimeout(() => response.destroy(), 200));
  });
  assert.equal(code, 1);
  assert.match(stderr, /^PLATFORM_UNREACHABLE: .*the connection broke/);
  assert.doesNotMatch(stderr, /\bat .*\.(ts|js):/);
});
