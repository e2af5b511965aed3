import assert from "node:assert/strict";
import { test } from "node:test";
import { temporaryFolder } from "./open-flow.ts";
import { Cluster, partitionsOf, type Worker } from "./open-workers.ts";

const order = (id: number, over: Record<string, unknown> = {}) => ({
  order_id: `o${id}`,
  ...{ customer: `c${id % 3}`, country: "DE", amount: 10 + id, placed_at: `2026-01-0${1 + (id % 3)}T10:00:00Z` },
  ...over,
});

const orders = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => order(from + i));

async function two(
  dir: string,
  options: { partitions?: number } = {},
): Promise<{ cluster: Cluster; a: Worker; b: Worker }> {
  const cluster = await Cluster.open(dir, options);
  const [a, b] = await Promise.all([cluster.open({ name: "a", leads: true }), cluster.open({ name: "b" })]);
  await a.group.give(partitionsOf(a, [0], true));
  await b.group.give(partitionsOf(b, [1]));
  return { cluster, a, b };
}

const ids = (worker: Worker, table = "silver.enriched") =>
  worker.query(`select order_id from ${table} order by order_id`, [table]);

test("two workers begin at once with an empty lake, and each creates or finds every table", async () => {
  await using dir = await temporaryFolder();
  const { cluster, a, b } = await two(dir.path);
  await using _ = cluster;
  assert.deepEqual(a.flow.lake.names().sort(), b.flow.lake.names().sort());
  for (const name of a.flow.lake.names())
    assert.equal(a.flow.lake.get(name).snapshot.tableId, b.flow.lake.get(name).snapshot.tableId, name);
});

test("a query in either worker sees every acknowledged event once, whoever owns it and whether it is stored", async () => {
  await using dir = await temporaryFolder();
  const { cluster, a, b } = await two(dir.path);
  await using _ = cluster;
  await cluster.append("orders", 0, orders(0, 9));
  await cluster.append("orders", 1, [...orders(10, 19), order(10)]);
  const wanted = [...orders(0, 19)].map(({ order_id }) => [order_id]).sort();
  for (const worker of [a, b]) assert.deepEqual(await ids(worker), wanted);
  await Promise.all([a.flow.flush(), b.flow.flush()]);
  for (const worker of [a, b]) {
    assert.deepEqual(await ids(worker), wanted);
    assert.deepEqual(
      (await worker.query("select count(*) from silver.enriched", ["silver.enriched"], "committed"))[0],
      [20],
    );
  }
  // A repetition of an event that the other worker has stored, and one that nobody has.
  await cluster.append("orders", 0, [order(3), order(20)]);
  await cluster.append("orders", 1, [order(12), order(21), order(21)]);
  const more = [...orders(0, 21)].map(({ order_id }) => [order_id]).sort();
  for (const worker of [b, a]) assert.deepEqual(await ids(worker), more);
  await Promise.all([a.flow.flush(), b.flow.flush()]);
  for (const worker of [a, b]) {
    assert.deepEqual(await ids(worker), more);
    const unbalanced = worker.flow.ledger().filter(({ balanced, pending }) => !balanced || pending !== 0);
    assert.deepEqual(unbalanced, []);
  }
  assert.deepEqual(await b.flow.verifyLedger(), []);
});
