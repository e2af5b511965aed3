/**
 * What a table's data files really hold, counted once per file: a file never changes, so whatever a flush, a retry, a compaction or a
 * replay does to a table is a matter of which files it has, and the count of the whole table is the sum over them. A round therefore
 * costs what is new and not what is there.
 *
 * Of an append table only the columns that name the event are read, of others only the number of rows.
 */
import type { Column } from "../../define/project.ts";
import type { Relation, SqlEngine, Statement } from "../../engine/sql-engine.ts";
import { MillraceError } from "../../errors.ts";
import type { DataFile } from "../../lake/delta-table.ts";
import type { LakeTable, LakeTables } from "../lake-tables.ts";
import { selectRows } from "../select-rows.ts";

/** The rows of one partition of the log in a file, or in several. */
export interface Count {
  rows: number;
  /** Different offsets. */
  events: number;
  min: number;
  max: number;
  /** Of all offsets: with number and bounds it tells a whole run of events from one with others in place of some. */
  sum: bigint;
  /** Rows that are second arrivals; only bronze has them. */
  duplicates: number;
}

export interface FileCount {
  readonly rows: number;
  /** By partition of the log; empty for a table whose rows do not name an event. */
  readonly partitions: ReadonlyMap<number, Count>;
  readonly countedAtMs: number;
}

/** Why a file could not be counted. */
export interface Unreadable {
  readonly unreadable: string;
  readonly countedAtMs: number;
}

export interface FileToCount {
  readonly table: LakeTable;
  readonly file: DataFile;
}

export interface CountOptions {
  readonly engine: SqlEngine;
  readonly lake: LakeTables;
  readonly clock: () => number;
  readonly signal: AbortSignal;
  /** How often the files have been read before: the engine trusts what it remembers of a path, so a path is written anew each time. */
  readonly pass: number;
}

/** Counts files, in their order. @throws what says nothing about the files: QUERY_OUT_OF_MEMORY, QUERY_CANCELLED, SHUTTING_DOWN. */
export async function countFiles(o: CountOptions, files: readonly FileToCount[]): Promise<(FileCount | Unreadable)[]> {
  if (files.length === 0) return [];
  try {
    return await countTogether(o, files);
  } catch (error) {
    if (!(error instanceof MillraceError) || !ABOUT_FILES.has(error.code)) throw error;
    if (files.length === 1) return [{ unreadable: error.message, countedAtMs: o.clock() }];
    const counted: (FileCount | Unreadable)[] = [];
    for (const file of files) counted.push(...(await countFiles(o, [file])));
    return counted;
  }
}

/** Sums counts of files that hold different events. */
export function sumCounts(counts: Iterable<FileCount>, partition: number): Count {
  const sum: Count = { rows: 0, events: 0, min: Number.POSITIVE_INFINITY, max: -1, sum: 0n, duplicates: 0 };
  for (const { partitions } of counts) {
    const count = partitions.get(partition);
    if (!count) continue;
    sum.rows += count.rows;
    sum.events += count.events;
    sum.min = Math.min(sum.min, count.min);
    sum.max = Math.max(sum.max, count.max);
    sum.sum += count.sum;
    sum.duplicates += count.duplicates;
  }
  return sum;
}

/** Some columns of files, as an engine reads them that has never seen them. */
export function freshFiles(
  lake: LakeTables,
  table: LakeTable,
  files: readonly DataFile[],
  columns: readonly Column[],
  pass: number,
): Relation {
  const relation = lake.relation(table, table.snapshot, files);
  if (relation.kind !== "files") return relation;
  const again = (path: string) => path.replace(/\/([^/]*)$/, `${"/.".repeat(pass % LONGEST_WAY)}/$1`);
  return { ...relation, columns, files: relation.files.map((file) => ({ ...file, path: again(file.path) })) };
}

/** By the time a path comes round again, what was remembered of it has given way to newer things or is hours old. */
const LONGEST_WAY = 64;

/** The engine could not read a file, or what it read is no Parquet. */
const ABOUT_FILES = new Set(["ENGINE_IO", "SQL_FAILED"]);

const EVENT_COLUMNS = ["_partition", "_offset", "_duplicate_of"];

async function countTogether(o: CountOptions, files: readonly FileToCount[]): Promise<FileCount[]> {
  const inputs = new Map<string, Relation>();
  const parts = files.map((file, i) => {
    const { columns, definition } = file.table;
    const stored =
      definition?.mode === "refresh" ? [] : columns.filter((column) => EVENT_COLUMNS.includes(column.name));
    const read = stored.length > 0 ? stored : columns.slice(0, 1);
    const of = (name: string) => (stored.some((column) => column.name === name) ? name : "null");
    inputs.set(`file_${i}`, freshFiles(o.lake, file.table, [file.file], read, o.pass));
    return `select ${i} as i, ${of("_partition")}::integer as p, ${of("_offset")}::bigint as o, ${of("_duplicate_of")}::bigint as d
      from file_${i}`;
  });
  const statement: Statement = {
    sql: `select i, p, count(*) as n, count(distinct o) as events, min(o) as low, max(o) as high, sum(o)::varchar as total,
        count(d) as duplicates from (${parts.join(" union all ")}) group by i, p`,
    inputs,
  };
  const found = await selectRows(o.engine, statement, { signal: o.signal });
  const counts = files.map(() => ({ rows: 0, partitions: new Map<number, Count>() }));
  for (const row of found) {
    const count = counts[Number(row["i"])];
    if (!count) continue;
    const rows = Number(row["n"]);
    count.rows += rows;
    if (row["p"] === null || row["low"] === null) continue;
    count.partitions.set(Number(row["p"]), {
      rows,
      events: Number(row["events"]),
      min: Number(row["low"]),
      max: Number(row["high"]),
      sum: BigInt(String(row["total"])),
      duplicates: Number(row["duplicates"]),
    });
  }
  return counts.map((count) => ({ ...count, countedAtMs: o.clock() }));
}
