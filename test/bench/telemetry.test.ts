import assert from "node:assert/strict";
import { test } from "node:test";
import { EVENT_BYTES, TelemetryEvents, telemetrySchema } from "../../bench/telemetry.ts";

test("a telemetry event is 274 bytes and keeps its contract, whatever its form", () => {
  assert.equal(EVENT_BYTES, 274);
  const events = new TelemetryEvents({ seed: 3 });
  const lines = events.ndjson(2_500).toString("latin1").split("\n");
  assert.equal(lines.pop(), "");
  const parsed = lines.map((line) => telemetrySchema.parse(JSON.parse(line)));
  assert.ok(lines.every((line) => line.length === EVENT_BYTES));
  assert.equal(new Set(parsed.map((e) => e.event_id)).size, 2_500);
  assert.equal(parsed[2_499]?.event_id, "b01-000000002499");
  assert.equal(parsed[2_499]?.recorded_at, "2026-01-05T08:00:02.499Z");
  const array = JSON.parse(events.array(3).toString()) as unknown[];
  assert.deepEqual(
    array.map((e) => telemetrySchema.parse(e).event_id.slice(-4)),
    ["2500", "2501", "2502"],
  );
  const one = events.one();
  assert.equal(one.length, EVENT_BYTES);
  assert.equal(telemetrySchema.parse(JSON.parse(one.toString())).event_id, "b01-000000002503");
});

test("the same seed gives the same bytes; another seed other readings; another sender other ids", () => {
  const bytes = (options: { seed?: number; sender?: number }) => new TelemetryEvents(options).ndjson(100).toString();
  assert.equal(bytes({ seed: 5 }), bytes({ seed: 5 }));
  assert.notEqual(bytes({ seed: 5 }), bytes({ seed: 6 }));
  assert.ok(bytes({ sender: 200 }).startsWith('{"event_id":"bc8-000000000000"'));
});

test("event ids carry on where a digit runs over, and time across a second", () => {
  const events = new TelemetryEvents({ startMs: Date.UTC(2025, 11, 31, 23, 59, 59, 998) });
  const [last] = events.ndjson(1_001).toString().trimEnd().split("\n").slice(-1);
  assert.match(last as string, /"b01-000000001000".*"2026-01-01T00:00:00\.998Z"/);
});
