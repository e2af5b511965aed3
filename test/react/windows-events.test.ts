import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  count,
  hopping,
  last,
  quantile,
  session,
  sliding,
  stream,
  sum,
  tumbling,
  type WindowOptions,
  type WindowSize,
  window,
  z,
} from "../../src/index.ts";
import { microseconds } from "../../src/react/windows/event-time.ts";
import { type Given, type Row, WindowLane } from "./windows-lane.ts";

const telemetry = stream("telemetry", {
  schema: z.object({
    vehicle_id: z.string().nullish(),
    sensor: z.int().optional(),
    at: z.iso.datetime({ offset: true }).nullish(),
    speed: z.number().optional(),
  }),
  key: "vehicle_id",
  time: "at",
});
const late = stream("late_telemetry", {
  schema: z.object({ ...telemetry.options.schema.shape, late_reason: z.string() }),
});

type Options = Partial<Omit<WindowOptions, "on">>;

function lane(size: WindowSize, options: Options = {}): WindowLane {
  const definition = window("w", {
    ...{ on: "telemetry", key: "vehicle_id", size, aggregate: { n: count(), speed: sum("speed") }, lateness: "0s" },
    ...options,
  });
  return new WindowLane(definition, telemetry, options.late);
}

/** `HH:MM:SS` of a quiet Sunday. */
const at = (time: string) => `2026-11-15T${time}Z`;
const ms = (time: string) => Date.parse(at(time));

/** What was given since the last call: key, beginning, end, what was counted, and what it is. */
function shown(made: WindowLane): string[] {
  const row = ({ vehicle_id, window_start, window_end, n, revision, final, retracted }: Row) => {
    const span = `${String(window_start).slice(11, -1)}-${String(window_end).slice(11, -1)}`;
    const what = retracted === true ? "retracted" : final === true ? "final" : "early";
    return `${String(vehicle_id)} ${span} n=${String(n)} ${what} r${String(revision)}`;
  };
  return made.given.splice(0).map((given) => row(given.row));
}

describe("the watermark of windows", () => {
  it("gives the final result when an event passes the end by the lateness, and not before", () => {
    const made = lane(tumbling("5m"), { lateness: "1m" });
    const send = (vehicle_id: string, time: string) => made.apply({ vehicle_id, at: at(time) }, ms(time));
    send("a", "10:00:00");
    send("b", "10:05:59.999999");
    send("a", "10:04:59.999999");
    assert.deepEqual(shown(made), []);
    send("b", "10:06:00");
    assert.deepEqual(shown(made), ["a 10:00:00-10:05:00 n=2 final r3"]);
    send("a", "10:04:59.999999");
    assert.deepEqual(
      made.refused.map(({ code, message }) => `${code}: ${message}`),
      [
        'EVENT_LATE: the window "w" is final for the event of 2026-11-15T10:04:59.999999Z: the watermark is 2026-11-15T10:05:00Z',
      ],
    );
  });

  it("is not moved by a device ten years off, whose events are given up", () => {
    const made = lane(tumbling("5m"));
    made.apply({ vehicle_id: "a", at: at("10:00:00") }, ms("10:00:00"));
    made.apply({ vehicle_id: "b", at: "2036-11-15T10:00:00Z" }, ms("10:00:01"));
    made.apply({ vehicle_id: "a", at: at("10:00:02") }, ms("10:00:02"));
    assert.deepEqual(shown(made), []);
    assert.deepEqual(
      made.refused.map(({ code, message }) => `${code}: ${message}`),
      [
        'EVENT_AHEAD: the window "w" does not take the event of 2036-11-15T10:00:00Z, which arrived at 2026-11-15T10:00:01Z: its time is more than 3600 s ahead (`ahead`)',
      ],
    );
    made.apply({ vehicle_id: "b", at: "2016-11-15T10:00:00Z" }, ms("10:00:03"));
    assert.equal(made.refused[1]?.code, "EVENT_LATE");
  });

  it("never passes an event's arrival, so a clock half an hour fast makes nobody else late", () => {
    const made = lane(tumbling("5m"));
    made.apply({ vehicle_id: "fast", at: at("10:31:00") }, ms("10:01:00"));
    made.apply({ vehicle_id: "a", at: at("10:01:00") }, ms("10:01:00"));
    made.apply({ vehicle_id: "a", at: at("10:05:01") }, ms("10:05:01"));
    assert.deepEqual(shown(made), ["a 10:00:00-10:05:00 n=1 final r2"]);
    made.apply({ vehicle_id: "a", at: at("10:35:00") }, ms("10:35:00"));
    assert.deepEqual(shown(made), ["a 10:05:00-10:10:00 n=1 final r2", "fast 10:30:00-10:35:00 n=1 final r2"]);
    assert.deepEqual(made.refused, []);
  });

  it("is moved by events that `where` leaves out or that have no key, which are neither counted nor late", () => {
    const made = lane(tumbling("5m"), { where: (event) => (event as Row)["speed"] !== 0 });
    made.apply({ vehicle_id: "a", at: at("10:00:00"), speed: 5 }, ms("10:00:00"));
    made.apply({ vehicle_id: "a", at: at("10:00:01"), speed: 0 }, ms("10:00:01"));
    made.apply({ vehicle_id: null, at: at("10:05:00"), speed: 7 }, ms("10:05:00"));
    assert.deepEqual(shown(made), ["a 10:00:00-10:05:00 n=1 final r2"]);
    made.apply({ vehicle_id: "a", at: at("10:10:00"), speed: 0 }, ms("10:10:00"));
    made.apply({ vehicle_id: "a", at: at("09:00:00"), speed: 0 }, ms("10:10:00"));
    made.apply({ at: at("09:00:00") }, ms("10:10:00"));
    made.apply({ vehicle_id: null }, ms("10:10:00"));
    assert.deepEqual([shown(made), made.refused], [[], []]);
  });

  it("stands still where nothing arrives: nothing becomes final, and previews show what there is", () => {
    const made = lane(tumbling("5m"), { early: "10s" });
    made.apply({ vehicle_id: "a", at: at("10:00:00") }, ms("10:00:00"));
    for (let time = 0; time < 3600_000; time += 500) made.tick(ms("10:00:00") + time);
    assert.deepEqual(shown(made), ["a 10:00:00-10:05:00 n=1 early r1"]);
  });
});

