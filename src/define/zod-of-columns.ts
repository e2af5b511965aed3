import * as z from "zod";
import { decimal } from "./decimal.ts";
import type { Column, ColumnType } from "./project.ts";

/** A schema whose contract has these columns: for streams that are made, not written. A column that can be null may be missing as well. */
export function zodOfColumns(columns: readonly Column[]): z.ZodObject {
  return z.object(Object.fromEntries(columns.map(({ name, type, nullable }) => [name, maybe(zodOf(type), nullable)])));
}

function maybe(schema: z.ZodType, nullable: boolean): z.ZodType {
  return nullable ? schema.nullish() : schema;
}

function zodOf(type: ColumnType): z.ZodType {
  switch (type.kind) {
    case "string":
    case "binary":
      return z.string();
    case "byte":
    case "short":
    case "integer":
      return z.int32();
    case "long":
      return z.int();
    case "double":
      return z.number();
    case "float":
      return z.float32();
    case "boolean":
      return z.boolean();
    case "timestamp":
    case "timestamp_ntz":
      return z.iso.datetime({ offset: true });
    case "date":
      return z.iso.date();
    case "json":
      return z.json();
    case "decimal":
      return decimal(type.precision, type.scale);
    case "struct":
      return zodOfColumns(type.fields);
    case "array":
      return z.array(
        type.elementNullable && type.element.kind !== "json" ? zodOf(type.element).nullable() : zodOf(type.element),
      );
    case "map":
      return z.record(
        z.string(),
        type.valueNullable && type.value.kind !== "json" ? zodOf(type.value).nullable() : zodOf(type.value),
      );
  }
}
