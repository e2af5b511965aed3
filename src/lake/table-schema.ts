import type { Column } from "../define/project.ts";
import { deltaField, parseDeltaField } from "../define/types.ts";
import { MillraceError } from "../errors.ts";
import { isRecord, type Metadata } from "./actions.ts";

/**
 * The columns of a table's `schemaString`.
 * @throws DELTA_CORRUPT when it is no schema; DELTA_FEATURE_UNSUPPORTED naming columns whose type the platform does not have
 */
export function readSchema(table: string, metadata: Metadata): Column[] {
  const { schemaString } = metadata;
  if (schemaString === undefined) return [];
  const unknown: string[] = [];
  const columns: Column[] = [];
  for (const field of schemaFields(table, schemaString)) {
    const column = parseDeltaField(field);
    if (column) columns.push(column);
    else unknown.push(`type ${typeName(field.type)} (column ${field.name})`);
  }
  if (unknown.length > 0) {
    const details = { features: unknown };
    throw new MillraceError(
      "DELTA_FEATURE_UNSUPPORTED",
      { table, access: "read", features: unknown.join(", ") },
      { details },
    );
  }
  return columns;
}

/** The `schemaString` of these columns. What an earlier schema says of a column beside its type (a comment) is kept. */
export function writeSchema(table: string, columns: readonly Column[], earlier?: string): string {
  const known = new Map(earlier === undefined ? [] : schemaFields(table, earlier).map((field) => [field.name, field]));
  const fields = columns.map((column) => {
    const field = deltaField(column);
    const before = known.get(column.name)?.metadata;
    return isRecord(before) ? { ...field, metadata: { ...before, ...(field.metadata as object) } } : field;
  });
  return JSON.stringify({ type: "struct", fields });
}

function schemaFields(table: string, schemaString: string): Record<string, unknown>[] {
  const corrupt = (cause?: unknown) =>
    new MillraceError("DELTA_CORRUPT", { table, file: "its metaData action", reason: "holds no schema" }, { cause });
  let json: unknown;
  try {
    json = JSON.parse(schemaString);
  } catch (cause) {
    throw corrupt(cause);
  }
  if (!isRecord(json) || !Array.isArray(json.fields) || !json.fields.every(isRecord)) throw corrupt();
  return json.fields;
}

function typeName(type: unknown): string {
  return typeof type === "string" ? type : JSON.stringify(type);
}