describe("windows", () => {
  it("fail on an event whose `where` gives no boolean, and are then as before it", () => {
    for (const nonsense of [undefined, 1, "yes", Promise.resolve(true)]) {
      let given: unknown = true;
      const made = lane(tumbling("5m"), { where: () => given as boolean });
      made.apply({ vehicle_id: "a", at: at("10:00:00") }, ms("10:00:00"));
      given = nonsense;
      assert.throws(
        () => made.apply({ vehicle_id: "a", at: at("10:06:00") }, ms("10:06:00")),
        /`where` of window "w" gave/,
      );
      given = true;
      made.apply({ vehicle_id: "a", at: at("10:01:00") }, ms("10:06:00"));
      assert.deepEqual([shown(made), made.refused], [[], []]);
    }
  });

  it("are of UTC, through the hours that local clocks skip and repeat", () => {
    const made = lane(tumbling("1d"));
    const send = (time: string) => made.apply({ vehicle_id: "a", at: time }, Date.parse(time));
    send("2026-03-29T01:59:59+01:00");
    send("2026-03-29T03:00:00+02:00");
    send("2026-03-29T23:59:59Z");
    send("2026-10-25T02:30:00+02:00");
    send("2026-10-25T02:30:00+01:00");
    send("2026-10-26T00:00:00Z");
    const days = made.given.map(({ row }) => [row["window_start"], row["window_end"], row["n"]]);
    assert.deepEqual(days, [
      ["2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z", 3],
      ["2026-10-25T00:00:00Z", "2026-10-26T00:00:00Z", 2],
    ]);
  });

  it("may have several fields as their key, or none", () => {
    const both = lane(tumbling("1m"), { key: ["vehicle_id", "sensor"] as never });
    const all = lane(tumbling("1m"), { key: [] as never });
    for (const made of [both, all]) {
      made.apply({ vehicle_id: "a", sensor: 1, at: at("10:00:00") }, ms("10:00:00"));
      made.apply({ vehicle_id: "a", sensor: 2, at: at("10:00:01") }, ms("10:00:01"));
      made.apply({ vehicle_id: "b", at: at("10:00:02") }, ms("10:00:02"));
      made.apply({ vehicle_id: "b", sensor: 0, at: at("10:01:00") }, ms("10:01:00"));
    }
    const rows = (made: WindowLane) => made.given.map(({ row }) => [row["vehicle_id"], row["sensor"], row["n"]]);
    assert.deepEqual(rows(both), [
      ["a", 1, 1],
      ["a", 2, 1],
    ]);
    assert.deepEqual(rows(all), [[undefined, undefined, 3]]);
    assert.deepEqual(both.bound.stream.id, ["vehicle_id", "sensor", "window_start", "revision", "final"]);
    assert.equal(all.bound.stream.key, undefined);
  });

  it("give what no window takes to a stream of its own, as it was and with the reason", () => {
    const made = lane(tumbling("1m"), { late });
    made.apply({ vehicle_id: "a", at: at("10:05:00") }, ms("10:05:00"));
    made.apply({ vehicle_id: "a", at: at("10:03:59"), speed: 5 }, ms("10:05:00"));
    made.apply({ vehicle_id: "a", at: at("12:00:00") }, ms("10:05:00"));
    made.apply({ vehicle_id: "a", at: null }, ms("10:05:00"));
    made.apply({ vehicle_id: "b", speed: 1 }, ms("10:05:00"));
    assert.deepEqual(
      made.given.map(({ stream: name, row }) => [name, row]),
      [
        ["late_telemetry", { vehicle_id: "a", at: at("10:03:59"), speed: 5, late_reason: "EVENT_LATE" }],
        ["late_telemetry", { vehicle_id: "a", at: at("12:00:00"), late_reason: "EVENT_AHEAD" }],
        ["late_telemetry", { vehicle_id: "a", at: null, late_reason: "EVENT_TIMELESS" }],
        ["late_telemetry", { vehicle_id: "b", speed: 1, late_reason: "EVENT_TIMELESS" }],
      ],
    );
    assert.deepEqual(made.refused, []);
    const dead = lane(tumbling("1m"));
    dead.apply({ vehicle_id: "b" }, ms("10:05:00"));
    assert.equal(dead.refused[0]?.code, "EVENT_TIMELESS");
  });

  it("that slide hold at most so many events of a key, and refuse more until older ones are gone", () => {
    const made = lane(sliding("10s", { most: 3 }));
    for (const second of ["00", "01", "02", "03"])
      made.apply({ vehicle_id: "a", at: at(`10:00:${second}`) }, ms(`10:00:${second}`));
    made.apply({ vehicle_id: "b", at: at("10:00:04") }, ms("10:00:04"));
    assert.deepEqual(
      made.refused.map(({ offset, code }) => [offset, code]),
      [[3, "WINDOW_FULL"]],
    );
    assert.match(made.refused[0]!.message, /"a"/);
    made.apply({ vehicle_id: "b", at: at("10:00:20") }, ms("10:00:20"));
    made.apply({ vehicle_id: "a", at: at("10:00:20") }, ms("10:00:20"));
    made.apply({ vehicle_id: "b", at: at("10:00:21") }, ms("10:00:21"));
    assert.equal(made.refused.length, 1);
    assert.deepEqual(shown(made), [
      "a 09:59:50-10:00:00 n=1 final r2",
      "a 09:59:51-10:00:01 n=2 final r3",
      "a 09:59:52-10:00:02 n=3 final r4",
      "b 09:59:54-10:00:04 n=1 final r2",
      "b 10:00:10-10:00:20 n=1 final r2",
      "a 10:00:10-10:00:20 n=1 final r2",
    ]);
  });

  it("that are sessions become one when an event comes between them, and take back what was shown", () => {
    const made = lane(session("10m"), { lateness: "1h", early: "1s" });
    const send = (time: string) => made.apply({ vehicle_id: "a", at: at(time) }, ms("10:40:00"));
    send("10:00:00");
    send("10:15:00");
    made.tick(1000);
    made.tick(2000);
    assert.deepEqual(shown(made), ["a 10:00:00-10:10:00 n=1 early r1", "a 10:15:00-10:25:00 n=1 early r1"]);
    send("10:08:00");
    assert.deepEqual(shown(made), ["a 10:15:00-10:25:00 n=1 retracted r2"]);
    send("09:55:00");
    assert.deepEqual(shown(made), ["a 10:00:00-10:25:00 n=3 retracted r4"]);
    made.tick(4000);
    assert.deepEqual(shown(made), ["a 09:55:00-10:25:00 n=4 early r4"]);
    made.apply({ vehicle_id: "b", at: at("11:25:00.000001") }, ms("11:30:00"));
    assert.deepEqual(shown(made), ["a 09:55:00-10:25:00 n=4 final r5"]);
  });

  it("over windows see final results only, and move by nothing else", () => {
    const first = window("w", {
      on: telemetry,
      key: "vehicle_id",
      size: tumbling("1m"),
      aggregate: { n: count() },
      early: "1s",
    });
    const second = window("hourly", {
      on: first,
      key: "vehicle_id",
      size: tumbling("1h"),
      aggregate: { n: sum("n") },
      lateness: "0s",
    });
    const results = stream("w", {
      schema: z.object({
        ...{ vehicle_id: z.string(), window_start: z.iso.datetime(), n: z.int(), final: z.boolean() },
      }),
      key: "vehicle_id",
      time: "window_start",
    });
    const made = new WindowLane(second, results, undefined, true);
    const send = (n: number, time: string, final: boolean) =>
      made.apply({ vehicle_id: "a", window_start: at(time), n, final }, ms("13:00:00"));
    send(5, "10:00:00", false);
    send(7, "10:00:00", true);
    send(1, "11:30:00", false);
    send(2, "10:01:00", true);
    assert.deepEqual(shown(made), []);
    send(2, "11:00:00", true);
    assert.deepEqual(shown(made), ["a 10:00:00-11:00:00 n=9 final r3"]);
  });
});

