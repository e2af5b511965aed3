import type { DuckDBPreparedStatement } from "@duckdb/node-api";
import { MillraceError } from "../errors.ts";

/**
 * Binds `?` from the left, `$1` by its number. Whole numbers are BIGINT, others DOUBLE; objects and arrays go in as the text
 * of their JSON.
 * @throws SQL_FAILED when there are more or fewer than the statement uses.
 */
export function bindParams(prepared: DuckDBPreparedStatement, params: readonly unknown[]): void {
  const numbers = Array.from({ length: prepared.parameterCount }, (_, i) => Number(prepared.parameterName(i + 1)));
  if (numbers.some(Number.isNaN)) {
    throw new MillraceError("SQL_FAILED", { reason: "parameters are written ? or $1, $2…, without names", place: "" });
  }
  const wanted = Math.max(0, ...numbers);
  if (wanted !== params.length) {
    const reason = `it takes ${wanted} parameter${wanted === 1 ? "" : "s"}, got ${params.length}`;
    throw new MillraceError("SQL_FAILED", { reason, place: "" });
  }
  for (const [index, number] of numbers.entries()) bind(prepared, index + 1, params[number - 1]);
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
