/**
 * The values of a refreshed table's `by` expressions that a set of changed rows touches, and the SQL conditions that pick
 * exactly the rows with those values: on the inputs by expression, on the output by column.
 */
import type { RefreshTable } from "../define/project.ts";
import { quoteIdentifier, quoteLiteral } from "../define/sql-text.ts";
import { duckdbType } from "../define/types.ts";
import type { Relation, SqlEngine } from "../engine/sql-engine.ts";
import type { DataFile } from "../lake/delta-table.ts";
import { type Predicate, pruneFiles } from "../lake/prune.ts";

/** With more touched values than this, naming each costs more than recomputing everything. */
const MOST_VALUES = 5000;

export interface Touched {
  /** SQL literals, one list per tuple, in the order of the table's `by`. */
  readonly tuples: readonly (readonly string[])[];
}

/** Undefined when there are too many values to name. */
export async function touchedValues(
  engine: SqlEngine,
  table: RefreshTable,
  changed: readonly Relation[],
): Promise<Touched | undefined> {
  const expressions = Object.values(table.by);
  const tuples = new Map<string, readonly string[]>();
  for (const relation of changed) {
    const list = expressions.map((expression, i) => `(${expression}) as k${i}`).join(", ");
    const result = await engine.query({
      sql: `select distinct ${list} from changed limit ${MOST_VALUES + 1}`,
      inputs: new Map([["changed", relation]]),
    });
    const types = result.columns.map((column) => duckdbType(column.type));
    for await (const rows of result.batches) {
      for (const row of rows) {
        const tuple = row.map((value, i) => (value === null ? "NULL" : `${quoteLiteral(String(value))}::${types[i]}`));
        tuples.set(tuple.join(), tuple);
      }
    }
    if (tuples.size > MOST_VALUES) return undefined;
  }
  return { tuples: [...tuples.values()] };
}

/** The condition on an input of the table. */
export function matchesInput(table: RefreshTable, touched: Touched): string {
  const exact = matches(
    Object.values(table.by).map((expression) => `(${expression})`),
    touched,
  );
  const range = dayRange(table, touched);
  return range ? `${range.sql} and ${exact}` : exact;
}

/** The condition on the table's own rows. */
export function matchesOutput(table: RefreshTable, touched: Touched): string {
  return matches(Object.keys(table.by).map(quoteIdentifier), touched);
}

/** What files of an input may be left out. */
export function inputPredicates(table: RefreshTable, touched: Touched): Predicate[] {
  const predicates = dayRange(table, touched)?.predicates ?? [];
  for (const [i, expression] of Object.values(table.by).entries()) {
    const values = touched.tuples.map((tuple) => plainValue(tuple[i] ?? "NULL"));
    const isColumn = /^\s*\w+\s*$/.test(expression);
    if (isColumn && !values.includes(undefined)) predicates.push({ column: expression.trim(), op: "in", values });
  }
  return predicates;
}

/** Stored files that may hold rows of the touched values. */
export function touchedFiles(table: RefreshTable, touched: Touched, files: readonly DataFile[]): readonly DataFile[] {
  const predicates: Predicate[] = [];
  for (const [i, column] of Object.keys(table.by).entries()) {
    const values = touched.tuples.map((tuple) => plainValue(tuple[i] ?? "NULL"));
    if (!values.includes(undefined)) predicates.push({ column, op: "in", values });
  }
  return pruneFiles(files, predicates);
}

/** The value of a text or date literal as statistics spell it; undefined for other types and for null. */
function plainValue(literal: string): string | undefined {
  const [, text, type] = /^'(.*)'::(\w+)$/s.exec(literal) ?? [];
  return type === "VARCHAR" || type === "DATE" ? text?.replaceAll("''", "'") : undefined;
}

function matches(terms: readonly string[], { tuples }: Touched): string {
  if (tuples.length === 0) return "false";
  const [only] = terms;
  if (terms.length === 1 && only !== undefined) {
    const values = tuples.map(([value]) => value).filter((value) => value !== "NULL");
    const hasNull = values.length < tuples.length;
    const some = values.length > 0 ? `${only} in (${values.join(", ")})` : "false";
    return hasNull ? `(${some} or ${only} is null)` : some;
  }
  const each = tuples.map((tuple) => `(${terms.map((t, i) => `${t} is not distinct from ${tuple[i]}`).join(" and ")})`);
  return `(${each.join(" or ")})`;
}

/**
 * `date(column)` keeps the order of the column, so the touched days bound the column itself: a condition by which
 * engines skip row groups and we skip files.
 */
function dayRange(table: RefreshTable, { tuples }: Touched): { sql: string; predicates: Predicate[] } | undefined {
  for (const [i, expression] of Object.values(table.by).entries()) {
    const column = /^\s*(?:date\(\s*(\w+)\s*\)|(\w+)\s*::\s*date)\s*$/i.exec(expression)?.slice(1).find(Boolean);
    const days = tuples.map((tuple) => /^'(\d{4}-\d\d-\d\d)'/.exec(tuple[i] ?? "")?.[1] ?? "").sort();
    const first = days[0];
    const last = days.at(-1);
    if (!column || !first || !last) continue;
    const after = new Date(Date.parse(`${last}T00:00:00Z`) + 86_400_000).toISOString();
    const name = quoteIdentifier(column);
    return {
      sql: `${name} >= '${first} 00:00:00+00'::timestamptz and ${name} < '${after}'::timestamptz`,
      predicates: [
        { column, op: ">=", value: `${first}T00:00:00.000Z` },
        { column, op: "<", value: after },
      ],
    };
  }
  return undefined;
}
