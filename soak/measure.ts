/** What is measured, and how much of it may grow. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { openFsStore } from "../src/lake/fs-store.ts";
import { openDeltaTable } from "../src/lake/open-delta-table.ts";
import type { Memory } from "./life.ts";
import type { Bound } from "./trend.ts";

const MIB = 1_048_576;

export interface Metric {
  readonly name: string;
  readonly unit: "MiB" | "ms" | "";
  /** Undefined: shown and not judged, for it grows with what is kept. */
  readonly bound: Bound | undefined;
}

/** A full garbage collection and a vacuum now and then make waves; what leaks outgrows them in a longer run. */
export const METRICS = {
  rss: { name: "memory: resident", unit: "MiB", bound: { share: 0.15, amount: 30 * MIB } },
  heap: { name: "memory: JavaScript heap, after collection", unit: "MiB", bound: { share: 0.15, amount: 8 * MIB } },
  native: { name: "memory: outside the heap (the SQL engine)", unit: "MiB", bound: { share: 0.2, amount: 40 * MIB } },
  openFiles: { name: "open files", unit: "", bound: { share: 0.1, amount: 8 } },
  load: { name: "load of the machine, per core", unit: "", bound: undefined },
  ingestP50: { name: "ingest, median", unit: "ms", bound: undefined },
  ingestP99: { name: "ingest, 99 %", unit: "ms", bound: undefined },
  ingestByLoad: { name: "ingest, median by load", unit: "ms", bound: { share: 1, amount: 25 } },
  queryP50: { name: "query, median", unit: "ms", bound: undefined },
  queryP99: { name: "query, 99 %", unit: "ms", bound: undefined },
  queryByLoad: { name: "query, median by load", unit: "ms", bound: { share: 1, amount: 100 } },
  log: { name: "disk: log", unit: "MiB", bound: { share: 0.25, amount: 3 * MIB } },
  kept: { name: "disk: rows that tables keep", unit: "MiB", bound: undefined },
  past: { name: "disk: lake beside those", unit: "MiB", bound: { share: 0.3, amount: 4 * MIB } },
  entries: { name: "entries of the tables' logs", unit: "", bound: { share: 0.3, amount: 100 } },
  files: { name: "data files of the tables' newest versions", unit: "", bound: { share: 0.5, amount: 60 } },
  dedupe: { name: "disk: duplicate indexes", unit: "MiB", bound: { share: 0.25, amount: 2 * MIB } },
  tmp: { name: "disk: tmp", unit: "MiB", bound: { share: 0.25, amount: 4 * MIB } },
  postgres: { name: "disk: postgres", unit: "MiB", bound: { share: 0.25, amount: 32 * MIB } },
  allFiles: { name: "files in the data folder", unit: "", bound: { share: 0.3, amount: 200 } },
} as const satisfies Record<string, Metric>;

export type MetricName = keyof typeof METRICS;
export type Sample = Readonly<Partial<Record<MetricName, number>>>;

export async function measure(dataDir: string, pid: number, memory: Memory): Promise<Sample> {
  const disk = await Promise.all(
    ["log", "lake", "dedupe", "tmp", "postgres"].map((name) => below(join(dataDir, name))),
  );
  const [log, lake, dedupe, tmp, postgres] = disk;
  const tables = await keptByTables(join(dataDir, "lake"));
  const openFiles = await readdir(`/proc/${pid}/fd`).catch(() => undefined); // only Linux tells
  return {
    ...{ rss: memory.rss, heap: memory.heapUsed, native: memory.rss - memory.heapUsed - memory.external },
    ...(openFiles && { openFiles: openFiles.length }),
    ...{ log: log!.bytes, dedupe: dedupe!.bytes, tmp: tmp!.bytes, postgres: postgres!.bytes },
    ...{ kept: tables.bytes, files: tables.files, entries: tables.entries, past: lake!.bytes - tables.bytes },
    allFiles: disk.reduce((sum, { files }) => sum + files, 0),
  };
}

/**
 * Medians as they would be on a machine with nothing else to do: where more wants to run than there are cores, everything
 * takes that much longer.
 */
export function byLoad(load: number, ingestMs: number | undefined, queryMs: number | undefined): Sample {
  const crowd = Math.max(1, load);
  return {
    load,
    ...(ingestMs !== undefined && { ingestByLoad: ingestMs / crowd }),
    ...(queryMs !== undefined && { queryByLoad: queryMs / crowd }),
  };
}

/** Median and 99 % of a list of milliseconds. */
export function quantiles(values: readonly number[]): { p50: number; p99: number } | undefined {
  if (values.length === 0) return undefined;
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}

async function below(dir: string): Promise<{ bytes: number; files: number }> {
  let bytes = 0;
  let files = 0;
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    // Files come and go while they are counted.
    const facts = await stat(join(entry.parentPath, entry.name)).catch(() => undefined);
    if (!facts) continue;
    bytes += facts.size;
    files++;
  }
  return { bytes, files };
}

async function keptByTables(root: string): Promise<{ bytes: number; files: number; entries: number }> {
  const store = await openFsStore(root);
  const sums = { bytes: 0, files: 0, entries: 0 };
  for (const schema of await readdir(root)) {
    if (schema.startsWith(".")) continue;
    for (const table of await readdir(join(root, schema))) {
      const location = `${schema}/${table}`;
      const snapshot = await openDeltaTable(store, location).snapshot();
      sums.bytes += snapshot?.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) ?? 0;
      sums.files += snapshot?.files.length ?? 0;
      sums.entries += (await readdir(join(root, location, "_delta_log"))).length;
    }
  }
  return sums;
}
