/** Workers that follow what others store: letters, repetitions, and tables that are newer than their inputs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { temporaryFolder } from "../open-flow.ts";
import { Cluster, partitionsOf, type Worker } from "../open-workers.ts";
import { agrees, balanced, lines, several } from "./several-workers.ts";

test("dead letters of events that were staged by a query alone are written by the worker that stores them in the end", async () => {
  await using dir = await temporaryFolder();
  await using cluster = await Cluster.open(dir.path, { partitions: 2 });
  const [a, b] = (await several(cluster, 2)) as [Worker, Worker];
  await cluster.append("orders", 0, [{ ...lines(0, 1)[0], amount: -1 }, "{}", ...lines(1, 2)]);
  assert.deepEqual(await b.query("select count(*)::int from silver.enriched", ["silver.enriched"]), [[2]]);
  assert.equal(cluster.log.ends("_dead_letters", 0).end, 0, "who does not store writes no letters");
  await a.group.revoke([{ stream: "orders", partition: 0 }], "fenced");
  await b.group.give([{ stream: "orders", partition: 0 }]);
  await cluster.flush([a, b]);
  const letters = await a.query("select dead_letter_id from system.dead_letters order by 1", ["system.dead_letters"]);
  assert.deepEqual(letters, [["orders/0/0/silver.enriched"], ["orders/0/1/"]]);
  for (const w of [a, b]) {
    balanced(w);
    assert.deepEqual(await w.flow.verifyLedger(), []);
  }
});

test("repetitions of events that another worker stored unseen are known, in a worker whose index was open before", async () => {
  await using dir = await temporaryFolder();
  await using cluster = await Cluster.open(dir.path, { partitions: 2 });
  const [a, b] = (await several(cluster, 2)) as [Worker, Worker];
  await cluster.append("orders", 0, lines(0, 5));
  await agrees(b, lines(0, 5));
  await cluster.append("orders", 0, lines(5, 5)); // b sees neither these, nor that they are stored
  cluster.deaf = true;
  await a.flow.flush(["orders"]);
  await cluster.append("orders", 0, lines(3, 4));
  await agrees(b, lines(0, 10));
  const run = await cluster.log.read("orders", 0, 10, 1_000_000);
  assert.ok(run);
  assert.deepEqual(await b.flow.repetitions("orders", 0, run), [10, 11, 12, 13]);
  await a.flow.flush(["orders"]);
  await cluster.append("orders", 0, lines(8, 3));
  await agrees(b, lines(0, 11));
  const where = await b.flow.receipt("orders", "o9");
  assert.deepEqual(
    where.arrivals.map(({ offset, duplicateOf }) => [offset, duplicateOf]),
    [
      [15, 9],
      [9, undefined],
    ],
  );
});

test("a query that finds a refreshed table newer than its inputs looks at those again", async () => {
  await using dir = await temporaryFolder();
  await using cluster = await Cluster.open(dir.path, { partitions: 1 });
  const a = await cluster.open({ name: "a", project: "visits", leads: true });
  await a.group.give(partitionsOf(a, [0], true));
  let before: (() => Promise<void>) | undefined;
  const slow = await cluster.open({
    name: "slow",
    project: "visits",
    stores: false,
    store: (store) =>
      new Proxy(store, {
        get(target, name) {
          if (name !== "get") return Reflect.get(target, name).bind(target);
          return async (key: string) => {
            const turn = key.startsWith("silver/visits_events/_delta_log/") ? before : undefined;
            if (turn) before = undefined;
            await turn?.();
            return target.get(key);
          };
        },
      }),
  });
  const pages = (from: number) =>
    Array.from({ length: 12 }, (_, i) => ({
      ...{ event_id: `e${from + i}`, user_id: `u${i % 3}`, at: `2026-01-01T10:0${i % 10}:00Z`, page: "/" },
    }));
  const store = async () => {
    await a.flow.flush();
    for (const table of ["silver.visits_people", "silver.visits_events"]) await a.flow.refresh(table);
  };
  await cluster.append("pages", 0, pages(0));
  await store();
  await cluster.append("pages", 0, pages(12));
  const count = () => slow.query("select count(*)::int from silver.visits_events", ["silver.visits_events"]);
  assert.deepEqual(await count(), [[24]]);
  cluster.deaf = true;
  before = store;
  assert.deepEqual(await count(), [[24]]);
  assert.equal(before, undefined);
});
