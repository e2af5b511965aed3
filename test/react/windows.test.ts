import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import fc from "fast-check";
import { aggregateSql } from "../../src/define/read-aggregates.ts";
import {
  count,
  distinct,
  first,
  hopping,
  last,
  max,
  mean,
  min,
  quantile,
  session,
  sliding,
  stddev,
  stream,
  sum,
  tumbling,
  type WindowDefinition,
  type WindowSize,
  window,
  z,
} from "../../src/index.ts";
import { microseconds, timeText } from "../../src/react/windows/event-time.ts";
import { MOST_EXACT_VALUES, RELATIVE_ERROR } from "../../src/react/windows/quantile-sketch.ts";
import { type Row, WindowLane } from "./windows-lane.ts";

const telemetry = stream("telemetry", {
  schema: z.object({
    vehicle_id: z.string(),
    at: z.iso.datetime().optional(),
    speed: z.number().nullish(),
    load: z.int().nullish(),
    driver: z.string().nullish(),
    moving: z.boolean().optional(),
  }),
  key: "vehicle_id",
  time: "at",
});

const AGGREGATES = {
  n: count(),
  speeds: count("speed"),
  load: sum("load"),
  distance: sum("speed"),
  speed: mean("speed"),
  spread: stddev("speed"),
  slowest: min("speed"),
  fastest: max("speed"),
  drivers: distinct("driver"),
  p90: quantile("speed", 0.9),
  driver: first("driver"),
  last_driver: last("driver"),
  last_load: last("load"),
};

const S = 1_000_000;
const START = Date.parse("2026-03-29T00:30:00Z") / 1000;

interface Arrival {
  readonly value: Row;
  /** Seconds since START. */
  readonly at: number;
  readonly receivedAtMs: number;
}

/** A history: events in a rough order of time, some far behind, arriving as time passes. */
const history: fc.Arbitrary<Arrival[]> = fc
  .array(
    fc.record({
      vehicle_id: fc.constantFrom("a", "a", "a", "b", "c"),
      step: fc.constantFrom(0, 0, 1, 2, 5, 20),
      back: fc.constantFrom(0, 0, 0, 0, 1, 3, 7, 15, 40),
      micros: fc.constantFrom(0, 0, 1, 500_000, 999_999),
      speed: fc.option(
        fc.integer({ min: -40, max: 400 }).map((x) => x / 4),
        { freq: 5 },
      ),
      load: fc.option(fc.integer({ min: -10, max: 10 }), { freq: 5 }),
      driver: fc.option(fc.constantFrom("x", "y", "z"), { freq: 5 }),
      moving: fc.boolean(),
    }),
    { maxLength: 60, size: "max" },
  )
  .map((steps) => {
    let now = 100;
    return steps.map(({ step, back, micros, ...value }) => {
      now += step;
      const at = now - back;
      return {
        value: { ...value, at: timeText((START + at) * S + micros) },
        at: at + micros / S,
        receivedAtMs: (START + now) * 1000 + 2000,
      };
    });
  });

interface Counted {
  readonly value: Row;
  readonly offset: number;
  /** When it came. A window that was final by then is without it, though others that it is in have it. */
  readonly watermark: number;
}

const size: fc.Arbitrary<WindowSize> = fc.constantFrom(
  tumbling("10s"),
  tumbling("1500ms"),
  hopping("30s", { every: "10s" }),
  hopping("6s", { every: "2s" }),
  session("5s"),
  session("12s"),
  sliding("15s"),
  sliding("4s"),
);

function defined(of: WindowSize, lateness: string, options: object = {}): WindowDefinition {
  return window("w", {
    ...{ on: telemetry, key: "vehicle_id", size: of, lateness, aggregate: AGGREGATES },
    ...options,
  }) as WindowDefinition;
}

function run(lane: WindowLane, events: readonly Arrival[], each: (i: number) => void = () => {}): void {
  events.forEach(({ value, receivedAtMs }, i) => {
    lane.apply(value, receivedAtMs);
    each(i);
  });
}

