import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { MillraceError } from "../../src/errors.ts";
import { RefreshLetters } from "../../src/flow/refresh-letters.ts";
import { openFlow, temporaryFolder } from "./open-flow.ts";

const DAILY = "select day, country, orders, revenue::varchar from gold.daily order by all";
const DIRECT = `select date(placed_at), country, count(*), sum(amount)::varchar from silver.enriched group by all order by all`;
const RATED = "select day, orders, rate from gold.rated order by all";
const RATED_DIRECT = `select date(placed_at), count(*), max(rate) from silver.orders left join silver.fx using (country)
  group by all order by all`;

type Flow = Awaited<ReturnType<typeof openFlow>>;

/** The law: what a refreshed table shows equals its SQL over its inputs, at both reaches. */
async function assertLaw(f: Flow, reach: "acknowledged" | "committed"): Promise<void> {
  assert.deepEqual(
    await f.query(DAILY, ["gold.daily"], reach),
    await f.query(DIRECT, ["silver.enriched"], reach),
    `gold.daily, ${reach}`,
  );
  assert.deepEqual(
    await f.query(RATED, ["gold.rated"], reach),
    await f.query(RATED_DIRECT, ["silver.orders", "silver.fx"], reach),
    `gold.rated, ${reach}`,
  );
  assert.deepEqual(
    await f.query("select days, revenue::varchar from gold.totals", ["gold.totals"], reach),
    await f.query("select count(*), sum(revenue)::varchar from gold.daily", ["gold.daily"], reach),
    `gold.totals, ${reach}`,
  );
}

test("a refresh of touched days gives what recomputing everything gives, for any history", async () => {
  const event = fc.record({
    id: fc.integer({ min: 0, max: 30 }),
    day: fc.integer({ min: 1, max: 6 }),
    country: fc.constantFrom("DE", "FR", "XX"),
    amount: fc.integer({ min: -2, max: 40 }),
  });
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant("orders" as const),
        events: fc.array(event, { minLength: 1, maxLength: 8 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant("rate" as const),
        country: fc.constantFrom("DE", "FR"),
        rate: fc.integer({ min: 1, max: 9 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("refresh" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("crash" as const) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 12 }), async (history) => {
      await using dir = await temporaryFolder();
      let f = await openFlow(dir.path);
      try {
        for (const action of history) {
          if (action.do === "orders") {
            const orders = action.events.map((e) => ({
              order_id: `o${e.id}`,
              customer: "c",
              country: e.country,
              amount: e.amount,
              placed_at: `2026-01-0${e.day}T12:00:00Z`,
            }));
            await f.append("orders", orders);
          } else if (action.do === "rate") await f.append("rates", [{ country: action.country, rate: action.rate }]);
          else if (action.do === "flush") await f.flow.flush();
          else if (action.do === "refresh") {
            for (const name of ["gold.daily", "gold.rated", "gold.totals"]) await f.flow.refresh(name);
          } else {
            await f.crash();
            f = await openFlow(dir.path);
          }
          await assertLaw(f, "acknowledged");
        }
        await f.flow.flush();
        for (const name of ["gold.daily", "gold.rated", "gold.totals"]) await f.flow.refresh(name);
        await assertLaw(f, "committed");
      } finally {
        await f.close();
      }
    }),
    { numRuns: 12 },
  );
});

test("a refresh by day rewrites only the days that new rows touch", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  const order = (id: number, day: number) => ({
    order_id: `o${id}`,
    customer: "c",
    country: "DE",
    amount: 1,
    placed_at: `2026-01-0${day}T00:00:00Z`,
  });
  await f.append("orders", [order(1, 1), order(2, 2)]);
  await f.flow.flush();
  assert.equal((await f.flow.refresh("gold.daily")).kind, "full");
  assert.equal((await f.flow.refresh("gold.daily")).kind, "none");
  await f.append("orders", [order(3, 2)]);
  await f.flow.flush();
  assert.equal((await f.flow.refresh("gold.daily")).kind, "by");
  assert.deepEqual(await f.query(DAILY, ["gold.daily"], "committed"), [
    ["2026-01-01", "DE", 1, "1.00"],
    ["2026-01-02", "DE", 2, "2.00"],
  ]);
  await f.append("rates", [{ country: "DE", rate: 2 }]);
  await f.flow.flush();
  assert.equal((await f.flow.refresh("gold.daily")).kind, "none", "the look-up was used when the rows were stored");
  assert.equal((await f.flow.refresh("gold.rated")).kind, "full", "the look-up does not carry the day");
  await f.close();
});

