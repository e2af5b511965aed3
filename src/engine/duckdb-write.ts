import { randomUUID } from "node:crypto";
import { constants, copyFile, mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Column, ColumnType } from "../define/project.ts";
import { quoteIdentifier, quoteLiteral } from "../define/sql-text.ts";
import { duckdbType } from "../define/types.ts";
import type { Connections } from "./duckdb-connections.ts";
import { type CopiedFile, fileStats } from "./duckdb-file-stats.ts";
import { Run } from "./duckdb-run.ts";
import { columnType, typeText } from "./duckdb-types.ts";
import { readColumn } from "./duckdb-values.ts";
import type { RunOptions, WriteTarget, WrittenFile } from "./sql-engine.ts";

/**
 * Writes a statement's rows as Parquet, in the platform's types: instants in UTC microseconds, free JSON as text, the wide
 * integers of a sum as decimals (DuckDB alone would write them as doubles). When it fails, its files are gone again.
 */
export async function writeFiles(
  connections: Connections,
  sql: string,
  target: WriteTarget,
  options: RunOptions,
): Promise<WrittenFile[]> {
  const partitionColumns = target.partitionColumns ?? [];
  const run = await Run.begin(connections, sql, options);
  const scratch: string[] = [];
  let clean = false;
  try {
    const { select, columns } = await storedSelect(run, sql);
    const single = partitionColumns.length === 0;
    const place = single ? await target.path({}) : join(connections.tempDir, `write-${randomUUID()}`);
    scratch.push(place);
    await mkdir(single ? dirname(place) : connections.tempDir, { recursive: true });
    const copied = await copy(run, select, place, partitionColumns, target.compression ?? "zstd");
    clean = true;
    const files: WrittenFile[] = [];
    for (const file of copied) {
      if (file.rowCount === 0) continue;
      const partition = serialised(file.partition, columns);
      const path = single ? place : await target.path(partition);
      if (!single) {
        scratch.push(path);
        await move(file.path, path);
      }
      files.push({ path, sizeBytes: file.sizeBytes, partition, stats: fileStats(file, columns) });
    }
    scratch.splice(0, scratch.length, ...(single && files.length > 0 ? [] : [place]));
    options.onProgress?.(1);
    return files;
  } finally {
    run.end(clean);
    for (const path of scratch) await rm(path, { recursive: true, force: true });
  }
}

/** The statement with each column cast to the type that is stored, where it is not of that type already. */
async function storedSelect(run: Run, sql: string): Promise<{ select: string; columns: Column[] }> {
  const prepared = await run.step(() => run.connection.prepare(sql));
  let same = true;
  const columns: Column[] = [];
  const list: string[] = [];
  for (let i = 0; i < prepared.columnCount; i++) {
    const given = prepared.columnType(i);
    const name = prepared.columnName(i);
    const type = columnType(given);
    const stored = duckdbType(withoutJson(type));
    same &&= stored === typeText(given);
    columns.push({ name, type, nullable: true });
    list.push(`CAST(${quoteIdentifier(name)} AS ${stored}) AS ${quoteIdentifier(name)}`);
  }
  prepared.destroySync();
  return { select: same ? sql : `SELECT ${list.join(", ")} FROM (${sql}\n)`, columns };
}

/** Free JSON is a plain string in a Delta table, not Parquet's JSON type, which not every reader takes for one. */
function withoutJson(type: ColumnType): ColumnType {
  switch (type.kind) {
    case "json":
      return { kind: "string" };
    case "array":
      return { ...type, element: withoutJson(type.element) };
    case "map":
      return { ...type, value: withoutJson(type.value) };
    case "struct":
      return { ...type, fields: type.fields.map((field) => ({ ...field, type: withoutJson(field.type) })) };
    default:
      return type;
  }
}

async function copy(
  run: Run,
  select: string,
  place: string,
  partitionColumns: readonly string[],
  compression: string,
): Promise<CopiedFile[]> {
  const settings = [
    "FORMAT parquet",
    `COMPRESSION ${compression}`,
    ...(compression === "zstd" ? ["COMPRESSION_LEVEL 1"] : []),
    "RETURN_STATS",
    ...(partitionColumns.length === 0
      ? []
      : [`PARTITION_BY (${partitionColumns.map(quoteIdentifier).join(", ")})`, "WRITE_PARTITION_COLUMNS false"]),
  ];
  const text = `COPY (${select}\n) TO ${quoteLiteral(place)} (${settings.join(", ")})`;
  const result = await run.step(() => run.connection.run(text));
  const names = result.columnNames();
  const types = result.columnTypes();
  const files: CopiedFile[] = [];
  for (const chunk of await result.fetchAllChunks()) {
    const column = (name: string) => {
      const index = names.indexOf(name);
      return readColumn(chunk, index, types[index]!, "json");
    };
    const paths = column("filename");
    const counts = column("count");
    const sizes = column("file_size_bytes");
    const statistics = column("column_statistics");
    const partitions = column("partition_keys");
    paths.forEach((path, row) => {
      files.push({
        path: String(path),
        rowCount: Number(counts[row]),
        sizeBytes: Number(sizes[row]),
        statistics: statistics[row] as CopiedFile["statistics"],
        partition: (partitions[row] ?? {}) as CopiedFile["partition"],
      });
    });
  }
  return files;
}

/** Partition values in Delta's text form, which is DuckDB's but for the zone of an instant (always UTC here). */
function serialised(partition: CopiedFile["partition"], columns: readonly Column[]): Record<string, string | null> {
  return Object.fromEntries(
    Object.entries(partition).map(([name, value]) => {
      const isInstant = columns.find((column) => column.name === name)?.type.kind === "timestamp";
      return [name, isInstant && value !== null ? value.replace(/\+00$/, "") : value];
    }),
  );
}

async function move(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  try {
    await rename(from, to);
  } catch (error) {
    // The temporary folder can be on another disk than the lake.
    if ((error as NodeJS.ErrnoException).code !== "EXDEV") throw error;
    await copyFile(from, to, constants.COPYFILE_EXCL);
  }
}
