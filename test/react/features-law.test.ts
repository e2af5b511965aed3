/** The law of features: for every event the online value is the one that SQL computes from the stored events. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import fc from "fast-check";
import * as z from "zod";
import {
  type Aggregate,
  count,
  distinct,
  first,
  last,
  max,
  mean,
  min,
  stddev,
  sum,
} from "../../src/define/aggregates.ts";
import { decimal } from "../../src/define/decimal.ts";
import { type FeatureOptions, feature } from "../../src/define/feature.ts";
import { featureSql, labelsSql } from "../../src/define/feature-sql.ts";
import type { Stream } from "../../src/define/project.ts";
import { type Feature, readFeature } from "../../src/define/read-feature.ts";
import { readStream } from "../../src/define/read-stream.ts";
import { quoteLiteral } from "../../src/define/sql-text.ts";
import { stream } from "../../src/define/stream.ts";
import { jsonStructure } from "../../src/define/types.ts";
import { type DuckdbInspector, openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";
import { FeatureOperator, type FeatureValue } from "../../src/react/features/feature-operator.ts";
import { microseconds } from "../../src/react/windows/event-time.ts";
import { FeatureLane } from "./feature-lane.ts";

const payments = stream("payments", {
  schema: z.object({
    card_id: z.string().nullish(),
    at: z.iso.datetime({ offset: true }).nullish(),
    amount: decimal(12, 2).nullish(),
    big: decimal(30, 6).nullish(),
    items: z.int().nullish(),
    score: z.number().nullish(),
    ratio: z.float32().nullish(),
    merchant: z.string().nullish(),
    captured: z.boolean().nullish(),
    seen: z.iso.datetime({ offset: true }).nullish(),
    day: z.iso.date().nullish(),
  }),
  time: "at",
});
type PaymentOptions = FeatureOptions<(typeof payments)["options"]["schema"]>;
type Event = Record<string, unknown>;
interface Arrival {
  readonly value: Event;
  readonly receivedAtMs: number;
}

const STREAM = readStream(payments, "streams.ts", 86_400_000) as Stream;
const START_MS = Date.UTC(2025, 5, 30, 12);

let inspector: DuckdbInspector;
let duckdb: DuckDBConnection;
before(async () => {
  inspector = await openDuckdbInspector();
  duckdb = await (await DuckDBInstance.create(":memory:", { threads: "1" })).connect();
  await duckdb.run("set timezone = 'UTC'");
});
after(() => {
  inspector.close();
  duckdb.closeSync();
});

async function defined(options: Partial<PaymentOptions>, name = "spend"): Promise<Feature> {
  const all = { on: payments, key: "card_id", window: "10s", aggregate: count(), ...options } as PaymentOptions;
  const streams = new Map([["payments", STREAM]]);
  const read = await readFeature(feature(name, all), "features.ts", { streams, broken: new Set() }, inspector);
  assert.ok("aggregate" in read, JSON.stringify(read));
  return read;
}

/** Online: a new operator over the same state after every `restartEvery` events. */
function online(plan: Feature, arrivals: readonly Arrival[], restartEvery: number): FeatureValue[] {
  const lane = new FeatureLane();
  let operator = new FeatureOperator(plan, lane);
  return arrivals.map(({ value, receivedAtMs }, offset) => {
    if (offset % restartEvery === restartEvery - 1) operator = new FeatureOperator(plan, lane);
    const event = lane.event(JSON.parse(JSON.stringify(value)) as Event, offset, receivedAtMs);
    operator.apply(event);
    return operator.at(event);
  });
}

async function storeEvents(arrivals: readonly Arrival[]): Promise<void> {
  const lines = arrivals.map(
    ({ value, receivedAtMs }, offset) =>
      `(${quoteLiteral(JSON.stringify(value))}, ${offset}, make_timestamptz(${receivedAtMs * 1000}))`,
  );
  const structure = quoteLiteral(jsonStructure(STREAM.columns));
  await duckdb.run(`create or replace table payments as select unnest(from_json(p, ${structure})), '0-' || o as _id,
    0::integer as _partition, o::bigint as _offset, a as _received_at, 'test' as _source from (values ${lines.join(",")}) v(p, o, a)`);
}

async function offline(plan: Feature): Promise<unknown[]> {
  const reader = await duckdb.runAndReadAll(`select ${shown(plan)} from (${featureSql(plan)}) order by _offset`);
  return reader.getRowsJson().map(([value]) => value);
}

/** As values compare: instants by what they are, whole numbers as text. */
function shown(plan: Feature): string {
  const kind = plan.aggregate.column.type.kind;
  return kind === "timestamp" ? `epoch_us(${plan.name})` : plan.name;
}

