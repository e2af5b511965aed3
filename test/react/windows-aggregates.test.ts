import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import fc from "fast-check";
import * as aggregates from "../../src/define/aggregates.ts";
import type { Problem } from "../../src/define/problem.ts";
import type { Column } from "../../src/define/project.ts";
import { type AggregatePlan, aggregateSql, readAggregates } from "../../src/define/read-aggregates.ts";
import { duckdbType } from "../../src/define/types.ts";
import { Aggregates, type Slots } from "../../src/react/windows/aggregates.ts";
import { addDistinct, type DistinctSketch, distinctOf, NO_VALUES } from "../../src/react/windows/distinct-sketch.ts";
import { comparableTime, microseconds, timeText } from "../../src/react/windows/event-time.ts";
import {
  addQuantile,
  EMPTY_QUANTILES,
  mergeQuantiles,
  type QuantileSketch,
  quantileOf,
  RELATIVE_ERROR,
} from "../../src/react/windows/quantile-sketch.ts";

const { count, sum, mean, min, max, stddev, distinct, quantile, first, last } = aggregates;

const COLUMNS: readonly Column[] = (
  [
    ["at", { kind: "timestamp" }],
    ["i", { kind: "long" }],
    ["d", { kind: "double" }],
    ["m", { kind: "decimal", precision: 20, scale: 2 }],
    ["s", { kind: "string" }],
    ["b", { kind: "boolean" }],
    ["t", { kind: "timestamp" }],
    ["day", { kind: "date" }],
  ] as const
).map(([name, type]) => ({ name, type, nullable: name !== "at" }));

const ALL = {
  n: count(),
  ...Object.fromEntries(COLUMNS.map(({ name }) => [`count_${name}`, count(name)])),
  ...Object.fromEntries(COLUMNS.map(({ name }) => [`distinct_${name}`, distinct(name)])),
  ...Object.fromEntries(
    COLUMNS.flatMap(({ name }) => [`min_${name}`, `max_${name}`].map((n, i) => [n, i === 0 ? min(name) : max(name)])),
  ),
  ...Object.fromEntries(
    COLUMNS.flatMap(({ name }) =>
      [`first_${name}`, `last_${name}`].map((n, i) => [n, i === 0 ? first(name) : last(name)]),
    ),
  ),
  ...Object.fromEntries(
    ["i", "d", "m"].flatMap((name) => [
      [`sum_${name}`, sum(name)],
      [`mean_${name}`, mean(name)],
      [`stddev_${name}`, stddev(name)],
      [`median_${name}`, quantile(name, 0.5)],
      [`p95_${name}`, quantile(name, 0.95)],
    ]),
  ),
};

function plansOf(given: unknown): readonly AggregatePlan[] {
  const problems: Problem[] = [];
  const plans = readAggregates(given, COLUMNS, [], "test", problems);
  assert.deepEqual(problems, []);
  return plans;
}

type Event = Record<string, unknown>;

const nullable = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: null, freq: 4 });
const moment = fc
  .record({ second: fc.integer({ min: -100, max: 100 }), micros: fc.constantFrom(0, 1, 500_000, 123_456) })
  .map(({ second, micros }) => timeText((1_790_000_000 + second) * 1_000_000 + micros));
const event: fc.Arbitrary<Event> = fc.record({
  at: moment,
  i: nullable(fc.integer({ min: -1_000_000, max: 1_000_000 })),
  d: nullable(fc.oneof(fc.integer({ min: -5, max: 5 }), fc.double({ min: -1e6, max: 1e6, noNaN: true }))).map((d) =>
    d === null ? null : d + 0,
  ),
  m: nullable(
    fc.oneof(fc.constantFrom("0.10", "-12.5", "123456789012345678.99", "7"), fc.constantFrom(0.1, -2.25, 12345)),
  ),
  s: nullable(fc.constantFrom("", "a", "ab", "é", "\u{1f600}", "\uffee", "Z")),
  b: nullable(fc.boolean()),
  t: nullable(
    fc.constantFrom(
      "2026-03-29T00:59:59Z",
      "2026-03-29T03:00:00+02:00",
      "9999-12-31T23:59:59.999999Z",
      "2026-03-29T00:59:59.1Z",
    ),
  ),
  day: nullable(fc.constantFrom("2026-01-01", "0001-01-01", "2026-10-25")),
});

