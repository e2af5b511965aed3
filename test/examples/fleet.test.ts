import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { drive } from "../../examples/fleet/simulator/drive.ts";
import { recordedTrip } from "../../examples/fleet/simulator/recorded-trip.ts";
import type { TelemetryRecord } from "../../examples/fleet/simulator/vehicle.ts";
import type { Service } from "../../examples/fleet/simulator/workshop.ts";
import type { SentEvent } from "../../examples/simulation/sent-event.ts";
import type { LedgerAnswer } from "../../src/cli/ledger.ts";
import { temporaryFolder } from "../flow/open-flow.ts";
import { RunningPlatform } from "../platform/running-platform.ts";

/*
 * The fleet's tables, held to what its vehicles really said: every record once, whenever and however often it came, and without those of the
 * broken sensor and the broken clock.
 */
const TRIPS = resolve(import.meta.dirname, "../../../shared/data/kit-obd/kit_obd_2017.csv.zst");
const NOW_MS = Date.now();
const VEHICLES = 20;
/** Records of one vehicle that come when all else is there, as from a device that was in a drawer for a month. */
const DRAWER = "V-005";

let dir: Awaited<ReturnType<typeof temporaryFolder>>;
let platform: RunningPlatform;
let sent: SentEvent[];
/** Of each vehicle and time one, without those of the broken sensor and clock. */
let records: TelemetryRecord[];
/** The same with them, in the order in which they came. */
let accepted: TelemetryRecord[];
let services: Service[];

before(async () => {
  const { opening, events } = drive({ seed: 7, nowMs: NOW_MS, vehicles: VEHICLES, hertz: 1, historyHours: 12 });
  sent = [...opening, ...events.take(35_000)];
  services = opening.map(({ line }) => JSON.parse(line) as Service);
  const all = new Map<string, TelemetryRecord>();
  for (const { stream, kind, line } of sent) {
    if (stream !== "telemetry" || kind === "malformed") continue;
    const record = JSON.parse(line) as TelemetryRecord;
    all.set(`${record.vehicle_id} ${record.recorded_at}`, record);
  }
  accepted = [...all.values()];
  records = accepted.filter(
    ({ rpm, recorded_at }) => (rpm ?? 0) >= 0 && (rpm ?? 0) <= 8_000 && Date.parse(recorded_at) < NOW_MS + 86_400_000,
  );
  dir = await temporaryFolder();
  platform = await RunningPlatform.start("examples/fleet", join(dir.path, "data"), ["--bi-port", "0"]);
  const isKept = ({ stream, line }: SentEvent) => stream === "telemetry" && line.includes(`"${DRAWER}"`);
  await send(sent.filter((event) => !isKept(event)));
  assert.ok((await platform.command("refresh", "gold.vehicle_hours")).code === 0);
  await send(sent.filter(isKept));
});

after(async () => {
  await platform?.stop();
  await dir?.[Symbol.asyncDispose]();
});

async function send(events: readonly SentEvent[]): Promise<void> {
  for (const [stream, all] of Map.groupBy(events, (event) => event.stream))
    for (let i = 0; i < all.length; i += 2_000) {
      const { status } = await platform.post(stream, all.slice(i, i + 2_000).map(({ line }) => line)); // biome-ignore format: one request
      assert.equal(status, 202);
    }
}

test("every hour of every vehicle is right, those of a device that was silent for long too", async () => {
  const hours = Map.groupBy(records, (r) => `${r.vehicle_id} ${r.recorded_at.slice(0, 13)}`);
  const expected = [...hours].map(([name, rows]) => {
    const of = (field: "rpm" | "fuel_pct" | "odometer_km") => rows.flatMap((row) => row[field] ?? []);
    const fuel = of("fuel_pct").length === 0 ? null : Math.min(...of("fuel_pct"));
    const rpm = of("rpm").reduce((sum, value) => sum + value, 0) / of("rpm").length;
    const odometer = Math.max(...of("odometer_km"));
    return [name, rpm.toFixed(6), fuel, odometer, rows.length, fuel !== null && fuel < 15];
  });
  const found = await platform.sql(`
    select vehicle_id || ' ' || strftime(hour, '%Y-%m-%dT%H') as name, average_rpm, lowest_fuel_pct, highest_odometer_km, records, low_fuel
    from gold.vehicle_hours`);
  const shown = found.map(([name, rpm, ...rest]) => [name, (rpm as number).toFixed(6), ...rest]);
  assert.ok(expected.some(([name]) => String(name).startsWith(DRAWER)));
  assert.deepEqual(shown.sort(byName), expected.sort(byName));
});