/** Brings the watermark beyond everything; a vehicle of its own, whose windows stay open. */
function ended(lane: WindowLane): void {
  lane.apply({ vehicle_id: "end", at: timeText((START + 100_000) * S) }, (START + 100_000) * 1000);
}

/**
 * Which events count, from the words of the documentation alone: nothing is kept but the events that did, and each asks whether a window of its own is still open.
 */
function counted(
  events: readonly Arrival[],
  of: WindowSize,
  lateness: number,
): { counts: boolean; watermark: number }[] {
  const taken: { key: unknown; time: number }[] = [];
  let watermark = Number.NEGATIVE_INFINITY;
  return events.map(({ value, receivedAtMs }) => {
    const time = microseconds(value["at"])!;
    const key = value["vehicle_id"];
    const open = (() => {
      if (of.kind === "sliding") return time >= watermark;
      if (of.kind === "session") {
        const gap = seconds(of.gap) * S;
        const own = taken.filter((one) => one.key === key).map((one) => one.time);
        // The sessions of what counted before, and what they would be with the event.
        const before = sessions(own, gap).filter(([from, to]) => from - gap <= time && time <= to + gap);
        return time + gap >= watermark && before.every(([, to]) => to + gap >= watermark);
      }
      const [length, every] = of.kind === "hopping" ? [of.size, of.every] : [of.size, of.size];
      return Math.floor(time / (seconds(every) * S)) * seconds(every) * S + seconds(length) * S > watermark;
    })();
    if (open) taken.push({ key, time });
    const before = watermark;
    watermark = Math.max(watermark, Math.min(time, receivedAtMs * 1000) - lateness * S);
    return { counts: open, watermark: before };
  });
}

function sessions(times: readonly number[], gap: number): [number, number][] {
  const found: [number, number][] = [];
  for (const time of times.toSorted((a, b) => a - b)) {
    const newest = found.at(-1);
    if (newest !== undefined && time - newest[1] <= gap) newest[1] = time;
    else found.push([time, time]);
  }
  return found;
}

function seconds(text: string): number {
  return text.endsWith("ms") ? Number(text.slice(0, -2)) / 1000 : Number(text.slice(0, -1));
}

