import type { ColumnType } from "../define/project.ts";
import { quoteIdentifier } from "../define/sql-text.ts";

/** A type as answers name it: SQL's spelling, in lower case, as a cast in a query may write it. */
export function typeName(type: ColumnType): string {
  switch (type.kind) {
    case "decimal":
      return `decimal(${type.precision},${type.scale})`;
    case "struct":
      return `struct(${type.fields.map((field) => `${plainOrQuoted(field.name)} ${typeName(field.type)}`).join(", ")})`;
    case "array":
      return `${typeName(type.element)}[]`;
    case "map":
      return `map(varchar, ${typeName(type.value)})`;
    default:
      return NAMES[type.kind];
  }
}

const NAMES = {
  string: "varchar",
  json: "json",
  byte: "tinyint",
  short: "smallint",
  integer: "integer",
  long: "bigint",
  float: "float",
  double: "double",
  boolean: "boolean",
  timestamp: "timestamp",
  timestamp_ntz: "timestamp_ntz",
  date: "date",
  binary: "blob",
} as const;

function plainOrQuoted(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : quoteIdentifier(name);
}