describe("aggregates", () => {
  let instance: DuckDBInstance;
  let sql: DuckDBConnection;

  before(async () => {
    instance = await DuckDBInstance.create(":memory:");
    sql = await instance.connect();
    await sql.run("set timezone = 'UTC'");
  });

  after(() => {
    sql.closeSync();
    instance.closeSync();
  });

  /** The same aggregates by SQL over the same events. */
  async function bySql(plans: readonly AggregatePlan[], events: readonly Event[]): Promise<Event> {
    const given = COLUMNS.map(({ name, type }) => `cast(e->>'${name}' as ${duckdbType(type)}) as "${name}"`).join(", ");
    const asked = plans.map((plan) => `${aggregateSql(plan, '("at", _offset)')} as "${plan.column.name}"`).join(", ");
    const rows = `select unnest(cast(? as json[])) as e, unnest(range(${events.length})) as _offset`;
    const found = await sql.runAndReadAll(`select ${asked} from (select ${given}, _offset from (${rows}))`, [
      JSON.stringify(events),
    ]);
    return found.getRowObjectsJson()[0] as Event;
  }

  function same(plans: readonly AggregatePlan[], got: Event, wanted: Event): void {
    for (const { column } of plans) {
      const [a, b] = [got[column.name], wanted[column.name]];
      const message = `${column.name}: got ${String(a)}, SQL gives ${String(b)}`;
      if (a === null || b === null || a === undefined || b === undefined) assert.equal(a, b, message);
      else if (column.type.kind === "double" || column.type.kind === "long")
        assert.ok(Math.abs(Number(a) - Number(b)) <= Math.max(1e-6, 1e-9 * Math.abs(Number(b))), message);
      else if (column.type.kind === "timestamp")
        assert.equal(
          comparableTime(String(a)),
          comparableTime(String(b).replace(" ", "T").replace(/\+00$/, "Z")),
          message,
        );
      else if (column.type.kind === "decimal") assert.equal(Number(a), Number(b), message);
      else assert.equal(a, b, message);
    }
  }

  function taken(set: Aggregates, events: readonly Event[], from: number, to: number): Slots {
    let state = set.empty();
    for (let i = from; i < to; i++) state = set.added(state, events[i]!, microseconds(events[i]!["at"])!, i);
    return state;
  }

  it("give what SQL gives over the same events, nulls and nothing included", async () => {
    const plans = plansOf(ALL);
    const set = new Aggregates(plans);
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 40 }), async (events) => {
        same(plans, set.results(taken(set, events, 0, events.length), 0, 0, {}), await bySql(plans, events));
      }),
      { numRuns: 60 },
    );
  });

  it("give the same in parts that are merged, and through their codec at every event", () => {
    const plans = plansOf(ALL);
    const set = new Aggregates(plans);
    fc.assert(
      fc.property(fc.array(event, { maxLength: 30 }), fc.nat(), fc.nat(), (events, x, y) => {
        const cuts = [0, x % (events.length + 1), y % (events.length + 1), events.length].sort((a, b) => a - b);
        const parts = cuts.slice(1).map((to, i) => taken(set, events, cuts[i]!, to));
        const whole = set.results(taken(set, events, 0, events.length), 0, 0, {});
        same(
          plans,
          set.results(
            parts.reduce((a, b) => set.merged(a, b)),
            0,
            0,
            {},
          ),
          whole,
        );
        same(plans, set.results(set.merged(parts[2]!, set.merged(parts[1]!, parts[0]!)), 0, 0, {}), whole);
        let state = set.empty();
        events.forEach((one, i) => {
          const read = set.decode(set.encode(state));
          assert.deepEqual(read, state);
          state = set.added(read, one, microseconds(one["at"])!, i);
        });
        assert.deepEqual(set.results(state, 0, 0, {}), whole);
      }),
      { numRuns: 100 },
    );
  });

  it("never change a state they were given", () => {
    const set = new Aggregates(plansOf(ALL));
    fc.assert(
      fc.property(fc.array(event, { minLength: 2, maxLength: 20 }), (events) => {
        const before = taken(set, events, 0, events.length - 1);
        const copy = set.decode(set.encode(before));
        set.added(before, events.at(-1)!, 0, events.length);
        set.merged(before, before);
        assert.deepEqual(before, copy);
      }),
      { numRuns: 50 },
    );
  });

  it("sum whole numbers exactly or not at all", () => {
    const set = new Aggregates(plansOf({ total: sum("i") }));
    let state = set.empty();
    for (const i of [Number.MAX_SAFE_INTEGER, 1, -5]) state = set.added(state, { i }, 0, 0);
    assert.deepEqual(set.results(state, 0, 0, {}), { total: Number.MAX_VALUE });
  });

  it("sum doubles so that what a larger one hides comes back", () => {
    const set = new Aggregates(plansOf({ total: sum("d"), mean: mean("d") }));
    let state = set.empty();
    for (const d of [1e16, 1, 1, -1e16]) state = set.added(state, { d }, 0, 0);
    assert.deepEqual(set.results(state, 0, 0, {}), { total: 2, mean: 0.5 });
  });

  it("of fields that are unknown or unfit are refused with what is allowed", () => {
    const refused = (given: unknown) => {
      const problems: Problem[] = [];
      readAggregates(given, COLUMNS, ["key"], 'window "w"', problems);
      return problems.map(({ code, message }) => `${code} ${message}`).join("\n");
    };
    assert.match(refused({ a: mean("dd") }), /^FIELD_UNKNOWN .*"dd"/);
    assert.match(refused({ a: sum("s") }), /^FIELD_UNFIT .*VARCHAR.*a number or a decimal/);
    assert.match(refused({ a: quantile("d", 95) }), /^OPTION_INVALID .*95.*0 to 1/);
    assert.match(refused({ a: { aggregate: "median", field: "d" } }), /^OPTION_INVALID .*quantile/);
    assert.match(refused({}), /^OPTION_INVALID .*count\(\)/);
    assert.match(refused({ key: count() }), /^FIELD_NAME_INVALID .*key/);
    assert.match(refused({ "a b": count() }), /^FIELD_NAME_INVALID/);
    assert.match(refused({ n: { ...count(), filter: "x" } }), /^OPTION_UNKNOWN/);
  });
});