describe("results shown early", () => {
  const step = fc.record({
    vehicle_id: fc.constantFrom("a", "b", "c"),
    step: fc.integer({ min: 0, max: 8 }),
    back: fc.constantFrom(0, 0, 1, 4, 9, 20),
    tick: fc.boolean(),
  });
  const size = fc.constantFrom(tumbling("10s"), hopping("12s", { every: "4s" }), session("6s"));

  /** The newest result of each window, as its silver table keeps it. */
  function newest(given: readonly Given[]): Map<string, Row> {
    const kept = new Map<string, Row>();
    const ids = new Set<string>();
    for (const { row } of given) {
      const id = JSON.stringify([
        row["vehicle_id"],
        row["window_start"],
        row["revision"],
        row["final"],
        row["retracted"],
      ]);
      if (ids.has(id)) continue;
      ids.add(id);
      const name = `${String(row["vehicle_id"])} ${String(row["window_start"])}`;
      const before = kept.get(name);
      if (before === undefined || Number(row["revision"]) >= Number(before["revision"])) kept.set(name, row);
    }
    for (const [name, row] of kept) if (row["retracted"] === true) kept.delete(name);
    return kept;
  }

  it("leave the final ones as the newest of each window, and the same ones as without them", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 50, size: "max" }), size, (steps, of) => {
        const [quiet, early] = [lane(of, { lateness: "10s" }), lane(of, { lateness: "10s", early: "100ms" })];
        assert.deepEqual([quiet.ticks, early.ticks], [false, true]);
        let now = ms("10:00:00");
        let clock = 0;
        for (const { vehicle_id, step: seconds, back, tick } of steps) {
          now += seconds * 1000;
          const value = { vehicle_id, at: new Date(now - back * 1000).toISOString() };
          for (const one of [quiet, early]) one.apply(value, now);
          clock += 100;
          if (tick) early.tick(clock);
        }
        for (const one of [quiet, early]) one.apply({ vehicle_id: "end", at: at("20:00:00") }, ms("20:00:00"));
        const finals = (given: readonly Given[]) =>
          given.filter(({ row }) => row["final"] === true).map(({ row: { retracted: _, ...row } }) => row);
        assert.deepEqual(finals(early.given), finals(quiet.given));
        const kept = [...newest(early.given).values()].filter((row) => row["vehicle_id"] !== "end");
        assert.ok(
          kept.every((row) => row["final"] === true),
          JSON.stringify(kept),
        );
        assert.equal(kept.length, finals(quiet.given).length);
      }),
      { numRuns: 200 },
    );
  });

  it("say by their revision what they hold, so one that comes twice is known as the same", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40, size: "max" }), size, (steps, of) => {
        const lanes = [lane(of, { lateness: "10s", early: "100ms" }), lane(of, { lateness: "10s", early: "100ms" })];
        const rows = new Map<string, string>();
        lanes.forEach((one, number) => {
          let now = ms("10:00:00");
          steps.forEach(({ vehicle_id, step: seconds, back, tick }, i) => {
            now += seconds * 1000;
            one.apply({ vehicle_id, at: new Date(now - back * 1000).toISOString() }, now);
            // The two are asked for previews at different moments.
            if (tick === (number === 0)) one.tick(i * 100);
            if (i % 7 === 3 && number === 1) one.restart();
          });
          for (const { row } of one.given) {
            const { vehicle_id, window_start, revision, final, retracted } = row;
            const id = JSON.stringify([vehicle_id, window_start, revision, final, retracted]);
            assert.equal(rows.get(id) ?? JSON.stringify(row), JSON.stringify(row));
            rows.set(id, JSON.stringify(row));
          }
        });
      }),
      { numRuns: 150 },
    );
  });

  it("come for windows that changed, at most as often as asked", () => {
    const made = lane(tumbling("1h"), { early: "10s" });
    made.apply({ vehicle_id: "a", at: at("10:00:00") }, ms("10:00:00"));
    made.tick(0);
    made.tick(9_999);
    assert.deepEqual(shown(made), []);
    made.apply({ vehicle_id: "b", at: at("10:00:01") }, ms("10:00:01"));
    made.tick(10_000);
    assert.deepEqual(shown(made), ["a 10:00:00-11:00:00 n=1 early r1", "b 10:00:00-11:00:00 n=1 early r1"]);
    made.apply({ vehicle_id: "b", at: at("10:00:02") }, ms("10:00:02"));
    made.tick(15_000);
    assert.deepEqual(shown(made), []);
    made.tick(20_000);
    assert.deepEqual(shown(made), ["b 10:00:00-11:00:00 n=2 early r2"]);
    made.tick(60_000);
    assert.deepEqual(shown(made), []);
  });
});

