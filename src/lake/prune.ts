import { boundOf, compareBound, type Order, type Side } from "./bounds.ts";
import type { DataFile } from "./delta-table.ts";

/**
 * A condition on one column that every wanted row meets. Values are JSON values as an engine gives them: numbers or bigints,
 * texts, booleans; decimals, dates and timestamps (ISO 8601) as text.
 */
export type Predicate =
  | { readonly column: string; readonly op: "=" | "<" | "<=" | ">" | ">="; readonly value: unknown }
  | { readonly column: string; readonly op: "in"; readonly values: readonly unknown[] }
  | { readonly column: string; readonly op: "is null" | "is not null" };

/**
 * The files that may hold a row which meets all predicates, by their partition values and statistics. Never leaves out a file
 * that holds one: where a bound is missing, was cut or rounded, or can be read in two ways, the file stays.
 */
export function pruneFiles(files: readonly DataFile[], predicates: readonly Predicate[]): readonly DataFile[] {
  if (predicates.length === 0) return files;
  return files.filter((file) => predicates.every((predicate) => mayMatch(file, predicate)));
}

function mayMatch(file: DataFile, predicate: Predicate): boolean {
  const { column } = predicate;
  const nulls = nullsOf(file, column);
  if (predicate.op === "is null") return nulls !== "none";
  // A comparison with null is never true.
  if (nulls === "all") return false;
  switch (predicate.op) {
    case "is not null":
      return true;
    case "in":
      return predicate.values.some((value) => inRange(file, column, value));
    case "=":
      return inRange(file, column, predicate.value);
    case "<":
      return !is(order(file, column, "min", predicate.value), "above", "equal");
    case "<=":
      return !is(order(file, column, "min", predicate.value), "above");
    case ">":
      return !is(order(file, column, "max", predicate.value), "below", "equal");
    case ">=":
      return !is(order(file, column, "max", predicate.value), "below");
  }
}

function inRange(file: DataFile, column: string, value: unknown): boolean {
  return !is(order(file, column, "min", value), "above") && !is(order(file, column, "max", value), "below");
}

/** Where a bound of the column's values in this file lies, seen from `value`. */
function order(file: DataFile, column: string, side: Side, value: unknown): Order {
  const partition = partitionValue(file, column);
  const stat = partition === undefined ? file.stats?.[side][column] : partition;
  return compareBound(boundOf(stat, side, partition !== undefined), value);
}

function is(found: Order, ...orders: Order[]): boolean {
  return orders.includes(found);
}

function nullsOf(file: DataFile, column: string): "none" | "some" | "all" | "unknown" {
  const partition = partitionValue(file, column);
  if (partition !== undefined) return partition === null ? "all" : "none";
  const count = file.stats?.nullCount[column];
  if (typeof count !== "number") return "unknown";
  if (count === 0) return "none";
  return count === file.stats?.rowCount ? "all" : "some";
}

/** Undefined when the column is none that the table is partitioned by. */
function partitionValue(file: DataFile, column: string): string | null | undefined {
  return Object.hasOwn(file.partition, column) ? file.partition[column] : undefined;
}
