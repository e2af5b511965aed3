/** Damage between two lives that a platform must mend by itself, with nothing acknowledged lost. */
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { storedTo, versionBefore } from "./lake-reader.ts";
import type { Random } from "./random.ts";

export type Damage = (dataDir: string, random: Random) => string | undefined | Promise<string | undefined>;

/** Each damages one file and returns its path below the data folder; undefined when there is nothing to damage yet. */
export const DAMAGES: Readonly<Record<string, Damage>> = {
  /** A write that never ended: half a line, or zeros where blocks were allocated and not written. */
  "torn tail of the log"(dataDir, random) {
    const file = random.pick(segments(dataDir, "last"));
    if (file === undefined) return undefined;
    const tail = random.chance(0.5) ? '{"order_id":"never acknowledged","la' : "\0".repeat(random.int(1, 5000));
    appendFileSync(join(dataDir, file), tail);
    if (random.chance(0.5)) appendFileSync(join(dataDir, indexOf(file)), '{"from":99');
    return file;
  },
  /** Of events that every table has: they are kept for replay, and nothing else needs them. */
  async "flipped bit in a stored segment of the log"(dataDir, random) {
    const stored: string[] = [];
    const all = segments(dataDir, "all");
    for (const file of all) {
      const [, stream = "", partition, first] = /^log\/(\w+)\/(\d+)\/(\d+)/.exec(file) ?? [];
      const next = all[all.indexOf(file) + 1];
      if (next === undefined || !next.startsWith(`log/${stream}/${partition}/`)) continue;
      const end = Number(/(\d{20})\.ndjson$/.exec(next)?.[1]);
      const tables = TABLES[stream];
      if (tables === undefined || Number(first) >= end) continue;
      const reached = await Promise.all(tables.map((table) => storedTo(dataDir, table, stream, Number(partition))));
      if (Math.min(...reached) >= end - 1) stored.push(file);
    }
    return flip(dataDir, random.pick(stored), random);
  },
  "flipped bit in the log's index"(dataDir, random) {
    const files = segments(dataDir, "all").map(indexOf);
    return flip(dataDir, random.pick(files), random);
  },
  "lost index of the log"(dataDir, random) {
    const file = random.pick(segments(dataDir, "all").map(indexOf));
    if (file === undefined) return undefined;
    rmSync(join(dataDir, file), { force: true });
    return file;
  },
  "flipped bit in the duplicate index"(dataDir, random) {
    return flip(dataDir, random.pick(filesBelow(dataDir, "dedupe")), random);
  },
  "lost duplicate index"(dataDir, random) {
    const file = random.pick(filesBelow(dataDir, "dedupe"));
    if (file === undefined) return undefined;
    rmSync(join(dataDir, file));
    return file;
  },
  /** Cut behind its first line, or not even that of a table that only takes events in or is computed. */
  async "damaged newest commit of a table"(dataDir, random) {
    const table = random.pick([
      "bronze.orders",
      "bronze.payments",
      "silver.orders",
      "silver.enriched",
      "silver.stock",
      "gold.daily",
    ]);
    const folder = `lake/${table.replace(".", "/")}/_delta_log`;
    const newest = filesBelow(dataDir, folder)
      .filter((path) => /\/\d{20}\.json$/.test(path))
      .at(-1);
    if (newest === undefined || !(await canGoBack(dataDir, table))) return undefined;
    const path = join(dataDir, newest);
    const bytes = readFileSync(path);
    const least = table.startsWith("silver.") ? bytes.indexOf(10) + 1 : 0;
    const kept = random.int(least, bytes.length - 2);
    writeFileSync(path, bytes.subarray(0, kept));
    return `${newest} (${kept} of ${bytes.length} bytes)`;
  },
  "garbled checkpoint hint"(dataDir, random) {
    const file = random.pick(filesBelow(dataDir, "lake").filter((path) => path.endsWith("_last_checkpoint")));
    if (file === undefined) return undefined;
    writeFileSync(join(dataDir, file), random.pick(["", "{", '{"version":99999999}', '{"version":"x"}']));
    return file;
  },
};

/** True when a table's version before the newest is whole, and the log has all that came after it. */
async function canGoBack(dataDir: string, table: string): Promise<boolean> {
  const before = await versionBefore(dataDir, table);
  if (before === undefined) return false;
  const stream = Object.keys(TABLES).find((name) => TABLES[name]?.includes(table));
  if (!before.files.every((file) => existsSync(join(dataDir, file)))) return false;
  if (stream === undefined) return true;
  const first = new Map<string, number>();
  for (const path of segments(dataDir, "all").toReversed()) {
    const [, of, partition = "", offset] = /^log\/(\w+)\/(\d+)\/(\d{20})/.exec(path) ?? [];
    if (of === stream) first.set(partition, Number(offset));
  }
  return [...first].every(
    ([partition, offset]) => (before.txn.get(`millrace:${stream}:${partition}`) ?? -1) + 1 >= offset,
  );
}

/** The tables that take a stream's events one by one. */
const TABLES: Readonly<Record<string, readonly string[]>> = {
  orders: ["bronze.orders", "silver.orders", "silver.enriched"],
  payments: ["bronze.payments", "silver.payments"],
  stock_levels: ["bronze.stock_levels", "silver.stock_levels", "silver.stock"],
};

/** Flips one bit of a file. */
export function flip(dataDir: string, file: string | undefined, random: Random): string | undefined {
  if (file === undefined) return undefined;
  const path = join(dataDir, file);
  const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
  if (bytes.length === 0) return undefined;
  const at = random.int(0, bytes.length - 1);
  bytes[at] = (bytes[at] as number) ^ (1 << random.int(0, 7));
  writeFileSync(path, bytes);
  return `${file} (byte ${at})`;
}

/** Data files of the log's segments, below the data folder: all, or the last one of each partition. */
export function segments(dataDir: string, which: "all" | "last"): string[] {
  const byFolder = new Map<string, string[]>();
  for (const path of filesBelow(dataDir, "log")) {
    if (!/\/\d{20}\.ndjson$/.test(path)) continue;
    const folder = path.slice(0, path.lastIndexOf("/"));
    byFolder.set(folder, [...(byFolder.get(folder) ?? []), path].sort());
  }
  return [...byFolder.values()].flatMap((paths) => (which === "all" ? paths : paths.slice(-1)));
}

/** Files of a folder of the data folder, with its subfolders, in the order of their names. */
export function filesBelow(dataDir: string, folder: string): string[] {
  if (!existsSync(join(dataDir, folder))) return [];
  const entries = readdirSync(join(dataDir, folder), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(dataDir, join(entry.parentPath, entry.name)))
    .sort();
}

function indexOf(segment: string): string {
  return segment.replace(/\.ndjson$/, ".index.ndjson");
}
