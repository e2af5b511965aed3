import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { alert, type StreamAlertOptions } from "../../src/define/alert.ts";
import { type Alert, bindAlert, type StreamAlert } from "../../src/define/bind-alerts.ts";
import { threshold, zscore } from "../../src/define/conditions.ts";
import type { Stream } from "../../src/define/project.ts";
import { readAlert } from "../../src/define/read-alert.ts";
import type { SqlInspector } from "../../src/define/sql-inspector.ts";
import { type AlertPlan, alertKind, alertOperator } from "../../src/react/alerts/alert-operator.ts";
import { MemoryLane } from "./memory-lane.ts";

const string = { kind: "string" } as const;
const TELEMETRY: Stream = {
  name: "telemetry",
  columns: [
    { name: "vehicle", type: string, nullable: false },
    { name: "region", type: string, nullable: true },
    { name: "temp", type: { kind: "double" }, nullable: true },
    { name: "at", type: { kind: "timestamp" }, nullable: false },
  ],
  jsonSchema: {},
  id: [],
  key: "vehicle",
  time: "at",
  horizonMs: 1,
  file: "fleet.ts",
};
const START = Date.UTC(2026, 0, 5, 12);
const SECOND = 1000;
const MINUTE = 60_000;
const YEAR = 365 * 86_400_000;

type Options = Omit<StreamAlertOptions, "on">;

async function boundAlert(options: Options): Promise<StreamAlert> {
  const definition = alert("overheat", { on: "telemetry", ...options } as StreamAlertOptions);
  const draft = await readAlert(definition, "fleet.ts");
  assert.ok("name" in draft, JSON.stringify(draft));
  const inspector = {} as SqlInspector;
  const streams = new Map([[TELEMETRY.name, TELEMETRY]]);
  const parts = { streams, tables: new Map(), windows: [], destinations: [], broken: new Set<string>(), inspector };
  const bound = (await bindAlert(draft, parts)) as Alert;
  assert.equal(bound.over, "stream", JSON.stringify(bound));
  return bound as StreamAlert;
}

/** Tells what an alert says of temperatures at seconds: `["17 firing", "17 resolved"]`. */
class Fleet {
  readonly lane: MemoryLane<AlertPlan, never>;

  private constructor(lane: MemoryLane<AlertPlan, never>) {
    this.lane = lane;
  }

  static async of(options: Options): Promise<Fleet> {
    const plan = alertOperator(await boundAlert(options)).plan as AlertPlan;
    return new Fleet(
      new MemoryLane<AlertPlan, never>(alertKind as never, plan, { name: "overheat", options: options as never }),
    );
  }

  tell(
    vehicle: string,
    temp: number | null,
    { event = 0, arrival = event }: { event?: number; arrival?: number },
  ): string[] {
    const at = new Date(START + event).toISOString();
    const events = this.lane.apply({ vehicle, temp, at, region: "north" }, START + arrival);
    return events.map(({ key, state }) => `${key} ${state}`);
  }
}

