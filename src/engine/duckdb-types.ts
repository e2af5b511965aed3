import {
  DuckDBArrayType,
  DuckDBListType,
  DuckDBMapType,
  DuckDBStructType,
  type DuckDBType,
  DuckDBTypeId,
  DuckDBUnionType,
} from "@duckdb/node-api";
import type { Column, ColumnType } from "../define/project.ts";
import { quoteIdentifier } from "../define/sql-text.ts";
import { parseDuckdbType } from "../define/types.ts";
import { MillraceError } from "../errors.ts";

/** The text of a type as DESCRIBE writes it. (The client library's own text shows JSON as VARCHAR.) */
export function typeText(type: DuckDBType): string {
  if (type.alias !== undefined) return type.alias;
  if (type instanceof DuckDBListType) return `${typeText(type.valueType)}[]`;
  if (type instanceof DuckDBArrayType) return `${typeText(type.valueType)}[${type.length}]`;
  if (type instanceof DuckDBMapType) return `MAP(${typeText(type.keyType)}, ${typeText(type.valueType)})`;
  if (type instanceof DuckDBUnionType) return "UNION";
  if (type instanceof DuckDBStructType) {
    const named = (name: string) => (name === "" ? "" : `${quoteIdentifier(name)} `);
    return `STRUCT(${type.entryTypes.map((entry, i) => named(type.entryNames[i] ?? "") + typeText(entry)).join(", ")})`;
  }
  return type.typeId === DuckDBTypeId.SQLNULL ? "NULL" : type.toString();
}

/** The platform's type for one of DuckDB's. @throws TYPE_UNSUPPORTED */
export function columnType(type: DuckDBType): ColumnType {
  return parseDuckdbType(typeText(type));
}

/** As `columnType`, for results that are only shown: what the platform cannot store is shown as JSON. */
export function shownColumn(name: string, type: DuckDBType): Column {
  try {
    return { name, type: columnType(type), nullable: true };
  } catch (error) {
    if (error instanceof MillraceError && error.code === "TYPE_UNSUPPORTED") {
      return { name, type: { kind: "json" }, nullable: true };
    }
    throw error;
  }
}
