import type { DuckDBPreparedStatement } from "@duckdb/node-api";
import { MillraceError } from "../errors.ts";

/**
 * Binds `?` from the left, `$1` by its number. Whole numbers are BIGINT, others DOUBLE; objects and arrays go in as the text
 * of their JSON.
 * @throws SQL_FAILED when there are more or fewer than the statement has, or it leaves a number out.
 */
export function bindParams(prepared: DuckDBPreparedStatement, params: readonly unknown[]): void {
  const wanted = prepared.parameterCount;
  if (!isNumberedThrough(prepared, wanted)) {
    const reason = "its parameters must be ?, or $1, $2… with no number left out";
    throw new MillraceError("SQL_FAILED", { reason, place: "" });
  }
  if (wanted !== params.length) {
    const reason = `it takes ${wanted} parameter${wanted === 1 ? "" : "s"}, got ${params.length}`;
    throw new MillraceError("SQL_FAILED", { reason, place: "" });
  }
  for (const [index, value] of params.entries()) bind(prepared, index + 1, value);
}

function isNumberedThrough(prepared: DuckDBPreparedStatement, count: number): boolean {
  try {
    return Array.from({ length: count }, (_, i) => prepared.parameterName(i + 1)).every(
      (name, i) => name === `${i + 1}`,
    );
  } catch {
    // The library's answer to a place without a parameter.
    return false;
  }
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
