import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "../../../src/errors.ts";
import { temporaryFolder } from "../open-flow.ts";
import { Cluster, partitionsOf, type Worker, type WorkerOptions } from "../open-workers.ts";
import { agrees, balanced, type Line, lines, several } from "./several-workers.ts";

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

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !holds(); i++) await sleep(20);
  assert.ok(holds());
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
  await cluster.flush([a, b]);
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
  await cluster.flush([a, b]);
  for (const worker of [a, b]) {
    assert.deepEqual(await ids(worker), more);
    const unbalanced = worker.flow.ledger().filter(({ balanced, pending }) => !balanced || pending !== 0);
    assert.deepEqual(unbalanced, []);
  }
  assert.deepEqual(await b.flow.verifyLedger(), []);
});

test("four owners who rewrite the same keys at the same time all get on, and the newest row of each key stays", async () => {
  await using dir = await temporaryFolder();
  await using cluster = await Cluster.open(dir.path, { partitions: 4 });
  const workers = await several(cluster, 4);
  cluster.deaf = true;
  const all: Line[] = [];
  for (let round = 0; round < 3; round++) {
    for (let p = 0; p < 4; p++) {
      const some = lines(all.length, 30);
      all.push(...some);
      await cluster.append("orders", p, some);
    }
    await cluster.flush(workers, ["orders"]);
    await agrees(workers[round] as Worker, all); // at once: the next merge would hide a key that is there twice
  }
  for (const w of workers) {
    await agrees(w, all);
    balanced(w);
    assert.deepEqual(w.flow.failures(), {});
  }
  const merges = (await workers[0]?.flow.lake.get("silver.customers").delta.history(100))?.filter(
    ({ operation }) => operation === "MERGE",
  );
  assert.equal(merges?.length, 12);
});

test("a partition changes hands under load: its loser stores nothing once it has let go, and nothing is lost or doubled", async () => {
  await using dir = await temporaryFolder();
  await using cluster = await Cluster.open(dir.path, { partitions: 2 });
  const [a, b] = (await several(cluster, 2, { flushIntervalMs: 20 })) as [Worker, Worker];
  const committed: { by: string; partition: unknown }[] = [];
  for (const w of [a, b]) {
    const { lake } = w.flow;
    const commit = lake.commit.bind(lake);
    lake.commit = (table, request) => {
      const { partition } = (request.info?.["millrace"] ?? {}) as { partition?: number };
      if (table.name === "bronze.orders") committed.push({ by: w.name, partition });
      return commit(table, request);
    };
  }
  const all: Line[] = [];
  let loading = true;
  const load = (async () => {
    while (loading) {
      const some = lines(all.length, 20);
      await cluster.append("orders", (all.length / 20) % 2, some);
      all.push(...some); // acknowledged
      await sleep(5);
    }
  })();
  const partition = [{ stream: "orders", partition: 0 }];
  try {
    for (let round = 0; round < 6; round++) {
      const [from, to] = round % 2 === 0 ? [a, b] : [b, a];
      await sleep(60);
      await from.group.revoke(partition);
      const before = committed.length;
      await sleep(40);
      assert.deepEqual(
        committed.slice(before).filter((one) => one.partition === 0),
        [],
        "between two owners",
      );
      await to.group.give(partition);
      const known = [...all];
      const ids = new Set((await to.query("select order_id from silver.enriched", ["silver.enriched"])).flat());
      assert.deepEqual(
        known.filter(({ order_id }) => !ids.has(order_id)),
        [],
      );
    }
  } finally {
    loading = false;
    await load;
  }
  await cluster.flush([a, b]);
  for (const w of [a, b]) {
    await agrees(w, all);
    balanced(w);
  }
  assert.deepEqual(await a.flow.verifyLedger(), []);
});

test("a flush that failed is no failure any more once another worker has stored its events", async () => {
  await using dir = await temporaryFolder();
  await using cluster = await Cluster.open(dir.path, { partitions: 2 });
  const [a, b] = (await several(cluster, 2, { flushIntervalMs: 20 })) as [Worker, Worker];
  const { lake } = b.flow;
  const write = lake.write.bind(lake);
  lake.write = async (...args) => {
    if (args[0].name === "bronze.orders")
      throw new MillraceError("LAKE_UNAVAILABLE", { operation: "write", key: "orders", reason: "cut off" });
    return write(...args);
  };
  await cluster.append("orders", 1, lines(0, 10));
  await until(() => "orders" in b.flow.failures());
  const partition = [{ stream: "orders", partition: 1 }];
  await b.group.revoke(partition, "fenced");
  await a.group.give(partition);
  await cluster.flush([a]);
  await until(() => Object.keys(b.flow.failures()).length === 0);
  await agrees(b, lines(0, 10));
});

