import { type Definition, define } from "./definition.ts";
import type { PostgresOptions } from "./serving.ts";

export interface TableOptions {
  /** One SELECT over streams and tables, in plain SQL (DuckDB's dialect). */
  readonly sql: string;
  /** Name -> condition over the table's columns. A row for which one is false is dead-lettered with the check's name. */
  readonly checks?: Readonly<Record<string, string>>;
  /**
   * Columns or expressions over the table's columns by whose values its files are divided. `"date(placed_at)"` makes a column
   * `placed_at_date`; `{ day: "date(placed_at)" }` names it.
   */
  readonly partitionBy?: readonly (string | Readonly<Record<string, string>>)[] | Readonly<Record<string, string>>;
  /**
   * How a table that combines rows is brought up to date: as a whole, or only where new rows touch it. `by` names columns of the
   * table and the expression over an input that gives each: `{ by: { day: "date(placed_at)" } }`.
   */
  readonly refresh?: "full" | { readonly by: Readonly<Record<string, string>> };
  /** Keeps only the newest row for each value of these columns. Needs `latest`. */
  readonly key?: readonly string[];
  /** Column that says which row of a key is the newest; `_offset` is the order of arrival. */
  readonly latest?: string;
  /** Boolean column: a newest row in which it is true removes the key. */
  readonly tombstone?: string;
  /**
   * How long the table may go without new rows, as `"15m"`: beyond it the console marks it, and the metric `millrace_table_overdue_seconds` is
   * more than 0. It changes nothing of what is computed.
   */
  readonly freshness?: string;
  /** Publishes the table to PostgreSQL, where BI tools read it. */
  readonly serve?: "postgres" | { readonly postgres: PostgresOptions };
  /**
   * Which engine computes the table: the embedded one (`duckdb`), or Spark where the setting `sparkUrl` names a server and the embedded one
   * otherwise. Not given: Spark for inputs of `sparkMinInputBytes` and more, where that is set. Only for tables that combine rows.
   */
  readonly engine?: "duckdb" | "spark";
  /**
   * The same statement in Spark's own SQL, where `sql` uses what has no exact counterpart there. It names streams and tables behind FROM and
   * JOIN, the same as `sql`, and gives the same columns; `sql` stays what queries and the embedded engine compute.
   */
  readonly spark?: string;
}

export type TableDefinition = Definition<"table", TableOptions>;

/**
 * Defines a table: `export const clean = table("silver.orders", { sql: "select * from orders" })`.
 *
 * The name is `schema.table`; `silver` is for typed and checked rows, `gold` for consumers, and any other schema is yours, but for the
 * platform's own. The SQL decides how the table follows its inputs: row by row as events come, or by a refresh when it
 * combines rows. Mistakes are reported when the project loads.
 */
export function table(name: string, options: TableOptions): TableDefinition {
  return define("table", name, options, table);
}
