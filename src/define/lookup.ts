import type { TableDefinition } from "./table.ts";

export interface LookupOptions {
  /** Column whose values rows are found by. */
  readonly key: string;
  /**
   * Column that says from when on a row holds. With it, `get(key, time)` gives the newest row of the key that holds at the time, and
   * the table should keep history; without it, a key has one row.
   */
  readonly asOf?: string;
  /** Columns that are kept. Default: all. */
  readonly columns?: readonly string[];
  /** Most rows that are kept in memory. Default 1,000,000. */
  readonly maxRows?: number;
}

/** A table that a function looks rows up in, by a column. `Row` is for the compiler alone. */
export interface Lookup<Row = Readonly<Record<string, unknown>>> {
  readonly [LOOKUP]: true;
  /** `silver.traffic` */
  readonly table: string;
  readonly options: LookupOptions;
  readonly row?: Row;
}

export const LOOKUP = Symbol.for("millrace.lookup");

/**
 * Names a table to look rows up in: `on(telemetry, { lookups: { service: lookup("silver.last_service", { key: "vehicle_id" }) } }, (event, ctx) => {
 * ctx.lookups.service.get(event.vehicle_id) })`.
 *
 * The function has a copy in its memory, which follows each commit of the table; what is acknowledged and not yet committed is not in it. What a
 * look-up gives depends on when it is asked: a function that is called again after a crash may see a newer row.
 */
export function lookup<Row = Readonly<Record<string, unknown>>>(
  table: string | TableDefinition,
  options: LookupOptions,
): Lookup<Row> {
  return Object.freeze({ [LOOKUP]: true as const, table: typeof table === "string" ? table : table.name, options });
}

/** What `ctx.lookups.<name>` is. */
export interface LookupRows<Row> {
  /**
   * The row of the key, or, with `asOf`, its newest row that holds at `at` (ISO 8601, Date or milliseconds; without it: the newest of all).
   * Rows are frozen; timestamps are ISO 8601 text, decimals text.
   * @throws LOOKUP_UNAVAILABLE when the table could not be read
   */
  get(key: string | number | undefined | null, at?: string | number | Date): Row | undefined;
  /** Rows in the copy. */
  readonly size: number;
}