function agree(plan: Feature, on: FeatureValue, off: unknown, arrivals: readonly Arrival[], what: string): void {
  assert.ok(isSame(plan, on, off, arrivals), `${what}: online ${String(on)}, offline ${String(off)}`);
}

function isSame(plan: Feature, on: FeatureValue, off: unknown, arrivals: readonly Arrival[]): boolean {
  const { function: name, column, field } = plan.aggregate;
  if (on === null || off === null) return on === off;
  if (column.type.kind === "timestamp") return String(microseconds(on)) === String(off);
  if (column.type.kind !== "double" && column.type.kind !== "float") return String(on) === String(off);
  const [a, b] = [Number(on), Number(off)];
  if (!["sum", "mean", "stddev"].includes(name)) return a === b;
  // What is promised of sums of doubles, means and deviations.
  const amounts = arrivals.map(({ value }) => Math.abs(Number(value[field!.name] ?? 0)));
  const total = amounts.reduce((sum, amount) => sum + amount, 0);
  return Math.abs(a - b) <= (name === "stddev" ? 1e-7 * Math.max(...amounts) : 1e-12 * total);
}

/** Times of a key go on, stand still, jump back and ahead; arrivals pause; fields are missing. */
const value = fc.record(
  {
    card_id: fc.constantFrom("a", "b", "ü", null),
    amount: fc.oneof(
      fc.integer({ min: -99_999, max: 99_999 }).map((n) => n / 100),
      fc.constantFrom("12.5", "-0.05", "7", null),
    ),
    big: fc.constantFrom("123456789012345678901234.567891", "-0.000001", "99", 12.5, null),
    items: fc.oneof(fc.integer({ min: -5, max: 5 }), fc.constantFrom(Number.MAX_SAFE_INTEGER, null)),
    score: fc.oneof(fc.double({ min: -1e6, max: 1e6, noNaN: true }), fc.constantFrom(0, -0, 0.1, null)),
    ratio: fc.constantFrom(0.1, 0.25, -3.7, null),
    merchant: fc.constantFrom("x", "y", "Z", "é", "\u{1f600}", "\uffee", "", null),
    captured: fc.constantFrom(true, false, null),
    seen: fc.constantFrom(
      "2025-06-30T12:00:00Z",
      "2025-06-30T14:00:00.000001+02:00",
      "1999-12-31T23:59:59.999999Z",
      null,
    ),
    day: fc.constantFrom("2025-06-30", "2024-02-29", null),
  },
  { requiredKeys: ["card_id"] },
);
const moment = fc.record({
  value,
  passMs: fc.oneof(
    { weight: 20, arbitrary: fc.integer({ min: 0, max: 2500 }) },
    { weight: 1, arbitrary: fc.integer({ min: 25_000, max: 45_000 }) },
  ),
  time: fc.oneof(
    { weight: 12, arbitrary: fc.integer({ min: -3000, max: 1500 }) },
    { weight: 3, arbitrary: fc.integer({ min: -30_000, max: 5000 }) },
    { weight: 2, arbitrary: fc.constantFrom(0, 0, -10_000, 10_000, -20_000) },
    { weight: 1, arbitrary: fc.constantFrom(3.2e11, -3.2e11, 9e7, 86_400_000, -1.5e13, null) },
  ),
  us: fc.constantFrom(0, 0, 0, 1, 999),
});
const history = fc.array(moment, { minLength: 1, maxLength: 120 }).map((moments) => {
  let nowMs = START_MS;
  return moments.map(({ value, passMs, time, us }): Arrival => {
    nowMs += passMs;
    return { value: time === null ? value : { ...value, at: instant(nowMs + time, us) }, receivedAtMs: nowMs };
  });
});

function instant(ms: number, us: number): string {
  const text = new Date(Math.max(ms, Date.UTC(1, 0, 2))).toISOString();
  return us === 0 ? text : `${text.slice(0, -1)}${String(us).padStart(3, "0")}Z`;
}

const AGGREGATES: readonly Aggregate[] = [
  ...[
    count(),
    count("merchant"),
    sum("amount"),
    sum("big"),
    sum("items"),
    sum("score"),
    sum("ratio"),
    mean("amount"),
    mean("score"),
  ],
  ...[
    stddev("items"),
    min("amount"),
    max("score"),
    min("ratio"),
    min("merchant"),
    max("merchant"),
    max("captured"),
    min("seen"),
  ],
  ...[
    max("day"),
    distinct("merchant"),
    distinct("score"),
    distinct("amount"),
    first("merchant"),
    last("amount"),
    first("seen"),
  ],
  ...[last("captured"), last("items")],
];
const CONDITIONS = [
  undefined,
  "amount > 10.5",
  "items <> 3 and not (merchant = 'x' or captured)",
  "merchant in ('x', 'y', '') or items is null",
  "not merchant in ('x', 'é')",
  "amount between -100 and 12.5",
  "score <= 0.1 and ratio >= 0.1",
  "10 < big or captured = false",
  "amount is not null and -0.05 = amount",
];

