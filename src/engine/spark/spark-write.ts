/** A statement's rows as Parquet files that Spark writes and the platform takes. */
import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import type { Column, ColumnType } from "../../define/project.ts";
import { quoteSparkName } from "../../define/sql-text.ts";
import { sparkType } from "../../define/types.ts";
import { fileStats } from "../duckdb-file-stats.ts";
import type { LocalSql, RunOptions, WriteTarget, WrittenFile } from "../sql-engine.ts";
import type { ConnectRelation, ConnectWrite } from "./connect-protocol.ts";
import type { SparkFile, SparkFiles, SparkPlace } from "./spark-files.ts";
import { readFooters } from "./spark-footers.ts";
import type { SparkSession } from "./spark-session.ts";
import { fieldsOf, needsCast, sparkColumns } from "./spark-types.ts";

export interface SparkWriter {
  readonly session: SparkSession;
  readonly files: SparkFiles;
  /** Reads the footers of what was written. */
  readonly local: LocalSql;
}

/** Writes the rows of a relation. When it fails, its files are gone again. */
export async function writeWithSpark(
  { session, files, local }: SparkWriter,
  relation: ConnectRelation,
  target: WriteTarget,
  options: RunOptions,
): Promise<WrittenFile[]> {
  const partitionColumns = target.partitionColumns ?? [];
  const schema = await session.analyze({ root: relation });
  const columns = sparkColumns(schema);
  const casts = fieldsOf(schema).some(({ dataType }) => needsCast(dataType));
  const input = casts || partitionColumns.length > 0 ? shapedFor(relation, columns, partitionColumns) : relation;
  const places: SparkPlace[] = [];
  const scratch: string[] = [];
  try {
    const plan = async () => {
      // A try that was lost may still be writing where it was told to.
      const place = await files.place();
      places.push(place);
      return { command: writeOperation(input, place, partitionColumns, target.compression ?? "zstd") };
    };
    for await (const _ of session.run(plan, options)); // its responses are progress
    const found = await files.written(places.at(-1) as SparkPlace);
    const byPath = new Map(found.map((file) => [file.path, file]));
    const stored = columns.filter(({ name }) => !partitionColumns.includes(name));
    const written: WrittenFile[] = [];
    for (const copied of await readFooters(local, [...byPath.keys()], stored)) {
      if (copied.rowCount === 0) continue;
      const file = byPath.get(copied.path) as SparkFile;
      const partition = partitionOf(file, partitionColumns, columns);
      const path = await target.path(partition);
      scratch.push(path);
      await files.take(file, path);
      written.push({ path, sizeBytes: copied.sizeBytes, partition, stats: fileStats(copied, stored) });
    }
    scratch.length = 0;
    options.onProgress?.(1);
    return written;
  } finally {
    for (const path of scratch) await rm(path, { force: true });
    for (const place of places) await files.remove(place);
  }
}

function writeOperation(
  input: ConnectRelation,
  place: SparkPlace,
  partitionColumns: readonly string[],
  compression: string,
): ConnectWrite {
  return {
    writeOperation: {
      input,
      source: "parquet",
      path: place.uri,
      mode: "SAVE_MODE_ERROR_IF_EXISTS",
      partitioningColumns: partitionColumns.map((_, i) => `__p${i}`),
      options: { compression },
    },
  };
}

/**
 * The rows in the types that are stored. A partition column of texts is written behind a mark, `v…` or `n` for null: in the names of Spark's folders
 * null and the empty text are one. Others stay what they are, for Spark sorts rows by them before it writes: by numbers that takes no time, and by
 * texts that begin alike as long as the rest of the job.
 */
function shapedFor(
  relation: ConnectRelation,
  columns: readonly Column[],
  partitionColumns: readonly string[],
): ConnectRelation {
  const list = columns
    .filter(({ name }) => !partitionColumns.includes(name))
    .map(({ name, type }) => `CAST(${quoteSparkName(name)} AS ${sparkType(type)}) AS ${quoteSparkName(name)}`);
  for (const [i, wanted] of partitionColumns.entries()) {
    const column = columns.find(({ name }) => name === wanted) ?? { name: wanted, type: { kind: "string" } as const };
    const name = quoteSparkName(column.name);
    if (!isMarked(column.type)) {
      list.push(`CAST(${name} AS ${sparkType(column.type)}) AS __p${i}`);
      continue;
    }
    const text = column.type.kind === "binary" ? `hex(${name})` : `CAST(${name} AS STRING)`;
    list.push(`CASE WHEN ${name} IS NULL THEN 'n' ELSE concat('v', ${text}) END AS __p${i}`);
  }
  const alias = `__w${randomBytes(6).toString("hex")}`;
  return {
    withRelations: {
      root: { sql: { query: `SELECT ${list.join(", ")} FROM ${alias}` } },
      references: [{ subqueryAlias: { alias, input: relation } }],
    },
  };
}

/** Partition values in Delta's text form, which is Spark's. */
function partitionOf(
  file: SparkFile,
  partitionColumns: readonly string[],
  columns: readonly Column[],
): Record<string, string | null> {
  return Object.fromEntries(
    partitionColumns.map((name, i) => {
      const folder = file.folders.find((one) => one.startsWith(`__p${i}=`)) ?? "";
      const value = unescaped(folder.slice(folder.indexOf("=") + 1));
      const type: ColumnType = columns.find((column) => column.name === name)?.type ?? { kind: "string" };
      if (!isMarked(type)) return [name, value === HIVE_NULL ? null : value];
      const text = type.kind === "binary" ? Buffer.from(value.slice(1), "hex").toString("latin1") : value.slice(1);
      return [name, value === "n" ? null : text];
    }),
  );
}

/** Whose values can be empty, or the name of null. */
function isMarked({ kind }: ColumnType): boolean {
  return kind === "string" || kind === "json" || kind === "binary";
}

const HIVE_NULL = "__HIVE_DEFAULT_PARTITION__";

/** Spark writes what a file system may not like in a name as %XX. */
function unescaped(name: string): string {
  return name.replaceAll(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