test("a replay in one worker while others store: what comes meanwhile stays, and keys are those of all events", async () => {
  await using dir = await temporaryFolder();
  await using cluster = await Cluster.open(dir.path, { partitions: 2 });
  const [a, b] = (await several(cluster, 2, { flushIntervalMs: 30 })) as [Worker, Worker];
  const serve = await cluster.open({ name: "serve", project: "workers", stores: false });
  const all: Line[] = lines(0, 200);
  await cluster.append("orders", 0, all);
  let loading = true;
  const load = (async () => {
    while (loading) {
      const some = lines(all.length, 10);
      await cluster.append("orders", (all.length / 10) % 2, some);
      all.push(...some);
      await sleep(10);
    }
  })();
  try {
    for (const table of ["silver.customers", "silver.enriched", "bronze.orders"]) {
      const { tables } = await serve.flow.replay(table);
      assert.ok(tables.some((one) => one.kind === "rebuilt"));
    }
  } finally {
    loading = false;
    await load;
  }
  await cluster.flush([a, b]);
  for (const w of [a, b, serve]) await agrees(w, all);
  assert.deepEqual(await serve.flow.verifyLedger(), []);
});

test("dead letters are retried by a worker that owns nothing, each once, while the owners store", async () => {
  await using dir = await temporaryFolder();
  await using cluster = await Cluster.open(dir.path, { partitions: 2 });
  const [a, b] = (await several(cluster, 2, { flushIntervalMs: 20 })) as [Worker, Worker];
  const serve = await cluster.open({ name: "serve", project: "workers", stores: false });
  const good = lines(0, 40);
  const bad = lines(40, 40).map((one) => ({ ...one, amount: -1 }));
  for (const p of [0, 1]) {
    await cluster.append(
      "orders",
      p,
      [...good, ...bad].filter(({ seq }) => seq % 2 === p),
    );
  }
  await cluster.flush([a, b]);
  await cluster.flush([a, b]); // the letters
  const open = await serve.flow.deadLetterDesk.list({ status: "open" }, { limit: 100 });
  assert.equal(open.deadLetters.length, 40);
  let more = lines(1000, 5);
  const load = (async () => {
    for (let i = 0; i < 20; i++) {
      await cluster.append("orders", i % 2, lines(1000 + 5 * i, 5));
      await sleep(10);
    }
    more = lines(1000, 100);
  })();
  const admit = () => ({ kind: "refused", code: "X", message: "not of the door" }) as const;
  const [first, second] = await Promise.all([
    serve.flow.deadLetterDesk.retry({ filter: { stream: "orders" } }, { actor: "x", admit }),
    a.flow.deadLetterDesk.retry({ filter: { stream: "orders" } }, { actor: "y", admit }),
  ]);
  assert.ok([...first, ...second].every(({ outcome }) => outcome === "failed"));
  assert.equal(first.length, 40);
  await load;
  await cluster.flush([a, b]);
  const ids = await serve.query("select order_id from silver.enriched order by 1", ["silver.enriched"]);
  assert.deepEqual(ids.flat(), [...good, ...more].map(({ order_id }) => order_id).sort());
  const [letter] = (await serve.flow.deadLetterDesk.list({ status: "open" }, { limit: 100 })).deadLetters;
  assert.equal(letter?.attempts, 3);
  assert.deepEqual(await serve.flow.verifyLedger(), []);
});

test("what no worker asks for of partitions that are not its own is not opened", async () => {
  await using dir = await temporaryFolder();
  await using cluster = await Cluster.open(dir.path, { partitions: 2 });
  const [a, b] = (await several(cluster, 2)) as [Worker, Worker];
  await cluster.append("orders", 0, lines(0, 10));
  await cluster.append("orders", 1, lines(10, 10));
  await cluster.flush([a, b]);
  const opened = async (w: Worker) => {
    const folder = join(w.dataDir, "dedupe", "orders");
    const [by] = await readdir(folder).catch(() => []);
    return by === undefined ? [] : (await readdir(join(folder, by))).sort();
  };
  assert.deepEqual([await opened(a), await opened(b)], [["0"], ["1"]]);
  await b.query("select 1 from silver.fx", ["silver.fx"]);
  assert.deepEqual(await opened(b), ["1"]);
  await cluster.append("orders", 0, [...lines(5, 5), ...lines(20, 5)]); // five of them repeat stored ones
  await b.query("select 1 from orders", ["orders"]);
  assert.deepEqual(await opened(b), ["0", "1"]);
  await agrees(b, lines(0, 25));
});

