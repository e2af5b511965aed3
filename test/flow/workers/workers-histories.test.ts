/**
 * Random histories of several workers over one log and one lake. Whatever they do, and whatever each believes about who owns what, every query in
 * any of them shows what a model of the acknowledged events says.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { temporaryFolder } from "../open-flow.ts";
import { Cluster, partitionsOf, type Worker } from "../open-workers.ts";

const PARTITIONS = 3;
const NAMES = ["a", "b", "c"] as const;

const event = fc.record({
  id: fc.nat(12),
  customer: fc.constantFrom("c0", "c1", "c2", "test"),
  country: fc.constantFrom("DE", "FR", "XX"),
  amount: fc.constantFrom(-5, 20, 70, 150),
  note: fc.constantFrom(undefined, undefined, "n=7", "n=x"),
  broken: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
});
type Event = typeof event extends fc.Arbitrary<infer T> ? T : never;

const partition = fc.nat(PARTITIONS - 1);
const worker = fc.nat(NAMES.length - 1);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("append" as const),
      partition,
      events: fc.array(event, { minLength: 1, maxLength: 7 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("query" as const), worker }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("store" as const), partition }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("hand over" as const), partition, worker }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("zombie" as const), partition, worker }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("crash" as const), worker, wipe: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("refresh" as const), worker }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("deaf" as const), deaf: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("all at once" as const),
      partition,
      events: fc.array(event, { minLength: 1, maxLength: 5 }),
    }),
  },
);

interface Placed extends Event {
  readonly line: Record<string, unknown>;
  readonly seq: number;
  readonly partition: number;
}

/** What the tables are to show of the acknowledged events, by the definitions. */
class Model {
  readonly events: Placed[] = [];

  place(partition: number, events: readonly Event[]): Placed[] {
    return events.map((one) => {
      const seq = this.events.length;
      const { id, customer, country, amount, note, broken } = one;
      const order_id = broken ? `broken ${seq}` : `${partition}-${id}`;
      const line = broken
        ? { order_id }
        : { ...{ order_id, customer, country, amount, note, seq }, placed_at: `2026-01-0${1 + (id % 4)}T10:00:00Z` };
      const placed = { ...one, line, seq, partition };
      this.events.push(placed);
      return placed;
    });
  }

  /** Those that count: read, and not a repetition of one before. */
  get counted(): Placed[] {
    const seen = new Set<unknown>();
    return this.events.filter(({ broken, line }) => {
      if (broken || seen.has(line["order_id"])) return false;
      seen.add(line["order_id"]);
      return true;
    });
  }

  get enriched(): Placed[] {
    return this.counted.filter((e) => e.customer !== "test" && e.note !== "n=x" && e.amount > 0 && e.country !== "XX");
  }

  /** Ids of the dead letters that there are to be. */
  get letters(): string[] {
    const offsets = new Map<Placed, number>();
    const next = new Map<number, number>();
    for (const one of this.events) {
      const offset = next.get(one.partition) ?? 0;
      next.set(one.partition, offset + 1);
      offsets.set(one, offset);
    }
    const place = (one: Placed) => `orders/${one.partition}/${offsets.get(one)}`;
    const failed = this.counted.filter((e) => e.customer !== "test" && !this.enriched.includes(e));
    return [
      ...this.events.filter(({ broken }) => broken).map((one) => `${place(one)}/`),
      ...failed.map((one) => `${place(one)}/silver.enriched`),
    ].sort();
  }

