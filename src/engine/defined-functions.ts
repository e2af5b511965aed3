/**
 * Functions that a project defines, as functions of DuckDB. The engine calls them with a vector of rows at a time, on the platform's own
 * thread; what they throw fails the row, and `TRY` tells it from its neighbours.
 */
import {
  BIGINT,
  BOOLEAN,
  DATE,
  DECIMAL,
  DOUBLE,
  type DuckDBConnection,
  type DuckDBDataChunk,
  DuckDBScalarFunction,
  DuckDBTimestampTZValue,
  type DuckDBType,
  type DuckDBValue,
  FLOAT,
  INTEGER,
  TIMESTAMPTZ,
  VARCHAR,
} from "@duckdb/node-api";
import type { Column, ColumnType } from "../define/project.ts";
import type { SqlFunction } from "../define/read-sql-function.ts";
import { readColumn } from "./duckdb-values.ts";

/** Makes a project's functions known to every connection of a database. */
export function registerDefined(connection: DuckDBConnection, functions: Iterable<SqlFunction>): void {
  for (const defined of functions) connection.registerScalarFunction(scalarFunction(defined));
}

function scalarFunction({ name, takes, gives, compute }: SqlFunction): DuckDBScalarFunction {
  const types = takes.map(({ type }) => engineType(type));
  const give = giver(gives);
  const noNull = takes.map(({ nullable }) => !nullable);
  return DuckDBScalarFunction.create({
    name,
    parameterTypes: types,
    returnType: engineType(gives.type),
    // DuckDB's own rule, null for any null, is not that of parameters that may be null.
    specialHandling: true,
    mainFunction(info, chunk, out) {
      const columns = takes.map(({ type }, i) => valuesOf(chunk, i, types[i] as DuckDBType, type));
      for (let row = 0; row < chunk.rowCount; row++) {
        const values: Record<string, unknown> = {};
        let hasNull = false;
        for (let i = 0; i < takes.length; i++) {
          const value = (columns[i] as unknown[])[row];
          if (value === null && noNull[i]) hasNull = true;
          values[(takes[i] as Column).name] = value;
        }
        try {
          out.setItem(row, hasNull ? null : give(compute(values)));
        } catch (error) {
          info.setError(`${name}: ${error instanceof Error ? error.message : String(error)}`);
          return;
        }
      }
      out.flush();
    },
  });
}

function valuesOf(chunk: DuckDBDataChunk, index: number, type: DuckDBType, column: ColumnType): unknown[] {
  const values = readColumn(chunk, index, type, "json");
  return column.kind === "json" ? values.map((text) => (text === null ? null : JSON.parse(text as string))) : values;
}

function engineType(type: ColumnType): DuckDBType {
  switch (type.kind) {
    case "integer":
      return INTEGER;
    case "long":
      return BIGINT;
    case "double":
      return DOUBLE;
    case "float":
      return FLOAT;
    case "boolean":
      return BOOLEAN;
    case "timestamp":
      return TIMESTAMPTZ;
    case "date":
      return DATE;
    case "decimal":
      return DECIMAL(type.precision, type.scale);
    default:
      return VARCHAR;
  }
}

/** What a function gave, as the engine takes it; throws when it is something else than the definition says. */
function giver({ type, nullable }: Column): (value: unknown) => DuckDBValue {
  const give = plainGiver(type);
  return (value) => {
    if (value === null || value === undefined) {
      if (nullable) return null;
      throw new TypeError(`it gave ${value}, which its definition does not allow`);
    }
    const given = give(value);
    if (given === undefined) throw new TypeError(`it gave ${shown(value)}, which is no ${type.kind}`);
    return given;
  };
}

/** Undefined for what is not of the type. */
function plainGiver({ kind }: ColumnType): (value: unknown) => DuckDBValue | undefined {
  switch (kind) {
    case "integer":
      return (value) => (typeof value === "number" && value === (value | 0) ? value : undefined);
    case "long":
      return (value) => (Number.isSafeInteger(value) ? BigInt(value as number) : undefined);
    case "double":
    case "float":
      return (value) => (typeof value === "number" && Number.isFinite(value) ? value : undefined);
    case "boolean":
      return (value) => (typeof value === "boolean" ? value : undefined);
    case "timestamp":
      return (value) => {
        const ms = typeof value === "string" ? Date.parse(value) : Number.NaN;
        return Number.isNaN(ms) ? undefined : new DuckDBTimestampTZValue(BigInt(ms) * 1000n);
      };
    default:
      return (value) => (typeof value === "string" && value.isWellFormed() ? value : undefined);
  }
}

function shown(value: unknown): string {
  if (value instanceof Promise) return "a promise";
  return typeof value === "object" || typeof value === "function" ? `a value of type ${typeof value}` : `${value}`.slice(0, 100); // biome-ignore format: one thing
}