test("a vehicle is due once its odometer is past the next service in a record made after the last one", async () => {
  const expected = services
    .filter(({ vehicle_id: own }, i) => services.findLastIndex(({ vehicle_id }) => vehicle_id === own) === i)
    .map(({ vehicle_id, serviced_at, next_service_km }) => {
      const after = records.filter((r) => r.vehicle_id === vehicle_id && r.recorded_at > serviced_at);
      const highest = Math.max(...after.map(({ odometer_km }) => odometer_km ?? 0));
      return [vehicle_id, highest > next_service_km];
    });
  assert.ok(expected.some(([, due]) => due) && expected.some(([, due]) => !due));
  const found = await platform.sql("select vehicle_id, due from gold.maintenance_due");
  assert.deepEqual(found.sort(byName), expected.sort(byName));
  const wall = await platform.sql("select vehicle_id, maintenance_due from gold.fleet_now");
  assert.deepEqual(wall.sort(byName), expected.sort(byName));
});

test("drivers are scored by their hard brakes and their engines' heat", async () => {
  const days = Map.groupBy(records, (r) => `${r.driver_id} ${r.recorded_at.slice(0, 10)}`);
  const expected = [...days].map(([name, rows]) => {
    const brakes = rows.filter((row) => (row.acceleration_g ?? 0) < -0.5).length;
    const hot = new Set(
      rows.flatMap((r) => ((r.coolant_c ?? 0) > 120 ? `${r.vehicle_id} ${r.recorded_at.slice(0, 16)}` : [])),
    ).size;
    return [name, brakes, hot];
  });
  assert.ok(expected.some(([, brakes]) => Number(brakes) > 0) && expected.some(([, , hot]) => Number(hot) > 0));
  const found = await platform.sql(
    "select driver_id || ' ' || cast(day as varchar), hard_brakes, overheated_minutes from gold.driver_days",
  );
  assert.deepEqual(found.sort(byName), expected.sort(byName));
  const [scores] = await platform.sql("select min(score), max(score) from gold.driver_days");
  assert.ok(Number(scores?.[0]) >= 0 && Number(scores?.[1]) <= 100);
});

test("the ledger accounts for what was sent twice, what the door refused and what sensors got wrong", async () => {
  const telemetry = sent.filter(({ stream }) => stream === "telemetry");
  const malformed = telemetry.filter(({ kind }) => kind === "malformed").length;
  const accepted = telemetry.length - malformed;
  const wrong = new Set(telemetry.filter(({ kind }) => kind === "failing_check").map(({ line }) => line)).size;
  const silver = await until("everything is stored", async () => {
    const { body } = await platform.get<LedgerAnswer>("/v1/ledger");
    assert.equal(body.balanced, true);
    return body.hops.find(({ hop, pending }) => hop === "silver.telemetry" && pending === 0);
  });
  assert.ok(malformed > 0 && wrong > 0);
  assert.deepEqual([silver.accepted, silver.stored, silver.deadLettered], [accepted, records.length, wrong]);
  assert.equal(silver.duplicate, accepted - records.length - wrong);
});