const options = fc.record({
  aggregate: fc.constantFrom(...AGGREGATES),
  where: fc.constantFrom(...CONDITIONS),
  window: fc.constantFrom("1ms", "3s", "10s", "2m"),
  lateness: fc.constantFrom(undefined, "0s", "4s", "1h"),
  idle: fc.constantFrom(undefined, "20s"),
});

test("for every event of a random history the online value is the offline value, wherever the state was taken up again", async () => {
  await fc.assert(
    fc.asyncProperty(options, history, fc.integer({ min: 1, max: 7 }), async (given, arrivals, restartEvery) => {
      const plan = await defined(Object.fromEntries(Object.entries(given).filter(([, v]) => v !== undefined)));
      await storeEvents(arrivals);
      const [on, off] = [online(plan, arrivals, restartEvery), await offline(plan)];
      assert.equal(off.length, arrivals.length);
      for (const [i, one] of on.entries()) agree(plan, one, off[i], arrivals, `event ${i}`);
    }),
    { numRuns: 250, interruptAfterTimeLimit: 40_000 },
  );
});

test("many values of one key lie in blocks, and late ones among them count as the others", async () => {
  const seeds = fc.record({
    given: options,
    late: fc.array(fc.integer({ min: 0, max: 200_000 }), { minLength: 50, maxLength: 300 }),
    each: fc.integer({ min: 1, max: 40 }),
  });
  await fc.assert(
    fc.asyncProperty(seeds, async ({ given, late, each }) => {
      const plan = await defined({
        aggregate: given.aggregate as PaymentOptions["aggregate"],
        window: "150s",
        lateness: "100s",
      });
      const arrivals = Array.from({ length: 1200 }, (_, i): Arrival => {
        const receivedAtMs = START_MS + i * 200;
        const backMs = i % each === 0 ? (late[i % late.length] as number) : i % 3;
        const number = (i * 7919) % 1009;
        const texts = { merchant: ["x", "y", "é", ""][number % 4], seen: instant(START_MS + number, number) };
        const numbers = {
          amount: number / 100,
          big: `${number}.000001`,
          items: number,
          score: number / 7,
          ratio: number / 8,
        };
        const value = {
          card_id: i % 17 === 0 ? "b" : "a",
          at: instant(receivedAtMs - backMs, 0),
          captured: i % 5 === 0,
          day: "2025-06-30",
        };
        return { value: { ...value, ...texts, ...numbers }, receivedAtMs };
      });
      await storeEvents(arrivals);
      const [on, off] = [online(plan, arrivals, 100), await offline(plan)];
      for (const [i, one] of on.entries()) agree(plan, one, off[i], arrivals, `event ${i}`);
    }),
    { numRuns: 12, interruptAfterTimeLimit: 40_000 },
  );
});

test("a read as of a time is what SQL gives for a label of that time by what had arrived", async () => {
  await fc.assert(
    fc.asyncProperty(
      options,
      history,
      fc.nat(),
      fc.integer({ min: 0, max: 60_000 }),
      async (given, all, cut, laterMs) => {
        const plan = await defined(Object.fromEntries(Object.entries(given).filter(([, v]) => v !== undefined)));
        const arrivals = all.slice(0, 1 + (cut % all.length));
        const nowMs = (arrivals.at(-1) as Arrival).receivedAtMs + laterMs;
        const lane = new FeatureLane();
        const operator = new FeatureOperator(plan, lane);
        for (const [offset, { value, receivedAtMs }] of arrivals.entries())
          operator.apply(lane.event(value, offset, receivedAtMs));
        lane.nowMs = nowMs;
        const keys = ["a", "b", "ü", "nobody"];
        const { values } = operator.read({ keys, atUs: nowMs * 1000, nowMs });
        await storeEvents(all);
        const labels = keys.map((key) => `(${quoteLiteral(key)}, make_timestamptz(${nowMs * 1000}))`);
        await duckdb.run(`create or replace table labels as select * from (values ${labels.join(",")}) l(card, asked)`);
        // What arrives in the same millisecond is known by then.
        await duckdb.run(`delete from payments where _offset >= ${arrivals.length}`);
        const sql = labelsSql(plan, { table: "labels", key: "card", time: "asked", known: "arrival" });
        const reader = await duckdb.runAndReadAll(`select card, ${shown(plan)} from (${sql})`);
        const off = new Map(reader.getRowsJson().map(([key, value]) => [key, value]));
        assert.equal(off.size, keys.length);
        for (const [i, key] of keys.entries())
          agree(plan, values[i] as FeatureValue, off.get(key), arrivals, `key ${key}`);
      },
    ),
    { numRuns: 150, interruptAfterTimeLimit: 40_000 },
  );
});
