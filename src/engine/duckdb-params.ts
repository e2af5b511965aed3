import type { DuckDBPreparedStatement } from "@duckdb/node-api";
import { MillraceError } from "../errors.ts";

/**
 * Binds `?` / `$1` from the left, and named `$name` from a single object. Whole numbers are BIGINT, others DOUBLE; objects
 * and arrays go in as the text of their JSON.
 * @throws SQL_FAILED when their number is not the statement's.
 */
export function bindParams(prepared: DuckDBPreparedStatement, params: readonly unknown[]): void {
  const wanted = prepared.parameterCount;
  if (wanted !== params.length) {
    const reason = `it takes ${wanted} parameter${wanted === 1 ? "" : "s"}, got ${params.length}`;
    throw new MillraceError("SQL_FAILED", { reason, place: "" });
  }
  params.forEach((value, index) => {
    bind(prepared, index + 1, value);
  });
}

function bind(prepared: DuckDBPreparedStatement, index: number, value: unknown): void {
  if (value === null || value === undefined) prepared.bindNull(index);
  else if (typeof value === "boolean") prepared.bindBoolean(index, value);
  else if (typeof value === "string") prepared.bindVarchar(index, value);
  else if (typeof value === "bigint") prepared.bindHugeInt(index, value);
  else if (typeof value === "number") {
    if (Number.isSafeInteger(value)) prepared.bindBigInt(index, BigInt(value));
    else prepared.bindDouble(index, value);
  } else if (value instanceof Uint8Array) prepared.bindBlob(index, value);
  else prepared.bindVarchar(index, JSON.stringify(value));
}
