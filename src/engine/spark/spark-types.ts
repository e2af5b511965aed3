/** Spark's types (`types.proto`) as the platform's. */
import type { Column, ColumnType } from "../../define/project.ts";
import { MillraceError } from "../../errors.ts";
import type { DataType } from "./connect-protocol.ts";

const SCALARS: Readonly<Record<string, ColumnType>> = {
  string: { kind: "string" },
  char: { kind: "string" },
  varChar: { kind: "string" },
  byte: { kind: "byte" },
  short: { kind: "short" },
  integer: { kind: "integer" },
  long: { kind: "long" },
  float: { kind: "float" },
  double: { kind: "double" },
  boolean: { kind: "boolean" },
  timestamp: { kind: "timestamp" },
  timestampNtz: { kind: "timestamp" },
  date: { kind: "date" },
  binary: { kind: "binary" },
  null: { kind: "string" },
};

interface Field {
  readonly name?: string;
  readonly dataType?: DataType;
}

/** The columns of a result's schema. @throws TYPE_UNSUPPORTED */
export function sparkColumns(schema: DataType): Column[] {
  return fieldsOf(schema).map(({ name = "", dataType = {} }) => ({ name, type: columnType(dataType), nullable: true }));
}

/** True where Spark would write another type than the platform's: those columns are cast first. */
export function needsCast(type: DataType | undefined): boolean {
  return ["char", "varChar", "timestampNtz", "null"].includes(type?.kind ?? "");
}

export function fieldsOf(schema: DataType): readonly Field[] {
  return ((schema["struct"] as { fields?: Field[] } | undefined)?.fields ?? []) as readonly Field[];
}

function columnType(type: DataType): ColumnType {
  const kind = type.kind ?? "";
  const scalar = SCALARS[kind];
  if (scalar !== undefined) return scalar;
  switch (kind) {
    case "decimal": {
      const { precision = 10, scale = 0 } = type["decimal"] as { precision?: number; scale?: number };
      return { kind: "decimal", precision, scale };
    }
    case "struct":
      return { kind: "struct", fields: sparkColumns(type) };
    case "array": {
      const { elementType = {} } = type["array"] as { elementType?: DataType };
      return { kind: "array", element: columnType(elementType), elementNullable: true };
    }
    case "map": {
      const { keyType, valueType = {} } = type["map"] as { keyType?: DataType; valueType?: DataType };
      if (columnType(keyType ?? {}).kind === "string")
        return { kind: "map", value: columnType(valueType), valueNullable: true };
      throw new MillraceError("TYPE_UNSUPPORTED", { type: "a map of Spark whose keys are no texts" });
    }
    default:
      throw new MillraceError("TYPE_UNSUPPORTED", { type: `${kind} of Spark` });
  }
}