describe("times of events", () => {
  it("are the microseconds that the text says", () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date("0001-01-02T00:00:00Z"), max: new Date("2254-12-31T00:00:00Z"), noInvalidDate: true }),
        fc.integer({ min: 0, max: 999 }),
        fc.constantFrom("Z", "+00:00", "+05:30", "-11:00"),
        (date, rest, zone) => {
          const text = `${date.toISOString().slice(0, 23)}${String(rest).padStart(3, "0")}`;
          const wanted = new Date(`${text.slice(0, 23)}${zone}`).getTime() * 1000 + rest;
          assert.equal(microseconds(text + zone), wanted);
          assert.equal(microseconds(timeText(wanted)), wanted);
          assert.equal(microseconds(comparableTime(text + zone)), wanted);
        },
      ),
    );
    assert.equal(microseconds("2026-03-29"), Date.parse("2026-03-29T00:00:00Z") * 1000);
    assert.equal(microseconds("2026-03-29T00:00:00.1234560000Z"), Date.parse("2026-03-29T00:00:00Z") * 1000 + 123_456);
  });

  it("are undefined where there is none", () => {
    for (const value of [undefined, null, 5, "", "yesterday, at ten", "2026-03-29T00:00:00", "2026-03-29Tab:00:00Z"])
      assert.equal(microseconds(value), undefined, String(value));
  });
});

