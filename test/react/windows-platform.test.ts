/** Windows in a running platform: their results in SQL, in other windows and in functions, through kills. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { RunningPlatform } from "../platform/running-platform.ts";

const PROJECT = "test/react/projects/windows";
const START = Date.parse("2026-03-29T00:50:00Z");

const reading = (i: number, vehicle_id: string, seconds: number, fields: object = {}) => ({
  reading_id: `${vehicle_id}-${i}`,
  vehicle_id,
  at: new Date(START + seconds * 1000).toISOString(),
  speed: (i * 37) % 120,
  gear: i % 7 === 0 ? null : i % 5,
  ...fields,
});

/** Twenty-five minutes of three vehicles, each with its own gaps, a little out of order. */
const HISTORY = Array.from({ length: 900 }, (_, i) => {
  const vehicle = `v${i % 3}`;
  const silent = vehicle === "v1" && i > 300 && i < 500;
  return silent ? [] : [reading(i, vehicle, Math.floor(i * 1.7) - ((i * 7) % 20))];
}).flat();

/** Resolves once the query gives something that satisfies. */
async function until(
  platform: RunningPlatform,
  sql: string,
  satisfied: (rows: unknown[][]) => boolean,
): Promise<unknown[][]> {
  for (let look = 0; ; look++) {
    const rows = await platform.sql(sql);
    if (satisfied(rows)) return rows;
    assert.ok(look < 500, `${sql}: ${JSON.stringify(rows.slice(0, 20))}`);
    await sleep(20);
  }
}

const MINUTES = `select vehicle_id, date_trunc('minute', "at") as window_start, date_trunc('minute', "at") + interval 1 minute as window_end, count(*) as n,
  avg(speed) as speed, max(speed) as top, quantile_disc(speed, 0.9) as p90, count(distinct gear) as gears
  from silver.telemetry where vehicle_id <> 'end' and speed >= 0 group by all order by all`;

test("results are in SQL, in windows over them and in functions, through kills, each once", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "millrace-windows-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  let platform = await RunningPlatform.start(PROJECT, join(dir, "data"));
  try {
    for (let from = 0; from < HISTORY.length; from += 100) {
      assert.equal((await platform.post("telemetry", HISTORY.slice(from, from + 100))).status, 202);
      // Some results are given, some windows open, previews under way.
      if (from === 200 || from === 600) {
        await sleep(from === 200 ? 300 : 20);
        platform.process.kill("SIGKILL");
        await platform.stop();
        platform = await RunningPlatform.start(PROJECT, join(dir, "data"));
      }
    }
    // The end of time: two hours on, and then an hour more for the windows over windows.
    await platform.post("telemetry", [reading(1, "end", 7200), reading(2, "end", 11_000), reading(3, "end", 15_000)]);
    const closed = (rows: unknown[][]) => rows.length === 3;
    await until(
      platform,
      "select vehicle_id from fleet_1h where vehicle_id <> 'end' and final and window_start = '2026-03-29 01:00:00Z'",
      closed,
    );
    const columns = "vehicle_id, window_start, window_end, n, speed, top, p90, gears";
    const results = await platform.sql(
      `select ${columns} from silver.fleet_1m where vehicle_id <> 'end' and final order by all`,
    );
    assert.deepEqual(results, await platform.sql(MINUTES));
    const [[doubled, previews]] = (await platform.sql(
      "select count(*) - count(distinct row(vehicle_id, window_start)), count(*) filter (not final) from fleet_1m",
    )) as [[number, number]];
    assert.deepEqual([doubled, previews], [0, 0]);
    assert.deepEqual(
      await platform.sql(
        "select vehicle_id, window_start, n, top from silver.fleet_1h where vehicle_id <> 'end' order by all",
      ),
      await platform.sql(
        `select vehicle_id, date_trunc('hour', "at"), count(*), max(speed) from silver.telemetry where vehicle_id <> 'end' group by all order by all`,
      ),
    );
    assert.deepEqual(
      await until(platform, "select count(*), max(top) from fast", (rows) => rows[0]![0] !== 0),
      await platform.sql("select count(*), max(top) from fleet_1m where final and top > 100"),
    );
    const trips = await until(
      platform,
      "select vehicle_id, n from silver.trips where vehicle_id <> 'end' and final order by window_start, vehicle_id",
      (rows) => rows.length >= 4,
    );
    assert.deepEqual(trips.map(([vehicle]) => vehicle).sort(), ["v0", "v1", "v1", "v2"]);
    const total = trips.reduce((sum, [, n]) => sum + Number(n), 0);
    assert.equal(total, HISTORY.length);
    const leftover = await platform.sql("select count(*) from silver.trips where vehicle_id <> 'end' and not final");
    assert.deepEqual(leftover, [[0]]);
    const sliding = `select vehicle_id, "at" as window_end, count(*) over w as n, avg(speed) over w as speed from silver.telemetry
      window w as (partition by vehicle_id order by "at" range between interval 30 seconds preceding and current row)`;
    const [[different]] = (await platform.sql(
      `select count(*) from (select distinct * from (${sliding})) as a full join (from silver.last_30s where final) as b
        on a.vehicle_id = b.vehicle_id and a.window_end = b.window_end
        where coalesce(a.vehicle_id, b.vehicle_id) <> 'end' and (a.n is distinct from b.n or abs(a.speed - b.speed) > 1e-9 or a.n is null)`,
    )) as [[number]];
    assert.equal(different, 0);
    assert.deepEqual(await platform.sql("select count(*) from system.dead_letters"), [[0]]);
  } finally {
    await platform.stop();
  }
});

test("a late event is a dead letter with its window and the reason", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "millrace-windows-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const platform = await RunningPlatform.start(PROJECT, join(dir, "data"));
  try {
    await platform.post("telemetry", [reading(1, "a", 0), reading(2, "b", 3600), reading(3, "a", 10)]);
    const letters = await until(
      platform,
      "select stage, code, table_name from system.dead_letters order by table_name",
      (rows) => rows.length >= 3,
    );
    assert.deepEqual(
      letters.map(([stage, code]) => `${String(stage)} ${String(code)}`),
      Array(3).fill("react EVENT_LATE"),
    );
    assert.deepEqual(await platform.sql("select count(*) from silver.telemetry"), [[3]]);
  } finally {
    await platform.stop();
  }
});