describe("windows", () => {
  let instance: DuckDBInstance;
  let sql: DuckDBConnection;

  before(async () => {
    instance = await DuckDBInstance.create(":memory:");
    sql = await instance.connect();
    await sql.run("set timezone = 'UTC'");
    await sql.run("set threads = 1");
  });

  after(() => {
    sql.closeSync();
    instance.closeSync();
  });

  /** All windows of all events, by SQL. */
  async function bySql(lane: WindowLane, events: readonly Counted[], of: WindowSize): Promise<Row[]> {
    const plans = lane.bound.window.plan.aggregates;
    const results = plans.map((plan) => `${aggregateSql(plan, '("at", _offset)')} as "${plan.column.name}"`).join(", ");
    const rows = `select e->>'vehicle_id' as vehicle_id, cast(e->>'at' as timestamptz) as at, cast(e->>'speed' as double) as speed,
      cast(e->>'load' as bigint) as load, e->>'driver' as driver, cast(e->>'o' as bigint) as _offset, cast(e->>'watermark' as bigint) as watermark, epoch_us(cast(e->>'at' as timestamptz)) as t
      from (select unnest(cast(? as json[])) as e)`;
    const parameter = [
      JSON.stringify(
        events.map(({ value, offset, watermark }) => ({ ...value, o: offset, watermark: Math.max(watermark, -1) })),
      ),
    ];
    const windows = () => {
      if (of.kind === "session") {
        const gap = seconds(of.gap) * S;
        return `select *, min(t) over (partition by vehicle_id, session) as w_start, max(t) over (partition by vehicle_id, session) + ${gap} as w_end from (
          select *, sum(begins) over (partition by vehicle_id order by t, _offset) as session from (
            select *, case when t - lag(t) over (partition by vehicle_id order by t, _offset) <= ${gap} then 0 else 1 end as begins from e))`;
      }
      if (of.kind === "sliding") {
        const length = seconds(of.size) * S;
        return `select e.*, w.t - ${length} as w_start, w.t as w_end from (select distinct vehicle_id, t from e) as w
          join e on e.vehicle_id = w.vehicle_id and e.t between w.t - ${length} and w.t`;
      }
      const length = seconds(of.size) * S;
      const every = of.kind === "hopping" ? seconds(of.every) * S : length;
      return `select * from (select *, (t // ${every} - i) * ${every} as w_start, w_start + ${length} as w_end
        from e, range(${length / every}) as r(i)) where t < w_end and watermark < w_end`;
    };
    const found = await sql.runAndReadAll(
      `with e as (${rows}) select vehicle_id, w_start, w_end, ${results} from (${windows()}) group by all order by all`,
      parameter,
    );
    return found.getRowObjectsJson() as Row[];
  }

  function assertSame(lane: WindowLane, wanted: readonly Row[]): void {
    const finals = lane.given.filter(({ row }) => row["final"] === true).map(({ row }) => row);
    const name = ({ vehicle_id, window_start }: Row) => `${String(vehicle_id)} ${microseconds(window_start)}`;
    const got = new Map(finals.map((row) => [name(row), row]));
    assert.equal(got.size, finals.length, "a window has one final result");
    const expected = new Map(wanted.map((row) => [`${String(row["vehicle_id"])} ${String(row["w_start"])}`, row]));
    assert.deepEqual([...got.keys()].sort(), [...expected.keys()].sort());
    for (const [key, row] of got) {
      const other = expected.get(key)!;
      assert.equal(microseconds(row["window_end"]), Number(other["w_end"]), key);
      assert.equal(row["revision"], Number(other["n"]) + 1);
      for (const { column } of lane.bound.window.plan.aggregates) {
        const [a, b] = [row[column.name], other[column.name]];
        const number = column.type.kind === "double" || column.type.kind === "long";
        if (number && a !== null && b !== null) {
          const sketched = column.name === "p90" && Number(other["speeds"]) > MOST_EXACT_VALUES;
          const error = sketched
            ? 1.001 * RELATIVE_ERROR * Math.abs(Number(b))
            : 1e-9 * Math.max(1000, Math.abs(Number(b)));
          assert.ok(Math.abs(Number(a) - Number(b)) <= error, `${key} ${column.name}: ${String(a)}, SQL ${String(b)}`);
        } else assert.equal(a, b, `${key} ${column.name}`);
      }
    }
  }

  it("of every kind give what SQL gives over all events that count, and which ones do is as documented", async () => {
    await fc.assert(
      fc.asyncProperty(history, size, fc.constantFrom(0, 2, 10, 60), async (events, of, lateness) => {
        const lane = new WindowLane(defined(of, `${lateness}s`), telemetry);
        run(lane, events);
        const counts = counted(events, of, lateness);
        const late = lane.refused.map(({ offset }) => offset);
        assert.deepEqual(
          late,
          counts.flatMap(({ counts: is }, offset) => (is ? [] : [offset])),
        );
        assert.ok(lane.refused.every(({ code }) => code === "EVENT_LATE"));
        ended(lane);
        const taken = events.flatMap(({ value }, offset) => {
          const { counts: is, watermark } = counts[offset]!;
          return is ? [{ value, offset, watermark }] : [];
        });
        assertSame(lane, await bySql(lane, taken, of));
      }),
      { numRuns: 250 },
    );
  });

  it("that slide over hundreds of events of a key give what SQL gives, with room for all of them or not", async () => {
    const dense = fc.array(
      fc.record({
        step: fc.constantFrom(0, 0, 0, 1, 2),
        back: fc.constantFrom(0, 0, 0, 1, 2, 5, 9),
        speed: fc.option(fc.integer({ min: -40, max: 400 }), { freq: 5 }),
        load: fc.option(fc.integer({ min: -10, max: 10 }), { freq: 5 }),
        driver: fc.option(fc.constantFrom("x", "y", "z"), { freq: 5 }),
      }),
      { minLength: 300, maxLength: 500, size: "max" },
    );
    await fc.assert(
      fc.asyncProperty(dense, fc.constantFrom(100, 10_000), fc.boolean(), async (steps, most, restarts) => {
        const of = sliding("150s", { most });
        const lane = new WindowLane(defined(of, "8s"), telemetry);
        let now = 100;
        const events = steps.map(({ step, back, ...value }, offset) => {
          now += step;
          const at = timeText((START + now - back) * S);
          lane.apply({ ...value, vehicle_id: "a", at }, (START + now) * 1000);
          if (restarts && offset % 11 === 0) lane.restart();
          return { value: { ...value, vehicle_id: "a", at }, offset, watermark: 0 };
        });
        ended(lane);
        const refused = new Map(lane.refused.map(({ offset, code }) => [offset, code]));
        const full = [...refused].filter(([, code]) => code === "WINDOW_FULL").map(([offset]) => offset);
        if (most === 10_000) assert.deepEqual(full, []);
        const taken = events.filter(({ offset }) => !refused.has(offset));
        for (const offset of full) {
          const since = microseconds(events[offset]!.value.at)! - (150 + 8 + 9) * S;
          const held = taken.filter((one) => one.offset < offset && microseconds(one.value.at)! >= since);
          assert.ok(held.length >= most, `refused with ${held.length} events`);
        }
        assertSame(lane, await bySql(lane, taken, of));
      }),
      // Shrinking such a history takes minutes.
      { numRuns: 8, endOnFailure: true },
    );
  });

  it("of every kind change nothing when they go on from a checkpoint after any event", () => {
    fc.assert(
      fc.property(history, size, fc.constantFrom(0, 5), fc.boolean(), (events, of, lateness, early) => {
        const options = early && of.kind !== "sliding" ? { early: "1s" } : {};
        const [lane, other] = [0, 1].map(() => new WindowLane(defined(of, `${lateness}s`, options), telemetry));
        run(lane!, events);
        run(other!, events, () => other!.restart());
        for (const one of [lane!, other!]) ended(one);
        assert.deepEqual(other!.given, lane!.given);
        assert.deepEqual(other!.refused, lane!.refused);
      }),
      { numRuns: 150 },
    );
  });

  it("of every kind hold the same when an event closes only a few of those that are due", () => {
    fc.assert(
      fc.property(history, size, fc.constantFrom(0, 5), fc.constantFrom(2, 5), (events, of, lateness, most) => {
        const [lane, slow] = [0, 1].map(() => new WindowLane(defined(of, `${lateness}s`), telemetry));
        slow!.mostClosed = most;
        slow!.restart();
        for (const one of [lane!, slow!]) {
          run(one, events);
          ended(one);
          // Each closes a few more.
          for (let i = 0; i < 80; i++) ended(one);
        }
        const rows = ({ given }: WindowLane) => given.map(({ row }) => JSON.stringify(row)).sort();
        assert.deepEqual(rows(slow!), rows(lane!));
        assert.deepEqual(slow!.refused, lane!.refused);
      }),
      { numRuns: 60 },
    );
  });

  it("of every kind lose nothing to an event that is broken off while they close", () => {
    fc.assert(
      fc.property(history, size, fc.nat({ max: 59 }), (events, of, broken) => {
        const [lane, other] = [0, 1].map(() => new WindowLane(defined(of, "0s"), telemetry));
        run(lane!, events);
        events.forEach(({ value, receivedAtMs }, i) => {
          if (i === broken) other!.failing = new Error("no disk, no stream");
          try {
            other!.apply(value, receivedAtMs);
          } catch {
            other!.failing = undefined;
            other!.apply(value, receivedAtMs);
          }
          other!.failing = undefined;
        });
        for (const one of [lane!, other!]) ended(one);
        const rows = ({ given }: WindowLane) => given.map(({ row }) => JSON.stringify(row));
        assert.deepEqual(rows(other!), rows(lane!));
      }),
      { numRuns: 100 },
    );
  });
});
