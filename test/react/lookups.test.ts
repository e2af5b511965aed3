import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { lookup } from "../../src/define/lookup.ts";
import type { Problem } from "../../src/define/problem.ts";
import { type LookupPlan, readLookups } from "../../src/define/read-lookup.ts";
import { LookupFeed } from "../../src/platform/lookups.ts";
import { type LookupBlock, LookupTable } from "../../src/react/lookups/lookup-table.ts";
import { openFlow, temporaryFolder } from "../flow/open-flow.ts";

/** A flow, a feed over it, and the copies that a thread would have. */
async function open(dir: string, lookups: Parameters<typeof readLookups>[0]) {
  const f = await openFlow(dir);
  const problems: Problem[] = [];
  const { tables } = f.project;
  const plans = readLookups(
    lookups,
    "function",
    { names: () => tables.keys(), columns: (name) => tables.get(name)?.columns },
    problems,
  );
  assert.deepEqual(problems, []);
  const reported: unknown[] = [];
  const list = Object.values(plans);
  const feed = new LookupFeed({ ...f, plans: list, report: (error) => reported.push(error), retryMs: 20 });
  const copies = new Map(list.map((plan) => [plan.id, new LookupTable(plan)]));
  const blocks: LookupBlock[] = [];
  const tell = ({ id }: LookupPlan, block: LookupBlock) => {
    blocks.push(block);
    copies.get(id)?.tell(structuredClone(block));
  };
  const copy = (name: string) => copies.get((plans[name] as LookupPlan).id) as LookupTable;
  /** Resolves when the copy is that of the newest version. */
  const settled = async (name: string, table: string) => {
    for (let i = 0; copy(name).version !== f.flow.lake.get(table).snapshot.version; i++) {
      assert.ok(i < 500, `${name} did not follow ${table}`);
      await sleep(10);
    }
  };
  return {
    ...f,
    feed,
    copy,
    settled,
    begin: () => feed.begin(tell),
    blocks,
    reported,
    async [Symbol.asyncDispose]() {
      await feed.close();
      await f.close();
    },
  };
}

const at = (minute: number) => new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString();

test("a copy follows every commit: rows that come, change, go, and hold as of a time", async () => {
  await using dir = await temporaryFolder();
  await using f = await open(dir.path, {
    fx: lookup("silver.fx", { key: "country", columns: ["rate"] }),
    orders: lookup("silver.enriched", { key: "country", asOf: "placed_at", columns: ["order_id"] }),
  });
  await f.begin();
  assert.equal(f.copy("fx").get("DE"), undefined);
  let seed = 11;
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed % below;
  };
  const countries = ["DE", "FR", "IT", "XX", "ES"];
  const rates = new Map<string, number>();
  const orders: { order_id: string; country: string; minute: number }[] = [];
  for (let round = 0; round < 12; round++) {
    const events = Array.from({ length: 1 + random(6) }, () => {
      const country = countries[random(5)] as string;
      const gone = random(4) === 0;
      const rate = random(1_000) / 8;
      if (gone) rates.delete(country);
      else rates.set(country, rate);
      return { country, rate, gone };
    });
    await f.append("rates", events);
    const placed = Array.from({ length: 1 + random(20) }, (_, i) => ({
      order_id: `${round}-${i}`,
      country: countries[random(5)] as string,
      // Minutes of their own: of two rows that hold from the same time, neither is the newer one.
      minute: random(100) * 1_000 + round * 50 + i,
    }));
    orders.push(...placed.filter(({ country }) => country !== "XX"));
    await f.append(
      "orders",
      placed.map(({ order_id, country, minute }) => ({ order_id, country, customer: "c", amount: "1.00", placed_at: at(minute) })), // biome-ignore format: one event
    );
    await f.flow.flush();
    await f.settled("fx", "silver.fx");
    await f.settled("orders", "silver.enriched");
    for (const country of countries)
      assert.deepEqual(f.copy("fx").get(country), rates.has(country) ? { rate: rates.get(country) } : undefined);
    assert.equal(f.copy("fx").size, rates.size);
    assert.equal(f.copy("orders").size, orders.length);
    for (let probe = 0; probe < 20; probe++) {
      const [country, minute] = [countries[random(5)] as string, random(100_000)];
      const newest = orders
        .filter((order) => order.country === country && order.minute <= minute)
        .sort((a, b) => b.minute - a.minute)[0];
      const found = f.copy("orders").get(country, at(minute));
      assert.deepEqual(found, newest && { order_id: newest.order_id });
    }
  }
  const wholes = f.blocks.filter(({ kind }) => kind === "begin").length;
  assert.equal(wholes, 2, "each table was told as a whole once, and then what changed");
  // A new thread is told everything again.
  await f.begin();
  assert.equal(f.copy("fx").size, rates.size);
});

test("a table that cannot be read fails look-ups with the reason, and is read again by itself", async () => {
  await using dir = await temporaryFolder();
  await using f = await open(dir.path, { fx: lookup("silver.fx", { key: "country", maxRows: 2 }) });
  await f.append("rates", [{ country: "DE", rate: 1 }]);
  await f.flow.flush();
  assert.throws(() => f.copy("fx").get("DE"), { code: "LOOKUP_UNAVAILABLE", message: /it has not been read yet/ });
  await f.begin();
  assert.equal(f.copy("fx").get("DE")?.["rate"], 1);
  await f.append("rates", [
    { country: "FR", rate: 2 },
    { country: "IT", rate: 3 },
  ]);
  await f.flow.flush();
  for (let i = 0; f.reported.length === 0 && i < 500; i++) await sleep(10);
  assert.throws(() => f.copy("fx").get("DE"), { code: "LOOKUP_UNAVAILABLE", message: /it has 3 rows, and maxRows is 2/ }); // biome-ignore format: one check
  await f.append("rates", [{ country: "IT", rate: 3, gone: true }]);
  await f.flow.flush();
  await f.settled("fx", "silver.fx");
  assert.deepEqual([f.copy("fx").get("FR")?.["rate"], f.copy("fx").get("IT"), f.copy("fx").get(null)], [2, undefined, undefined]); // biome-ignore format: one check
});

test("mistakes in look-ups are named with what is allowed", () => {
  const problems: Problem[] = [];
  const columns = [
    { name: "country", type: { kind: "string" }, nullable: false },
    { name: "_offset", type: { kind: "long" }, nullable: false },
  ] as const;
  const tables = {
    names: () => ["silver.fx"],
    columns: (name: string) => (name === "silver.fx" ? columns : undefined),
  };
  readLookups(
    {
      a: lookup("silver.fy", { key: "country" }),
      b: lookup("silver.fx", { key: "land" }),
      c: lookup("silver.fx", { key: "country", asOf: "country" }),
      d: "silver.fx",
      e: lookup("silver.fx", { key: "country", maxRows: 0, fresh: true } as never),
    },
    'function "f"',
    tables,
    problems,
  );
  assert.deepEqual(
    problems.map(({ message }) => message),
    [
      'lookups.a of function "f" is "silver.fy"; it must be a table of the project; did you mean "silver.fx"?',
      'key of lookup "b" of function "f" is "land"; it must be a column of silver.fx: country',
      'asOf of lookup "c" of function "f" is "country"; it must be a timestamp or date; it is string',
      'lookups.d of function "f" is "silver.fx"; it must be what lookup("table", { key: … }) gives',
      'lookup "e" of function "f" has no option "fresh"',
      'maxRows of lookup "e" of function "f" is 0; it must be a whole number above 0',
    ],
  );
});