describe("the sketch of quantiles", () => {
  const taken = (values: readonly number[]) => values.reduce(addQuantile, EMPTY_QUANTILES);
  const number = fc.oneof(
    fc.double({ min: -1e9, max: 1e9, noNaN: true }).map((x) => (Math.abs(x) < 1e-6 ? 0 : x)),
    fc.integer({ min: -100, max: 100 }),
  );
  const fraction = fc.constantFrom(0, 0.01, 0.25, 0.5, 0.75, 0.95, 0.99, 1);

  it("is within its error of the value of that rank, whatever the values", () => {
    fc.assert(
      fc.property(fc.array(number, { minLength: 1, maxLength: 1000, size: "max" }), fraction, (values, q) => {
        const exact = values.toSorted((a, b) => a - b)[Math.max(1, Math.ceil(q * values.length)) - 1]!;
        const got = quantileOf(taken(values), q)!;
        assert.ok(Math.abs(got - exact) <= RELATIVE_ERROR * 1.0001 * Math.abs(exact), `${got} for ${exact}`);
      }),
      { numRuns: 100 },
    );
  });

  it("is the same whatever the order and however it is merged", () => {
    fc.assert(
      fc.property(fc.array(number, { maxLength: 300, size: "max" }), fc.nat(), (values, cut) => {
        const at = cut % (values.length + 1);
        const merged = mergeQuantiles(taken(values.slice(at)), taken(values.slice(0, at)));
        assert.deepEqual(merged, taken(values));
        assert.deepEqual(taken(values.toReversed()), taken(values));
      }),
      { numRuns: 100 },
    );
  });

  it("stays bounded over all of the doubles, and right for the larger ones", () => {
    let sketch: QuantileSketch = EMPTY_QUANTILES;
    for (let power = -300; power <= 300; power += 0.05) sketch = addQuantile(sketch, 10 ** power);
    assert.ok(sketch.bins.length <= 2 * 2049, String(sketch.bins.length));
    const exact = 10 ** (-300 + 0.05 * (Math.ceil(0.999 * sketch.count) - 1));
    assert.ok(Math.abs(quantileOf(sketch, 0.999)! / exact - 1) <= 0.011);
    assert.ok(Number.isFinite(quantileOf(addQuantile(sketch, Number.MAX_VALUE), 1)!));
    assert.ok(Number.isFinite(quantileOf(addQuantile(sketch, -Number.MIN_VALUE), 0)!));
  });
});

describe("the sketch of different values", () => {
  const taken = (from: number, to: number) => {
    let sketch: DistinctSketch = NO_VALUES;
    for (let i = from; i < to; i++) sketch = addDistinct(sketch, `vehicle-${i}`);
    return sketch;
  };

  it("is exact up to 256 values", () => {
    for (const n of [0, 1, 2, 100, 256]) assert.equal(distinctOf(taken(0, n)), n);
  });

  it("errs by 1.6 % on average beyond them, and never by 7 % over twenty sets of each size", () => {
    for (const n of [257, 1000, 20_000, 100_000]) {
      const errors = Array.from({ length: 20 }, (_, i) => distinctOf(taken(i * n, (i + 1) * n)) / n - 1);
      const standard = Math.sqrt(errors.reduce((sum, error) => sum + error ** 2, 0) / errors.length);
      assert.ok(standard < 0.024, `${n}: standard error ${standard}`);
      assert.ok(Math.max(...errors.map(Math.abs)) < 0.07, `${n}: ${errors.join(", ")}`);
    }
  });
});