  get daily(): unknown[][] {
    const rows = new Map<string, [string, string, number, number]>();
    for (const { country, amount, line } of this.enriched) {
      const day = String(line["placed_at"]).slice(0, 10);
      const row = rows.get(day + country) ?? [day, country, 0, 0];
      rows.set(day + country, [day, country, row[2] + 1, row[3] + amount]);
    }
    return [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  }

  get customers(): unknown[][] {
    const newest = new Map<string, Placed>();
    for (const one of this.counted) {
      const known = newest.get(one.customer);
      if (known === undefined || known.seq < one.seq) newest.set(one.customer, one);
    }
    return [...newest.values()]
      .sort((a, b) => (a.customer < b.customer ? -1 : 1))
      .map(({ customer, seq, amount }) => [customer, seq, amount]);
  }
}

async function check(w: Worker, model: Model, reach: "acknowledged" | "committed" = "acknowledged"): Promise<void> {
  const who = `${w.name}, ${reach}`;
  const ids = (events: readonly Placed[]) => events.map(({ line }) => [String(line["order_id"])]).sort();
  const rows = (sql: string, name: string) => w.query(sql, [name], reach);
  assert.deepEqual(
    await rows(
      "select _partition::int, count(*)::int, count(distinct _offset)::int, max(_offset)::int from bronze.orders group by 1 order by 1",
      "bronze.orders",
    ),
    Array.from({ length: PARTITIONS }, (_, p) => [p, model.events.filter((e) => e.partition === p).length] as const)
      .filter(([, n]) => n > 0)
      .map(([p, n]) => [p, n, n, n - 1]),
    `bronze in ${who}`,
  );
  assert.deepEqual(
    await rows("select order_id from orders order by 1", "orders"),
    ids(model.counted),
    `orders in ${who}`,
  );
  assert.deepEqual(
    await rows("select order_id from silver.enriched order by 1", "silver.enriched"),
    ids(model.enriched),
    `enriched in ${who}`,
  );
  assert.deepEqual(
    await rows("select order_id from silver.large order by 1", "silver.large"),
    ids(model.enriched.filter(({ amount }) => amount >= 100)),
    `large in ${who}`,
  );
  assert.deepEqual(
    await rows("select customer, seq::int, amount from silver.customers order by 1", "silver.customers"),
    model.customers,
    `customers in ${who}`,
  );
  assert.deepEqual(
    await rows("select day::varchar, country, orders::int, revenue from gold.daily order by 1, 2", "gold.daily"),
    model.daily,
    `daily in ${who}`,
  );
  const days = new Set(model.daily.map(([day]) => day));
  const revenue = model.daily.reduce((sum, row) => sum + Number(row[3]), 0);
  const rowCount = model.daily.length;
  assert.deepEqual(
    await rows("select days::int, coalesce(revenue, 0) from gold.totals", "gold.totals"),
    [[rowCount, revenue]],
    `totals of ${days.size} days in ${who}`,
  );
}

test("whatever workers do to each other, every query in any of them shows every acknowledged event once", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 16 }), async (history) => {
      await using dir = await temporaryFolder();
      await using cluster = await Cluster.open(dir.path, { partitions: PARTITIONS });
      const open = (name: string) =>
        cluster.open({ name, project: "workers", leads: name === "a", flushBytes: 20_000 });
      const workers = await Promise.all(NAMES.map(open));
      const model = new Model();
      /** By partition, who was given it last; whoever had it before may not have noticed. */
      const owners = Array.from({ length: PARTITIONS }, (_, p) => p % workers.length);
      const share = (p: number) => partitionsOf(workers[0] as Worker, [p]).filter(({ stream }) => stream === "orders");
      const others = partitionsOf(workers[0] as Worker, [0], true).filter(({ stream }) => stream !== "orders");
      for (const [p, owner] of owners.entries()) await workers[owner]?.group.give(share(p));
      let rest = 0;
      await workers[rest]?.group.give(others);
      await cluster.append("rates", 0, [
        { country: "DE", rate: 2 },
        { country: "FR", rate: 3 },
      ]);
      const append = (p: number, events: readonly Event[]) =>
        cluster.append(
          "orders",
          p,
          model.place(p, events).map(({ line }) => line),
        );
      const flush = () => cluster.flush(workers);
      await flush();
      for (const one of history) {
        if (one.do === "append") await append(one.partition, one.events);
        else if (one.do === "query") await check(workers[one.worker] as Worker, model);
        else if (one.do === "flush") await flush();
        else if (one.do === "store") {
          const owner = workers[owners[one.partition] as number] as Worker;
          await cluster.handOver(owner, owner, share(one.partition));
        } else if (one.do === "hand over") {
          await cluster.handOver(
            workers[owners[one.partition] as number] as Worker,
            workers[one.worker] as Worker,
            share(one.partition),
          );
          owners[one.partition] = one.worker;
        } else if (one.do === "zombie") {
          await workers[one.worker]?.group.give(share(one.partition));
          owners[one.partition] = one.worker;
        } else if (one.do === "crash") {
          const dead = workers[one.worker] as Worker;
          await dead.crash();
          if (one.wipe) await dead.wipe();
          const heir = (one.worker + 1) % workers.length;
          for (const [p, owner] of owners.entries()) {
            if (owner !== one.worker) continue;
            owners[p] = heir;
            await workers[heir]?.group.give(share(p));
          }
          if (rest === one.worker) {
            rest = heir;
            await workers[heir]?.group.give(others);
          }
          workers[one.worker] = await open(dead.name);
        } else if (one.do === "refresh") {
          for (const [i, { lead }] of workers.entries()) lead.set(i === one.worker);
          await workers[one.worker]?.flow.refresher.settle();
        } else if (one.do === "deaf") cluster.deaf = one.deaf;
        else {
          await append(one.partition, one.events);
          const queries = workers.map((w) =>
            w.query("select order_id from silver.enriched order by 1", ["silver.enriched"]),
          );
          const wanted = model.enriched.map(({ line }) => [line["order_id"]]).sort();
          const refreshed = workers.map(({ flow }) => flow.refresher.refresh("gold.daily"));
          const [, ...answers] = await Promise.all([flush(), ...queries, ...refreshed]);
          for (const answer of answers.slice(0, queries.length)) assert.deepEqual(answer, wanted);
        }
      }
      for (const w of workers) await check(w, model);
      await flush();
      await flush(); // the letters of what was stored
      for (const w of workers) {
        await w.flow.refresh("gold.daily");
        await w.flow.refresh("gold.totals");
        await check(w, model, "committed");
        await check(w, model);
        assert.deepEqual(
          (await w.query("select dead_letter_id from system.dead_letters order by 1", ["system.dead_letters"]))
            .flat()
            .sort(),
          model.letters,
        );
        assert.deepEqual(
          w.flow.ledger().filter(({ balanced, pending }) => !balanced || pending !== 0),
          [],
          w.name,
        );
        assert.deepEqual(await w.flow.verifyLedger(), [], w.name);
        assert.deepEqual(w.flow.failures(), {});
      }
    }),
    {
      numRuns: Number(process.env["RUNS"] ?? 5),
      ...(process.env["SEED"] ? { seed: Number(process.env["SEED"]) } : {}),
      ...(process.env["FC_PATH"] ? { path: process.env["FC_PATH"] } : {}),
    },
  );
});
