/**
 * The fleet's silver job through the platform's own means, on whichever engine: cleanse and deduplicate the raw records into a Delta table divided by
 * day, then hourly metrics of it into another. The engine writes the files, the lake commits them, as a refresh does.
 */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { Column } from "../../src/define/project.ts";
import type { Relation, SqlEngine, Statement } from "../../src/engine/sql-engine.ts";
import type { DeltaTable } from "../../src/lake/delta-table.ts";
import { dataFilePath } from "../../src/lake/file-path.ts";
import { openFsStore } from "../../src/lake/fs-store.ts";
import type { ObjectStore } from "../../src/lake/object-store.ts";
import { openDeltaTable } from "../../src/lake/open-delta-table.ts";

const column = (name: string, kind: "string" | "double" | "timestamp" | "boolean" | "date" | "long"): Column => ({
  name,
  type: { kind },
  nullable: true,
});

export const RAW_COLUMNS: readonly Column[] = [
  column("vehicle_id", "string"),
  column("driver_id", "string"),
  column("recorded_at", "timestamp"),
  column("received_at", "timestamp"),
  ...["latitude", "longitude", "speed_kmh", "rpm", "fuel_pct", "odometer_km", "coolant_c", "acceleration_g"].map(
    (name) => column(name, "double"),
  ),
];

const VALUES = RAW_COLUMNS.map(({ name }) => name).filter((name) => name !== "vehicle_id" && name !== "recorded_at");

const SILVER = `select vehicle_id, recorded_at, ${VALUES.map((name) => `any_value(${name}) as ${name}`).join(", ")},
  date_trunc('hour', recorded_at) as hour,
  coalesce(any_value(acceleration_g) < -0.5, false) as hard_brake,
  coalesce(any_value(coolant_c) > 120, false) as overheated,
  date(recorded_at) as day
from raw
where (rpm is null or rpm between 0 and 8000) and recorded_at < received_at + interval 1 day
group by vehicle_id, recorded_at`;

const SILVER_COLUMNS: readonly Column[] = [
  column("vehicle_id", "string"),
  column("recorded_at", "timestamp"),
  ...RAW_COLUMNS.filter(({ name }) => VALUES.includes(name)),
  column("hour", "timestamp"),
  column("hard_brake", "boolean"),
  column("overheated", "boolean"),
  column("day", "date"),
];

const GOLD = `select vehicle_id, hour, avg(rpm) as average_rpm, min(fuel_pct) as lowest_fuel_pct, max(odometer_km) as highest_odometer_km,
  count(*) as records, count(*) filter (hard_brake) as hard_brakes, count(*) filter (overheated) as overheated
from silver group by vehicle_id, hour`;

const GOLD_COLUMNS: readonly Column[] = [
  column("vehicle_id", "string"),
  column("hour", "timestamp"),
  ...["average_rpm", "lowest_fuel_pct", "highest_odometer_km"].map((name) => column(name, "double")),
  ...["records", "hard_brakes", "overheated"].map((name) => column(name, "long")),
];

export interface JobTimes {
  readonly silverSeconds: number;
  readonly goldSeconds: number;
  readonly seconds: number;
  /** Seconds of CPU that all processes took which worked on it: what else the machine does changes them little. */
  readonly cpuSeconds: number;
  readonly rows: number;
  readonly groups: number;
}

/** Runs the job over raw files into new tables below `lake`. `cpuSeconds`: what the processes that work on it have taken so far. */
export async function silverJob(
  engine: SqlEngine,
  raw: readonly string[],
  lake: string,
  cpuSeconds: () => number,
): Promise<JobTimes> {
  const store = await openFsStore(lake);
  const files: Relation = {
    kind: "files",
    columns: RAW_COLUMNS,
    files: raw.map((path) => ({ path, partition: {}, rowCount: 1_000_000 })),
  };
  const cpuBefore = cpuSeconds();
  const startedMs = performance.now();
  const silver = await written(engine, store, lake, "silver", SILVER_COLUMNS, ["day"], {
    sql: SILVER,
    inputs: new Map([["raw", files]]),
  });
  const silverMs = performance.now();
  const gold = await written(engine, store, lake, "gold", GOLD_COLUMNS, [], {
    sql: GOLD,
    inputs: new Map([["silver", silver.relation]]),
  });
  const endedMs = performance.now();
  return {
    silverSeconds: (silverMs - startedMs) / 1000,
    goldSeconds: (endedMs - silverMs) / 1000,
    seconds: (endedMs - startedMs) / 1000,
    cpuSeconds: cpuSeconds() - cpuBefore,
    rows: silver.rows,
    groups: gold.rows,
  };
}

async function written(
  engine: SqlEngine,
  store: ObjectStore,
  lake: string,
  name: string,
  columns: readonly Column[],
  partitionColumns: readonly string[],
  statement: Statement,
): Promise<{ relation: Relation; rows: number }> {
  const delta: DeltaTable = openDeltaTable(store, name, { clock: Date.now });
  await delta.commit({
    operation: "CREATE",
    readVersion: -1,
    schema: { columns, partitionColumns },
    configuration: {},
  });
  const keys = new Map<string, string>();
  const files = await engine.write(statement, {
    partitionColumns,
    path: async (partition) => {
      const file = dataFilePath(partition, randomUUID());
      const path = await store.stage(`${name}/${file}`);
      keys.set(path, file);
      return path;
    },
  });
  const add = await Promise.all(
    files.map(async ({ path, partition, stats }) => {
      const file = keys.get(path) as string;
      const { sizeBytes, modifiedAtMs, checksum } = await store.publish(`${name}/${file}`);
      return { path: file, sizeBytes, modifiedAtMs, partition, stats, checksum };
    }),
  );
  await delta.commit({ operation: "REFRESH", readVersion: 0, add });
  const relation: Relation = {
    kind: "files",
    columns,
    files: add.map(({ path, partition, stats, sizeBytes }) => ({
      path: join(lake, name, path),
      partition,
      rowCount: stats.rowCount,
      sizeBytes,
    })),
  };
  return { relation, rows: add.reduce((sum, { stats }) => sum + stats.rowCount, 0) };
}
