import assert from "node:assert/strict";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ListObjectsV2Command } from "@aws-sdk/client-s3";
import { DuckDBInstance } from "@duckdb/node-api";
import { drive } from "../../../examples/fleet/simulator/drive.ts";
import type { SentEvent } from "../../../examples/simulation/sent-event.ts";
import { temporaryFolder } from "../../flow/open-flow.ts";
import { RunningPlatform } from "../../platform/running-platform.ts";
import { makeBucket } from "../s3-bucket.ts";
import { difference } from "./same-rows.ts";
import { sparkUrl } from "./server.ts";

/*
 * A platform whose gold Spark computes: what is stored is what the embedded engine gives, refresh by refresh, and its files are Spark's; with its
 * tables in the data folder, and in a bucket that Spark has an access of its own to.
 */
const NOW_MS = Date.parse("2026-01-15T14:30:00Z");
const TABLES: Readonly<Record<string, string>> = {
  "gold.vehicle_hours": `select vehicle_id, hour, avg(rpm), min(fuel_pct), max(odometer_km), count(*), coalesce(min(fuel_pct) < 15, false),
    count(*) filter (hard_brake), count(*) filter (overheated) from silver.telemetry group by vehicle_id, hour`,
};

interface Place {
  readonly env: Readonly<Record<string, string>>;
  /** What lies where Spark leaves its files until the platform takes them. */
  staged(dataDir: string): Promise<string[]>;
  readonly cleanUp: () => Promise<void>;
}

async function dataFolder(): Promise<Place> {
  return { env: {}, staged: (dataDir) => readdir(join(dataDir, "spark")), cleanUp: async () => undefined };
}

async function bucket(): Promise<Place> {
  const undo: (() => Promise<void>)[] = [];
  const made = await makeBucket({ after: (last) => void undo.push(last as () => Promise<void>) });
  const { server } = made;
  return {
    env: {
      MILLRACE_STORE_URL: `s3://${made.bucket}/lake`,
      MILLRACE_S3_ENDPOINT: server.endpoint,
      MILLRACE_S3_ACCESS_KEY_ID: server.accessKeyId,
      MILLRACE_S3_SECRET_ACCESS_KEY: server.secretAccessKey,
    },
    staged: async () => {
      const wanted = new ListObjectsV2Command({ Bucket: made.bucket, Prefix: "lake/_spark/" });
      return ((await made.client.send(wanted)).Contents ?? []).map(({ Key = "" }) => Key);
    },
    cleanUp: async () => {
      for (const last of undo) await last();
    },
  };
}

for (const [where, make] of Object.entries({ "in the data folder": dataFolder, "in a bucket": bucket })) {
  describe(`a platform with Spark and its tables ${where}`, () => {
    let dir: Awaited<ReturnType<typeof temporaryFolder>>;
    let place: Place;
    let platform: RunningPlatform;
    let events: SentEvent[];
    let flags: string[];
    const start = () => RunningPlatform.start("examples/fleet", join(dir.path, "data"), flags, place.env);

    before(async () => {
      const { opening, events: all } = drive({ seed: 11, nowMs: NOW_MS, vehicles: 10, hertz: 1, historyHours: 6 });
      events = [...opening, ...all.take(8_000)];
      dir = await temporaryFolder();
      place = await make();
      flags = ["--bi-port", "0", "--spark-url", await sparkUrl(), "--spark-min-input", "1"];
      platform = await start();
    });
    after(async () => {
      await platform?.stop();
      await place?.cleanUp();
      await dir?.[Symbol.asyncDispose]();
    });

    test("is ready, and says so of Spark", async () => {
      const { body } = await platform.get<{ ready: boolean; checks: Record<string, { ok: boolean }> }>("/readyz");
      assert.deepEqual(body.checks["spark"], { ok: true });
      assert.equal(body.ready, true);
    });

    test("stores what the embedded engine would have, as a whole and where new rows touch it", async () => {
      const half = events.length >> 1;
      for (const part of [events.slice(0, half), events.slice(half)]) {
        await send(platform, part);
        await stored(platform);
        for (const [table, sql] of Object.entries(TABLES)) {
          const { code, stderr } = await platform.command("refresh", table);
          assert.equal(code, 0, stderr);
          assert.equal(difference(await platform.sql(`select * from ${table}`), await platform.sql(sql)), undefined);
        }
      }
    });

    test("gets its files from Spark, and leaves none where Spark wrote them", async () => {
      const data = join(dir.path, "data");
      assert.deepEqual(await writersOf(data, "vehicle_hours"), ["parquet-mr"]);
      // Other tables are refreshed by the platform itself meanwhile.
      for (let tries = 0; (await place.staged(data)).length > 0; tries++) {
        assert.ok(tries < 300, `left: ${await place.staged(data)}`);
        await sleep(200);
      }
    });

    test("has the same after a kill, without the copies of a bucket's files", async () => {
      const before = await platform.sql("select * from gold.vehicle_hours");
      await platform.stop("SIGKILL");
      await rm(join(dir.path, "data", "cache"), { recursive: true, force: true });
      platform = await start();
      assert.equal(difference(await platform.sql("select * from gold.vehicle_hours"), before), undefined);
    });
  });
}

/** What wrote the Parquet files of a gold table: those of the lake, or the copies that a platform has of a bucket's. */
async function writersOf(dataDir: string, table: string): Promise<unknown[]> {
  const paths = (await readdir(dataDir, { recursive: true })).filter(
    (path) => path.includes(`gold/${table}/`) && path.endsWith(".parquet"),
  );
  assert.ok(paths.length > 0);
  const instance = await DuckDBInstance.create();
  const connection = await instance.connect();
  const list = paths.map((path) => `'${join(dataDir, path)}'`).join(", ");
  const reader = await connection.runAndReadAll(
    `select distinct split_part(created_by, ' ', 1) from parquet_file_metadata([${list}])`,
  );
  connection.closeSync();
  instance.closeSync();
  return reader.getRowsJson().flat();
}

async function send(platform: RunningPlatform, some: readonly SentEvent[]): Promise<void> {
  for (const [stream, all] of Map.groupBy(some, (event) => event.stream))
    for (let i = 0; i < all.length; i += 2_000) {
      const { status } = await platform.post(stream, all.slice(i, i + 2_000).map(({ line }) => line)); // biome-ignore format: one request
      assert.equal(status, 202);
    }
}

async function stored(platform: RunningPlatform): Promise<void> {
  for (let tries = 0; ; tries++) {
    const { body } = await platform.get<{ hops: { pending: number }[] }>("/v1/ledger");
    if (!body.hops.some(({ pending }) => pending > 0)) return;
    assert.ok(tries < 300, "events stay pending");
    await sleep(200);
  }
}
