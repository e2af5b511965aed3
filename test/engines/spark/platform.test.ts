import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DuckDBInstance } from "@duckdb/node-api";
import { drive } from "../../../examples/fleet/simulator/drive.ts";
import type { SentEvent } from "../../../examples/simulation/sent-event.ts";
import { temporaryFolder } from "../../flow/open-flow.ts";
import { RunningPlatform } from "../../platform/running-platform.ts";
import { difference } from "./same-rows.ts";
import { sparkUrl } from "./server.ts";

/*
 * A platform whose gold Spark computes: what is stored is what the embedded engine gives, refresh by refresh, and its files are Spark's.
 */
const NOW_MS = Date.parse("2026-01-15T14:30:00Z");
const TABLES: Readonly<Record<string, string>> = {
  "gold.vehicle_hours": `select vehicle_id, hour, avg(rpm), min(fuel_pct), max(odometer_km), count(*), coalesce(min(fuel_pct) < 15, false),
    count(*) filter (hard_brake), count(*) filter (overheated) from silver.telemetry group by vehicle_id, hour`,
};

let dir: Awaited<ReturnType<typeof temporaryFolder>>;
let platform: RunningPlatform;
let events: SentEvent[];

before(async () => {
  const { opening, events: all } = drive({ seed: 11, nowMs: NOW_MS, vehicles: 10, hertz: 1, historyHours: 6 });
  events = [...opening, ...all.take(8_000)];
  dir = await temporaryFolder();
  const flags = ["--bi-port", "0", "--spark-url", await sparkUrl(), "--spark-min-input", "1"];
  platform = await RunningPlatform.start("examples/fleet", join(dir.path, "data"), flags);
});
after(async () => {
  await platform?.stop();
  await dir?.[Symbol.asyncDispose]();
});

async function send(some: readonly SentEvent[]): Promise<void> {
  for (const [stream, all] of Map.groupBy(some, (event) => event.stream))
    for (let i = 0; i < all.length; i += 2_000) {
      const { status } = await platform.post(stream, all.slice(i, i + 2_000).map(({ line }) => line)); // biome-ignore format: one request
      assert.equal(status, 202);
    }
}

async function stored(): Promise<void> {
  for (let tries = 0; ; tries++) {
    const { body } = await platform.get<{ hops: { pending: number }[] }>("/v1/ledger");
    if (!body.hops.some(({ pending }) => pending > 0)) return;
    assert.ok(tries < 300, "events stay pending");
    await sleep(200);
  }
}

describe("a platform with Spark", () => {
  test("is ready, and says so of Spark", async () => {
    const { body } = await platform.get<{ ready: boolean; checks: Record<string, { ok: boolean }> }>("/readyz");
    assert.deepEqual(body.checks["spark"], { ok: true });
    assert.equal(body.ready, true);
  });

  test("stores what the embedded engine would have, as a whole and where new rows touch it", async () => {
    const half = events.length >> 1;
    for (const part of [events.slice(0, half), events.slice(half)]) {
      await send(part);
      await stored();
      for (const [table, sql] of Object.entries(TABLES)) {
        const { code, stderr } = await platform.command("refresh", table);
        assert.equal(code, 0, stderr);
        assert.equal(difference(await platform.sql(`select * from ${table}`), await platform.sql(sql)), undefined);
      }
    }
  });

  test("gets its files from Spark", async () => {
    const folder = join(dir.path, "data", "lake", "gold", "vehicle_hours");
    const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".parquet"));
    assert.ok(files.length > 0);
    const instance = await DuckDBInstance.create();
    const connection = await instance.connect();
    const list = files.map((file) => `'${join(folder, file)}'`).join(", ");
    const reader = await connection.runAndReadAll(
      `select distinct split_part(created_by, ' ', 1) from parquet_file_metadata([${list}])`,
    );
    assert.deepEqual(reader.getRowsJson(), [["parquet-mr"]]);
    connection.closeSync();
    instance.closeSync();
    assert.deepEqual(await readdir(join(dir.path, "data", "spark")), []);
  });
});
