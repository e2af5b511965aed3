import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { NO_REACTIONS } from "../../src/flow/reactions.ts";
import { DAY_MS, openFlow, temporaryFolder } from "./open-flow.ts";

const order = (id: number) => ({
  ...{ order_id: `o${id}`, customer: "c1", country: "DE", amount: "10.00", placed_at: "2026-01-02T03:04:05Z" },
});

test("a longer retention than the tables were made with is theirs from the next start on, and vacuum keeps to it", async () => {
  await using dir = await temporaryFolder();
  let nowMs = Date.now();
  const clock = () => nowMs;
  {
    await using first = await openFlow(dir.path, { clock, retentionMs: DAY_MS });
    await first.append("orders", [order(1)]);
    await first.flow.flush();
  }
  const retentionMs = 10 * DAY_MS;
  await using second = await openFlow(dir.path, { clock, retentionMs });
  const { lake } = second.flow;
  const table = lake.get("bronze.orders");
  assert.equal(
    table.snapshot.configuration["delta.deletedFileRetentionDuration"],
    `interval ${retentionMs} milliseconds`,
  );
  const [file] = table.snapshot.files;
  await lake.commit(table, {
    ...{ operation: "DELETE", readVersion: table.snapshot.version, remove: [file!.path], txn: new Map() },
  });
  const there = async () => (await readdir(join(dir.path, "lake/bronze/orders"))).includes(file!.path);
  nowMs += 9 * DAY_MS;
  await lake.vacuum(retentionMs, nowMs);
  assert.ok(await there(), "within the retention");
  nowMs += 2 * DAY_MS;
  await lake.vacuum(retentionMs, nowMs);
  assert.ok(!(await there()), "after it");
});

test("one table that cannot be vacuumed does not keep the others from it", async () => {
  await using dir = await temporaryFolder();
  let nowMs = Date.now();
  await using open = await openFlow(dir.path, { clock: () => nowMs, retentionMs: DAY_MS });
  const { lake } = open.flow;
  await open.append("orders", [order(1)]);
  await open.flow.flush();
  const refusing = lake.get(lake.names()[0]!).delta;
  refusing.vacuum = () => Promise.reject(new Error("not today"));
  const table = lake.get("silver.enriched");
  assert.notEqual(table.delta, refusing);
  const files = async () =>
    (await readdir(join(dir.path, "lake/silver/enriched"))).filter((name) => name.endsWith(".parquet"));
  const remove = table.snapshot.files.map(({ path }) => path);
  assert.ok((await files()).length > 0 && remove.length > 0);
  await lake.commit(table, { operation: "DELETE", readVersion: table.snapshot.version, remove });
  nowMs += 2 * DAY_MS;
  await assert.rejects(lake.vacuum(DAY_MS, nowMs), /not today/);
  assert.deepEqual(await files(), []);
});

test("the log keeps what reactions still need, however long since the tables have it", async () => {
  await using dir = await temporaryFolder();
  let nowMs = Date.now();
  let floor = 0;
  const reactions = { ...NO_REACTIONS, floor: (stream: string) => (stream === "orders" ? floor : Infinity) };
  await using open = await openFlow(dir.path, { clock: () => nowMs, segmentBytes: 256, reactions });
  const some = async (from: number) => {
    for (let id = from; id < from + 4; id++) await open.append("orders", [order(id)]);
    await open.flow.flush();
  };
  await some(0);
  nowMs += 30 * DAY_MS;
  await some(4);
  assert.equal(open.log.ends("orders", 0).start, 0, "nothing is removed while it is not known what they need");
  floor = 2;
  await some(8);
  assert.ok(open.log.ends("orders", 0).start <= 2);
  floor = Infinity;
  await some(12);
  assert.ok(open.log.ends("orders", 0).start > 2, "nobody needs it any more");
});