test("a refresh that the store refuses is tried again by itself, though no event comes any more, and says so until it is done", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  const { lake } = f.flow;
  const write = lake.write.bind(lake);
  let refused = 0;
  lake.write = async (...args) => {
    if (args[0].name === "gold.daily" && refused < 2) {
      refused++;
      throw new MillraceError("LAKE_UNAVAILABLE", { operation: "write", key: "daily", reason: "cut off" });
    }
    return write(...args);
  };
  await f.append("orders", [
    { order_id: "o1", customer: "c", country: "DE", amount: 5, placed_at: "2026-01-01T10:00:00Z" },
  ]);
  await f.flow.flush();
  await f.flow.refresher.settle();
  assert.match(f.flow.refreshFailures()["gold.daily"] ?? "", /gold\.daily cannot be refreshed: .*cut off/);
  for (let i = 0; i < 500 && "gold.daily" in f.flow.refreshFailures(); i++) await sleep(20);
  assert.deepEqual([refused, f.flow.refreshFailures()], [2, {}]);
  assert.equal((await f.query(DAILY, ["gold.daily"], "committed")).length, 1);
});

test("a refresh that something passing ended is tried again by itself, also where the same request would fail again", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  const { lake } = f.flow;
  const write = lake.write.bind(lake);
  const errors = new Map<string, Error>([
    ["gold.daily", new MillraceError("QUERY_OUT_OF_MEMORY", { reason: "others have it" })],
    ["gold.rated", new Error("too many open files")],
  ]);
  lake.write = async (...args) => {
    const error = errors.get(args[0].name);
    errors.delete(args[0].name);
    if (error) throw error;
    return write(...args);
  };
  await f.append("orders", [
    { order_id: "o1", customer: "c", country: "DE", amount: 5, placed_at: "2026-01-01T10:00:00Z" },
  ]);
  await f.flow.flush();
  await f.flow.refresher.settle();
  const failures = f.flow.refreshFailures();
  assert.match(failures["gold.daily"] ?? "", /gold\.daily cannot be refreshed: .*others have it/);
  assert.match(failures["gold.rated"] ?? "", /gold\.rated cannot be refreshed: too many open files/);
  for (let i = 0; i < 500 && Object.keys(f.flow.refreshFailures()).length > 0; i++) await sleep(20);
  assert.deepEqual([errors.size, f.flow.refreshFailures()], [0, {}]);
  await assertLaw(f, "committed");
});

test("what reads a refreshed table follows each of its commits, also one whose dead letters could not be settled at once", async (t) => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  const order = { customer: "c", country: "DE", amount: 5 };
  await f.append("orders", [{ ...order, order_id: "o1", placed_at: "2026-01-01T10:00:00Z" }]);
  await f.flow.flush();
  await f.flow.refresher.settle();
  const settle = RefreshLetters.prototype.settle;
  let failures = 0;
  t.mock.method(RefreshLetters.prototype, "settle", async function (this: RefreshLetters, ...args) {
    if (args[0] === "gold.daily" && failures++ === 0) throw new Error("the log cannot be written");
    return settle.apply(this, args);
  } as typeof settle);
  await f.append("orders", [{ ...order, order_id: "o2", placed_at: "2026-01-02T10:00:00Z" }]);
  await f.flow.flush();
  await f.flow.refresher.settle();
  for (let i = 0; i < 500 && Object.keys(f.flow.refreshFailures()).length > 0; i++) await sleep(20);
  assert.deepEqual([failures, f.flow.refreshFailures()], [2, {}]);
  const days = (table: string, sql: string) => f.query(sql, [table], "committed");
  assert.deepEqual(await days("gold.daily", "select count(*)::integer from gold.daily"), [[2]]);
  assert.deepEqual(await days("gold.totals", "select days::integer from gold.totals"), [[2]]);
});

test("what reads a stream's tables follows a flush whose events the log could not be told to let go of", async () => {
  await using dir = await temporaryFolder();
  await using f = await openFlow(dir.path);
  await f.flow.refresher.settle();
  const release = f.log.release.bind(f.log);
  f.log.release = async () => {
    throw new Error("no space left on device");
  };
  await f.append("orders", [
    { order_id: "o1", customer: "c", country: "DE", amount: 5, placed_at: "2026-01-01T10:00:00Z" },
  ]);
  await assert.rejects(f.flow.flush(["orders"]), { code: "FLUSH_FAILED" });
  f.log.release = release;
  await f.flow.refresher.settle();
  assert.equal((await f.query(DAILY, ["gold.daily"], "committed")).length, 1);
});
