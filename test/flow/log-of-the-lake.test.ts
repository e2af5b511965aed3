import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { openFlow, temporaryFolder } from "./open-flow.ts";

const order = (id: number) => ({
  order_id: `o${id}`,
  customer_id: "c",
  country: "DE",
  amount: 1,
  placed_at: "2026-01-05T10:00:00Z",
});

/** A lake that holds events of both partitions. */
async function filled(dir: string): Promise<void> {
  await using opened = await openFlow(dir, { partitions: 2 });
  for (const partition of [0, 1]) {
    const payload = Buffer.from(`${JSON.stringify(order(partition))}\n`);
    await opened.log.append("orders", partition, { payload, count: 1, source: "test" });
  }
  await opened.close();
}

test("a log with fewer partitions than the tables hold events of is refused", async () => {
  await using dir = await temporaryFolder();
  await filled(dir.path);
  await rm(join(dir.path, "log/orders/1"), { recursive: true });
  await assert.rejects(openFlow(dir.path), (error: Error & { code?: string }) => {
    assert.equal(error.code, "LOG_PARTITIONS_FEWER");
    assert.match(error.message, /orders has 1 partitions, but bronze\.orders holds events of 2/);
    return true;
  });
});

test("a log that ends before what the tables hold is refused", async () => {
  await using dir = await temporaryFolder();
  await filled(dir.path);
  await rm(join(dir.path, "log"), { recursive: true });
  await assert.rejects(openFlow(dir.path, { partitions: 2 }), { code: "LOG_BEHIND_LAKE" });
});