test("a driver hears of each hard braking once, however many records it takes", async () => {
  const last = new Map<string, number>();
  const brakes = new Map<string, number[]>();
  const expected = accepted.flatMap(({ vehicle_id, recorded_at, acceleration_g }) => {
    if (-(acceleration_g ?? 0) <= 0.5) return [];
    const at = Date.parse(recorded_at);
    // What a clock says that is years ahead counts in no feature, and has none.
    const own = [...(brakes.get(vehicle_id) ?? []), ...(at < NOW_MS + 86_400_000 ? [at] : [])];
    brakes.set(vehicle_id, own);
    const isAhead = at !== own.at(-1);
    const lastHour = isAhead ? 0 : own.filter((one) => one > at - 3_600_000 && one <= at).length;
    const isSame = Math.abs(at - (last.get(vehicle_id) ?? Number.NEGATIVE_INFINITY)) < 5_000;
    last.set(vehicle_id, at);
    return isSame ? [] : [[`${vehicle_id} ${recorded_at}`, acceleration_g, lastHour]];
  });
  assert.ok(expected.length > 20);
  const found = await until("every braking is told", async () => {
    const rows = await platform.sql(
      `select vehicle_id || ' ' || strftime(recorded_at, '%Y-%m-%dT%H:%M:%S.%gZ'), -braking_g, hard_brakes_1h from driver_alerts`,
    );
    return rows.length >= expected.length ? rows : undefined;
  });
  assert.deepEqual(found.sort(byName), expected.sort(byName));
});

test("a feature is the same when it is asked for and when a model is trained", async () => {
  const own = accepted.filter(({ vehicle_id }) => vehicle_id === "V-004");
  const at = own.map(({ recorded_at }) => recorded_at).sort().at(-1) as string; // biome-ignore format: one thing
  const since = Date.parse(at) - 3_600_000;
  const expected = own.filter(
    (r) => (r.acceleration_g ?? 0) < -0.5 && Date.parse(r.recorded_at) > since && r.recorded_at <= at,
  ).length;
  const { body } = await platform.get<{ value: number }>(`/v1/features/hard_brakes_1h?key=V-004&at=${at}`);
  const offline = await platform.sql(
    `select hard_brakes_1h from features.hard_brakes_1h where vehicle_id = 'V-004' and recorded_at = '${at}'`,
  );
  assert.ok(expected > 0);
  assert.deepEqual([body.value, offline], [expected, [[expected]]]);
});

test("alerts tell of engines that are too hot, tanks that are low and services that are due, and of their end", async () => {
  const hot = new Set(records.filter(({ coolant_c }) => (coolant_c ?? 0) > 120).map(({ vehicle_id }) => vehicle_id));
  const alerts = await until("every service that is due is told", async () => {
    const rows = await platform.sql(`select name, "key", state, summary from system.alerts`);
    return rows.some(([name]) => name === "maintenance_due") ? rows : undefined;
  });
  const of = (name: string) => new Set(alerts.filter((row) => row[0] === name).map((row) => row[1]));
  assert.deepEqual(of("overheated"), hot);
  assert.ok(of("low_fuel").size > 0 && alerts.some(([, , state]) => state === "resolved"));
  const due = await platform.sql("select vehicle_id from gold.maintenance_due where due");
  assert.deepEqual([...of("maintenance_due")].sort(), due.map(([vehicle]) => vehicle).sort());
});

test("of the trips that were really driven, the one with the full braking brakes hard and a normal one does not", async (t) => {
  if (!existsSync(TRIPS)) return t.diagnostic(`the KIT data set is not there (${TRIPS})`);
  for (const trip of ["2017-08-07_Seat_Leon_RT_KA_Frei_Vollbremsung", "2017-07-06_Seat_Leon_KA_KA_Normal"]) {
    const lines = [...recordedTrip(TRIPS, trip, 10)].map(({ record }) => JSON.stringify(record));
    for (let i = 0; i < lines.length; i += 5_000)
      assert.equal((await platform.post("telemetry", lines.slice(i, i + 5_000))).status, 202);
  }
  const trips = await platform.sql(`
    select split_part(vehicle_id, '_', -1), count(*), count(*) filter (hard_brake), min(acceleration_g) < -1
    from silver.telemetry where starts_with(vehicle_id, 'KIT-') group by all`);
  assert.deepEqual(trips.sort(byName), [
    ["Normal", 18_111, 0, false],
    ["Vollbremsung", 39_110, 19, true],
  ]);
});

function byName([a]: readonly unknown[], [b]: readonly unknown[]): number {
  return String(a) < String(b) ? -1 : 1;
}

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  for (let i = 0; i < 600; i++) {
    const found = await look();
    if (found !== undefined) return found;
    await sleep(100);
  }
  throw new Error(`waited in vain: ${what}`);
}