test("only the leader refreshes, and who leads next does what became due before", async () => {
  await using dir = await temporaryFolder();
  await using cluster = await Cluster.open(dir.path, { partitions: 2 });
  const [a, b] = (await several(cluster, 2)) as [Worker, Worker];
  await cluster.append("orders", 1, lines(0, 10));
  await cluster.flush([a, b]);
  await b.flow.refresher.settle();
  const rows = (w: Worker) => w.query("select count(*)::int from gold.daily", ["gold.daily"], "committed");
  assert.deepEqual(await rows(b), [[0]]);
  a.lead.set(false);
  b.lead.set(true);
  await a.flow.refresher.settle();
  assert.deepEqual(await rows(a), [[0]]);
  await b.flow.refresher.settle();
  for (const w of [a, b]) assert.deepEqual(await rows(w), [[4]]);
});

test("a refresh that failed is a failure of the process that leads, and of no other one that led before", async () => {
  await using dir = await temporaryFolder();
  await using cluster = await Cluster.open(dir.path, { partitions: 2 });
  const [a, b] = (await several(cluster, 2)) as [Worker, Worker];
  const { lake } = a.flow;
  const write = lake.write.bind(lake);
  lake.write = async (...args) => {
    if (args[0].name === "gold.daily")
      throw new MillraceError("LAKE_UNAVAILABLE", { operation: "write", key: "daily", reason: "cut off" });
    return write(...args);
  };
  await cluster.append("orders", 1, lines(0, 10));
  await cluster.flush([a, b]);
  await a.flow.refresher.settle();
  assert.match(a.flow.refreshFailures()["gold.daily"] ?? "", /gold\.daily cannot be refreshed: .*cut off/);
  a.lead.set(false);
  b.lead.set(true);
  await b.flow.refresher.settle();
  for (const w of [a, b]) assert.deepEqual(w.flow.refreshFailures(), {});
});

test("a table that cannot be computed where the leader runs is no failure there any more once another worker has refreshed it", async () => {
  await using dir = await temporaryFolder();
  await using cluster = await Cluster.open(dir.path, { partitions: 2 });
  const [a, b] = (await several(cluster, 2, { refreshDebounceMs: 20 })) as [Worker, Worker];
  await until(() => a.flow.lake.get("gold.totals").snapshot.version > 0);
  const { lake } = a.flow;
  const write = lake.write.bind(lake);
  lake.write = async (...args) => {
    if (args[0].name === "gold.daily") throw new MillraceError("SQL_FAILED", { reason: "a function that fails here" });
    return write(...args);
  };
  await cluster.append("orders", 1, lines(0, 10));
  await cluster.flush([a, b]);
  await until(() => "gold.daily" in a.flow.refreshFailures());
  await b.flow.refresh("gold.daily");
  await until(() => Object.keys(a.flow.refreshFailures()).length === 0);
  const days = await a.query("select count(*)::int from gold.daily", ["gold.daily"], "committed");
  assert.deepEqual(days, [[4]]);
});

test("a build that failed is a failure of the process that leads, and of no other one that led before", async () => {
  await using dir = await temporaryFolder();
  await using cluster = await Cluster.open(dir.path, { partitions: 2 });
  const [a, b] = (await several(cluster, 2)) as [Worker, Worker];
  await cluster.append("orders", 0, lines(0, 20));
  await cluster.flush([a, b]);
  const refuses: WorkerOptions["store"] = (store) =>
    new Proxy(store, {
      get(target, name) {
        if (name !== "stage") return Reflect.get(target, name).bind(target);
        return async (key: string) => {
          if (!key.startsWith("silver/small/")) return target.stage(key);
          throw new MillraceError("LAKE_UNAVAILABLE", { operation: "write", key, reason: "cut off" });
        };
      },
    });
  const next = { project: "workers-next", flushBytes: 100 };
  const cut = await cluster.open({ ...next, name: "cut", store: refuses });
  a.lead.set(false);
  cut.lead.set(true);
  const failure = (w: Worker) => w.flow.building().map((one) => one.failure);
  await until(() => failure(cut).some((reason) => reason !== undefined));
  assert.match(failure(cut)[0] ?? "", /cut off/);
  cut.lead.set(false);
  assert.deepEqual(failure(cut), [undefined]);
  const whole = await cluster.open({ ...next, name: "whole", leads: true });
  await whole.flow.built();
  const small = await whole.query("select count(*)::int from silver.small", ["silver.small"]);
  assert.deepEqual(small, [[20]]);
});