describe("an alert over a stream", () => {
  it("is raised by the event for which its condition holds, and ends with the first for which it does not", async () => {
    const fleet = await Fleet.of({ when: threshold("temp", { above: 120 }), severity: "critical" });
    assert.deepEqual(fleet.tell("17", 120, { event: 0 }), []);
    assert.deepEqual(fleet.tell("17", 131, { event: 1000 }), ["17 firing"]);
    assert.deepEqual(fleet.tell("17", 133, { event: 2000 }), []);
    assert.deepEqual(fleet.tell("17", 119, { event: 3000 }), ["17 resolved"]);
    const [raised, over] = fleet.lane.emitted.map(({ event }) => event);
    assert.equal(fleet.lane.emitted[0]?.stream, "_alerts");
    assert.deepEqual(
      { ...raised, details: undefined },
      {
        event_id: "alert/overheat/17/0-1/firing",
        alert_id: "alert/overheat/17/0-1",
        at: new Date(START + 1000).toISOString(),
        ...{ kind: "alert", name: "overheat", severity: "critical", state: "firing", key: "17" },
        ...{ summary: "17: temp is 131, above 120", details: undefined },
      },
    );
    assert.deepEqual(raised?.["details"], {
      reason: { text: "temp is 131, above 120", condition: "threshold", field: "temp", value: 131, high: 120 },
      ...{ on: "telemetry", by: ["vehicle"], partition: 0, offset: 1 },
      row: { vehicle: "17", temp: 131, at: new Date(START + 1000).toISOString(), region: "north" },
    });
    assert.equal(over?.["event_id"], "alert/overheat/17/0-1/resolved");
    assert.equal(JSON.stringify(over?.["details"]).includes("temp is 119, not above 120"), true);
  });

  it("keeps its keys apart, and remembers nothing of those that are quiet", async () => {
    const fleet = await Fleet.of({ when: threshold("temp", { above: 120 }) });
    const said: string[] = [];
    for (let i = 0; i < 300; i++)
      said.push(...fleet.tell(`v${i % 100}`, i % 100 === 7 && i < 200 ? 130 : 90, { event: i * 10 }));
    assert.deepEqual(said, ["v7 firing", "v7 resolved"]);
    assert.equal(fleet.lane.entries("keys"), 0);
  });

  it("takes several fields, or none, for a key", async () => {
    const both = await Fleet.of({ key: ["region", "vehicle"], when: threshold("temp", { above: 120 }) });
    assert.deepEqual(both.tell("a/b", 130, {}), ["north/a%2Fb firing"]);
    const one = await Fleet.of({ key: "region", when: threshold("temp", { above: 120 }) });
    assert.deepEqual(one.tell("1", 130, {}), ["north firing"]);
    assert.deepEqual(one.tell("2", 140, { event: 1 }), []);
  });

  it("does not sway where `until` says when it is over", async () => {
    const fleet = await Fleet.of({ when: threshold("temp", { above: 120 }), until: threshold("temp", { below: 110 }) });
    const temps = [100, 121, 119, 122, 111, 121, 109, 119, 121];
    const said = temps.flatMap((temp, i) => fleet.tell("17", temp, { event: i * SECOND }));
    assert.deepEqual(said, ["17 firing", "17 resolved", "17 firing"]);
  });

  it("waits until its condition has held for `for`, by the time of the events", async () => {
    const fleet = await Fleet.of({ when: (event) => Number(event["temp"]) > 120, for: "30s" });
    const at = (seconds: number, temp: number) => fleet.tell("17", temp, { event: seconds * SECOND });
    assert.deepEqual([...at(0, 130), ...at(20, 130), ...at(29, 119), ...at(30, 130), ...at(59, 130)], []);
    assert.deepEqual(at(60, 130), ["17 firing"]);
    // What a tunnel kept comes at once: its own times count.
    const burst = await Fleet.of({ when: threshold("temp", { above: 120 }), for: "30s" });
    assert.deepEqual(burst.tell("17", 130, { event: 0, arrival: 600 * SECOND }), []);
    assert.deepEqual(burst.tell("17", 130, { event: 29 * SECOND, arrival: 600 * SECOND + 1 }), []);
    assert.deepEqual(burst.tell("17", 130, { event: 31 * SECOND, arrival: 600 * SECOND + 2 }), ["17 firing"]);
  });

  it("raises none again before `coolDown` is over, and then at once where it holds still", async () => {
    const fleet = await Fleet.of({ when: threshold("temp", { above: 120 }), coolDown: "10m" });
    const at = (minutes: number, temp: number) => fleet.tell("17", temp, { event: minutes * MINUTE });
    assert.deepEqual([...at(0, 130), ...at(1, 100)], ["17 firing", "17 resolved"]);
    assert.deepEqual([...at(2, 130), ...at(5, 130), ...at(6, 100), ...at(10, 130)], []);
    assert.deepEqual(at(11, 130), ["17 firing"]);
    const later = await Fleet.of({ when: threshold("temp", { above: 120 }), coolDown: "10m" });
    for (const [minute, temp] of [
      [0, 130],
      [1, 100],
      [20, 100],
    ] as const)
      later.tell("17", temp, { event: minute * MINUTE });
    assert.equal(later.lane.entries("keys"), 0);
  });

  it("ends when nothing was heard of its key for `resolveAfter`, and begins anew after that", async () => {
    const fleet = await Fleet.of({ when: threshold("temp", { above: 120 }), resolveAfter: "5m" });
    fleet.tell("17", 130, { event: 0 });
    fleet.tell("18", 130, { event: MINUTE });
    assert.deepEqual(fleet.tell("19", 90, { event: 5 * MINUTE }), []);
    fleet.lane.reopen();
    assert.deepEqual(fleet.tell("19", 90, { event: 5 * MINUTE + 1 }), ["17 resolved"]);
    assert.deepEqual(fleet.tell("18", 130, { event: 6 * MINUTE + 1 }), ["18 resolved", "18 firing"]);
    assert.deepEqual(fleet.tell("18", 100, { event: 6 * MINUTE + 2 }), ["18 resolved"]);
    const ids = fleet.lane.emitted.map(({ event }) => event["event_id"]);
    assert.equal(new Set(ids).size, ids.length);
  });

  it("loses no event that comes late, and lets none end what newer ones began", async () => {
    const fleet = await Fleet.of({ when: threshold("temp", { above: 120 }), until: threshold("temp", { below: 110 }) });
    assert.deepEqual(fleet.tell("17", 130, { event: 60 * SECOND }), ["17 firing"]);
    assert.deepEqual(fleet.tell("17", 90, { event: 10 * SECOND, arrival: 61 * SECOND }), []);
    assert.deepEqual(fleet.tell("17", 90, { event: 62 * SECOND }), ["17 resolved"]);
    assert.deepEqual(fleet.tell("17", 140, { event: 30 * SECOND, arrival: 63 * SECOND }), ["17 firing"]);
  });

  it("measures right with clocks that are ten years off, and through their being set", async () => {
    for (const offMs of [10 * YEAR, -10 * YEAR]) {
      const fleet = await Fleet.of({ when: threshold("temp", { above: 120 }), for: "30s" });
      const at = (seconds: number, temp: number, off: number) =>
        fleet.tell("17", temp, { event: seconds * SECOND + off, arrival: seconds * SECOND });
      assert.deepEqual([...at(0, 130, offMs), ...at(20, 130, offMs)], []);
      // The device's clock is set right: ten years are no thirty seconds.
      assert.deepEqual(at(25, 130, 0), []);
      assert.deepEqual(at(29, 130, 0), []);
      assert.deepEqual(at(31, 130, 0), ["17 firing"]);
      // And goes wrong again: what it says then still counts.
      assert.deepEqual(at(40, 100, offMs), ["17 resolved"]);
    }
  });

  it("says nothing of events that lack the value", async () => {
    const fleet = await Fleet.of({ when: threshold("temp", { above: 120 }) });
    assert.deepEqual([...fleet.tell("17", 130, {}), ...fleet.tell("17", null, { event: 1 })], ["17 firing"]);
    assert.deepEqual(fleet.tell("17", 100, { event: 2 }), ["17 resolved"]);
  });

  it("takes severity, reason and summary from the definition's functions and templates", async () => {
    const fleet = await Fleet.of({
      when: (event) => Number(event["temp"]) > 120 && `engine at ${event["temp"]}`,
      severity: (event) => (Number(event["temp"]) > 140 ? "critical" : "warning"),
      summary: "{vehicle} in {region}: {reason}",
    });
    fleet.tell("17", 130, {});
    fleet.tell("18", 150, { event: 1 });
    assert.deepEqual(
      fleet.lane.emitted.map(({ event }) => [event["severity"], event["summary"]]),
      [
        ["warning", "17 in north: engine at 130"],
        ["critical", "18 in north: engine at 150"],
      ],
    );
  });

  it("is told again when it becomes graver, and not when it becomes less so", async () => {
    const fleet = await Fleet.of({
      when: threshold("temp", { above: 120 }),
      severity: (event) => (Number(event["temp"]) > 140 ? "critical" : "warning"),
    });
    const temps = [130, 135, 150, 160, 125, 145, 100];
    const said = temps.flatMap((temp, i) => fleet.tell("17", temp, { event: i * SECOND }));
    assert.deepEqual(said, ["17 firing", "17 firing", "17 resolved"]);
    assert.deepEqual(
      fleet.lane.emitted.map(({ event }) => [event["event_id"], event["severity"], event["summary"]]),
      [
        ["alert/overheat/17/0-0/firing", "warning", "17: temp is 130, above 120"],
        ["alert/overheat/17/0-0/firing/critical", "critical", "17: temp is 150, above 120"],
        ["alert/overheat/17/0-0/resolved", "critical", "17: temp is 150, above 120"],
      ],
    );
  });

  it("refuses a condition that gives a promise, and keeps nothing of the event", async () => {
    const fleet = await Fleet.of({ when: async () => true });
    assert.throws(() => fleet.tell("17", 130, {}), { code: "ALERT_CONDITION" });
    const wrong = await Fleet.of({ when: () => true, severity: () => "urgent" as never });
    assert.throws(() => wrong.tell("17", 130, {}), /severity is urgent/);
    assert.deepEqual([wrong.lane.entries("keys"), wrong.lane.emitted.length], [0, 0]);
  });

  it("goes on where it was after it was opened again, whatever of its condition changed", async () => {
    const options: Options = {
      when: zscore("temp", { history: 20, atLeast: 5 }),
      until: threshold("temp", { below: 110 }),
    };
    const fleet = await Fleet.of(options);
    const whole = await Fleet.of(options);
    const temps = Array.from({ length: 60 }, (_, i) => (i % 17 === 16 ? 150 + i : 90 + ((i * 7) % 5)));
    const said: string[] = [];
    const expected: string[] = [];
    for (const [i, temp] of temps.entries()) {
      expected.push(...whole.tell("17", temp, { event: i * SECOND }));
      said.push(...fleet.tell("17", temp, { event: i * SECOND }));
      fleet.lane.reopen();
    }
    assert.deepEqual(said, expected);
    assert.ok(said.length >= 4);
    fleet.tell("17", 500, { event: 100 * SECOND });
    fleet.lane.reopen(alertOperator(await boundAlert({ when: threshold("temp", { above: 200 }) })).plan as AlertPlan);
    assert.deepEqual(fleet.tell("17", 199, { event: 101 * SECOND }), ["17 resolved"]);
  });
});