describe("the memory of windows", () => {
  const kinds: readonly [WindowSize, number][] = [
    [tumbling("10s"), 4],
    [hopping("30s", { every: "10s" }), 7],
    [session("5s"), 5],
    [sliding("20s"), 40],
  ];
  for (const [size, most] of kinds) {
    it(`is bounded by what is open (${size.kind}), and none is left of keys that fell silent`, () => {
      const made = lane(size, {
        lateness: "20s",
        aggregate: { n: count(), p: quantile("speed", 0.5), last: last("speed") },
      });
      const names = { tumbling: "panes", hopping: "panes", session: "sessions", sliding: "heads" };
      let largest = 0;
      for (let second = 0; second < 3000; second++) {
        const now = ms("10:00:00") + second * 1000;
        const vehicle = `v${Math.floor(second / 10) % 200}`;
        // A hot key has half of all events; the others come and go.
        for (const vehicle_id of ["hot", vehicle]) {
          const behind = (second * 7919) % 20;
          made.apply({ vehicle_id, at: new Date(now - behind * 1000).toISOString(), speed: second % 130 }, now);
        }
        largest = Math.max(largest, made.entries(names[size.kind]));
        if (second % 500 === 499) assert.ok(made.bytes < 40_000, `${made.bytes} bytes of state`);
      }
      assert.ok(largest <= 2 + most * 2, `${largest} keys`);
      assert.deepEqual(
        made.refused.filter(({ code }) => code !== "EVENT_LATE"),
        [],
      );
      made.apply({ vehicle_id: "end", at: at("20:00:00") }, ms("20:00:00"));
      assert.equal(made.entries(names[size.kind]), 1);
      if (size.kind === "sliding") assert.equal(made.entries("chunks"), 1);
    });
  }

  it("of ten thousand events of one key in one window is that of one event", () => {
    const made = lane(hopping("1h", { every: "5m" }), { aggregate: { n: count(), speed: sum("speed") } });
    made.apply({ vehicle_id: "hot", at: at("10:00:00"), speed: 1 }, ms("10:00:00"));
    const before = made.bytes;
    for (let i = 0; i < 10_000; i++) made.apply({ vehicle_id: "hot", at: at("10:00:01"), speed: 1 }, ms("10:00:01"));
    assert.ok(made.bytes <= before + 30);
    assert.equal(microseconds(at("10:00:01")), ms("10:00:01") * 1000);
  });
});
