/** With whose key one worker asks another. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fastify from "fastify";
import { Peers } from "../../src/platform/peers.ts";
import type { Worker } from "../../src/state/workers.ts";

test("a worker asks another with the key of who asked it, and by itself with its own", async (t) => {
  const seen: (string | undefined)[] = [];
  const other = fastify();
  other.post("/asked", async ({ headers }) => {
    seen.push(headers.authorization);
    return { fine: true };
  });
  const url = await other.listen({ host: "127.0.0.1", port: 0 });
  t.after(() => other.close());
  const peers = new Peers({ workers: {} as never, session: {} as never, ownKey: async () => "mk_own" });
  const worker = { id: "other", url } as Worker;
  assert.deepEqual(await peers.ask(worker, "/asked", {}), { fine: true });

  const door = fastify();
  peers.remember(door);
  door.get("/ask", () => peers.ask(worker, "/asked", {}));
  t.after(() => door.close());
  await door.inject({ url: "/ask", headers: { authorization: "Bearer mk_theirs" } });
  await door.inject({ url: "/ask" });
  assert.deepEqual(seen, ["Bearer mk_own", "Bearer mk_theirs", undefined]);
});