test("workers of two versions: the older one goes on with a table that has more columns, and a new table is built for both", async () => {
  await using dir = await temporaryFolder();
  await using cluster = await Cluster.open(dir.path, { partitions: 2 });
  const [a, b] = (await several(cluster, 2, { flushIntervalMs: 50 })) as [Worker, Worker];
  const all = lines(0, 40);
  await cluster.append("orders", 0, all.slice(0, 20));
  await cluster.append("orders", 1, all.slice(20));
  await cluster.flush([a, b]);
  const next = await cluster.open({ name: "next", project: "workers-next", flushIntervalMs: 50 });
  a.lead.set(false);
  next.lead.set(true);
  await next.flow.built();
  const more = lines(40, 20);
  all.push(...more);
  await cluster.append("orders", 0, more.slice(0, 10));
  await cluster.append("orders", 1, more.slice(10));
  for (const w of [a, b, next]) await agrees(w, all);
  const small = async () => (await next.query("select order_id from silver.small order by 1", ["silver.small"])).flat();
  const wanted = () =>
    all
      .filter(({ amount }) => amount < 100)
      .map(({ order_id }) => order_id)
      .sort();
  assert.deepEqual(await small(), wanted());
  // An older worker that starts while the newer one runs.
  await b.close();
  await cluster.handOver(a, next, [{ stream: "orders", partition: 0 }]);
  const again = await cluster.open({ name: "b", project: "workers", flushIntervalMs: 50 });
  await again.group.give([{ stream: "orders", partition: 1 }]);
  const last = lines(60, 20);
  all.push(...last);
  await cluster.append("orders", 0, last.slice(0, 10));
  await cluster.append("orders", 1, last.slice(10));
  await Promise.all([a.flow.flush(), next.flow.flush(["rates"])]);
  await agrees(again, all);
  await agrees(next, all);
  assert.deepEqual(await small(), wanted());
  const numbers = await next.query(
    "select count(number)::int, count(*)::int from silver.enriched where _offset >= 30 and _partition = 0",
    ["silver.enriched"],
  );
  assert.deepEqual(numbers, [[10, 10]]);
});

test("a query in a worker waits for a long tail of another's partition", async () => {
  await using dir = await temporaryFolder();
  await using cluster = await Cluster.open(dir.path, { partitions: 2 });
  const [a, b] = (await several(cluster, 2, { flushBytes: 4_000 })) as [Worker, Worker];
  for (let i = 0; i < 10; i++) await cluster.append("orders", 0, lines(i * 50, 50));
  const answer = b.query("select count(*)::int from orders", ["orders"]);
  await Promise.all([a.flow.flush(["orders"]), answer]);
  assert.deepEqual(await answer, [[500]]);
});

test("vacuum takes nothing that another worker is just writing, however far the clocks of workers are apart", async () => {
  await using dir = await temporaryFolder();
  let nowMs = Date.now();
  await using cluster = await Cluster.open(dir.path, { partitions: 2, clock: () => nowMs });
  const [a, b] = (await several(cluster, 2, { retentionMs: 0 })) as [Worker, Worker];
  await cluster.append("orders", 1, lines(0, 10));
  const { lake } = b.flow;
  const write = lake.write.bind(lake);
  let removed: number | undefined;
  lake.write = async (table, statement, options) => {
    const files = await write(table, statement, options);
    if (table.name === "bronze.orders") {
      nowMs += 30 * 86_400_000;
      removed = (await a.flow.lake.vacuum(0, nowMs)).files;
    }
    return files;
  };
  await cluster.flush([a, b]);
  assert.equal(removed, 0);
  for (const w of [a, b]) await agrees(w, lines(0, 10));
});
