/** Statistics of the Parquet files that Spark wrote, from their footers, in the form in which the embedded engine reports those of its own. */
import { stat } from "node:fs/promises";
import type { Column } from "../../define/project.ts";
import { quoteIdentifier, quoteLiteral } from "../../define/sql-text.ts";
import { userError } from "../duckdb-errors.ts";
import type { CopiedFile } from "../duckdb-file-stats.ts";
import type { LocalSql } from "../sql-engine.ts";

interface Chunk {
  readonly path: string;
  readonly name: string;
  readonly row_group: bigint;
  readonly rows: bigint;
  readonly least: string | null;
  readonly most: string | null;
  readonly nulls: bigint | null;
}

/** The files with their row counts, sizes and, for each leaf that is in no list or map, its least and greatest value and nulls. */
export async function readFooters(
  local: LocalSql,
  paths: readonly string[],
  columns: readonly Column[],
): Promise<CopiedFile[]> {
  if (paths.length === 0) return [];
  const list = paths.map((path) => quoteLiteral(path)).join(", ");
  let chunks: Chunk[];
  try {
    chunks = (await local.rows(
      `SELECT file_name AS path, path_in_schema AS name, row_group_id AS row_group, row_group_num_rows AS rows,
         coalesce(stats_min_value, stats_min) AS least, coalesce(stats_max_value, stats_max) AS most, stats_null_count AS nulls
       FROM parquet_metadata([${list}])`,
    )) as unknown as Chunk[];
  } catch (error) {
    throw userError(error);
  }
  const leaves = leafTypes(columns);
  const byFile = Map.groupBy(chunks, ({ path }) => path);
  return await Promise.all(
    paths.map(async (path) => {
      const ofFile = byFile.get(path) ?? [];
      const { size } = await stat(path);
      const statistics: Record<string, Record<string, string>> = {};
      for (const [name, { key, kind }] of leaves) {
        const ofColumn = ofFile.filter((chunk) => chunk.name === name);
        if (ofColumn.length > 0) statistics[key] = merged(ofColumn, kind);
      }
      const groups = new Map(ofFile.map(({ row_group, rows }) => [row_group, Number(rows)]));
      const rowCount = [...groups.values()].reduce((sum, rows) => sum + rows, 0);
      return { path, rowCount, sizeBytes: size, statistics, partition: {} };
    }),
  );
}

/** Path of a leaf as Parquet has it (`a, b`) -> its quoted path and kind. */
function leafTypes(columns: readonly Column[]): Map<string, { key: string; kind: string }> {
  const found = new Map<string, { key: string; kind: string }>();
  const visit = (fields: readonly Column[], names: readonly string[]) => {
    for (const { name, type } of fields) {
      const path = [...names, name];
      if (type.kind === "struct") visit(type.fields, path);
      else if (type.kind !== "array" && type.kind !== "map")
        found.set(path.join(", "), { key: path.map(quoteIdentifier).join("."), kind: type.kind });
    }
  };
  visit(columns, []);
  return found;
}

/** Over all row groups. A bound that one of them lacks is not known of the file, unless it has nothing but nulls there. */
function merged(chunks: readonly Chunk[], kind: string): Record<string, string> {
  const counted = chunks.every(({ nulls }) => nulls !== null);
  const told = chunks.filter(({ nulls, rows }) => nulls === null || nulls < rows);
  const facts: Record<string, string> = {};
  if (counted) facts["null_count"] = String(chunks.reduce((sum, { nulls }) => sum + Number(nulls), 0));
  if (kind === "binary" || told.length === 0) return facts;
  const order = ORDERS[kind] ?? numbers;
  const least = told.map((chunk) => chunk.least);
  const most = told.map((chunk) => chunk.most);
  if (!least.includes(null)) facts["min"] = (least as string[]).reduce((a, b) => (order(b, a) < 0 ? b : a));
  if (!most.includes(null)) facts["max"] = (most as string[]).reduce((a, b) => (order(b, a) > 0 ? b : a));
  return facts;
}

function numbers(a: string, b: string): number {
  // Decimals and 64-bit integers beyond a double's digits are compared by their digits.
  const [x, y] = [Number(a), Number(b)];
  if (x !== y || !/^-?\d+(\.\d+)?$/.test(a) || !/^-?\d+(\.\d+)?$/.test(b)) return x - y;
  const places = Math.max(fraction(a), fraction(b));
  const difference = scaled(a, places) - scaled(b, places);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

function fraction(text: string): number {
  return (text.split(".")[1] ?? "").length;
}

function scaled(text: string, places: number): bigint {
  const [whole = "0", rest = ""] = text.split(".");
  return BigInt(whole + rest.padEnd(places, "0"));
}

function bytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Years of four digits sort as text; others have no statistics. */
const ORDERS: Readonly<Record<string, (a: string, b: string) => number>> = {
  string: bytes,
  json: bytes,
  date: bytes,
  timestamp: bytes,
  timestamp_ntz: bytes,
  boolean: bytes,
};
