import type { Column, ColumnType } from "./project.ts";
import { duckdbType } from "./types.ts";

export interface ColumnDifference {
  /** `amount`, or a path into nested types: `address.city`, `lines[].quantity`, `tags{}`. */
  readonly path: string;
  readonly change: "added" | "removed" | "retyped" | "made nullable";
  /** Types as DuckDB writes them; undefined where there is no such column. */
  readonly stored: string | undefined;
  readonly wanted: string | undefined;
  /** One sentence, with the way forward where the change is refused. */
  readonly message: string;
}

export interface ColumnChanges {
  /**
   * `additive`: can be applied at once, stored rows stay as they are. `incompatible`: would lose or reinterpret what is stored.
   */
  readonly kind: "same" | "additive" | "incompatible";
  /** What makes it `kind`: all of the additions, or only what is in the way. */
  readonly differences: readonly ColumnDifference[];
  /**
   * The columns the table has once the change is applied: the stored ones in their order, then the new ones. New columns are
   * nullable, whatever the definition says, because rows stored before do not have them.
   */
  readonly columns: readonly Column[];
}

/**
 * Compares the columns of a stored table with those its definition wants now.
 *
 * Additive: new columns and new fields of structs, at any depth, and a required column that becomes nullable. The order
 * of columns does not matter, and a definition may promise more than the table (required where nullable is stored).
 * Every other change of a type is refused, also one to a wider type: files written before would hold another type than the
 * table says, which other readers of the open format do not accept.
 */
export function compareColumns(stored: readonly Column[], wanted: readonly Column[]): ColumnChanges {
  const differences: ColumnDifference[] = [];
  const columns = mergeFields(stored, wanted, "", differences);
  const refused = differences.filter((d) => d.change === "removed" || d.change === "retyped");
  if (refused.length > 0) return { kind: "incompatible", differences: refused, columns: stored };
  return { kind: differences.length > 0 ? "additive" : "same", differences, columns };
}

function mergeFields(
  stored: readonly Column[],
  wanted: readonly Column[],
  prefix: string,
  differences: ColumnDifference[],
): Column[] {
  const wantedByName = new Map(wanted.map((c) => [c.name, c]));
  const storedNames = new Set(stored.map((c) => c.name));
  const added = wanted.filter((c) => !storedNames.has(c.name));
  const kept = stored.map((column) => {
    const path = prefix + column.name;
    const want = wantedByName.get(column.name);
    if (want === undefined) {
      differences.push(removed(path, column, added));
      return column;
    }
    const relaxed = want.nullable && !column.nullable;
    if (relaxed) differences.push(madeNullable(path, column.type));
    return {
      name: column.name,
      type: mergeTypes(column.type, want.type, path, differences),
      nullable: column.nullable || relaxed,
    };
  });
  for (const column of added) {
    differences.push({
      path: prefix + column.name,
      change: "added",
      stored: undefined,
      wanted: duckdbType(column.type),
      message: `column ${prefix}${column.name} is new; rows stored before have no value in it`,
    });
  }
  return [...kept, ...added.map((column) => ({ ...column, nullable: true }))];
}

function mergeTypes(stored: ColumnType, wanted: ColumnType, path: string, differences: ColumnDifference[]): ColumnType {
  if (stored.kind === "struct" && wanted.kind === "struct") {
    return { kind: "struct", fields: mergeFields(stored.fields, wanted.fields, `${path}.`, differences) };
  }
  if (stored.kind === "array" && wanted.kind === "array") {
    const relaxed = wanted.elementNullable && !stored.elementNullable;
    if (relaxed) differences.push(madeNullable(`${path}[]`, stored.element));
    return {
      kind: "array",
      element: mergeTypes(stored.element, wanted.element, `${path}[]`, differences),
      elementNullable: stored.elementNullable || relaxed,
    };
  }
  if (stored.kind === "map" && wanted.kind === "map") {
    const relaxed = wanted.valueNullable && !stored.valueNullable;
    if (relaxed) differences.push(madeNullable(`${path}{}`, stored.value));
    return {
      kind: "map",
      value: mergeTypes(stored.value, wanted.value, `${path}{}`, differences),
      valueNullable: stored.valueNullable || relaxed,
    };
  }
  const [before, after] = [duckdbType(stored), duckdbType(wanted)];
  if (before !== after) {
    differences.push({
      path,
      change: "retyped",
      stored: before,
      wanted: after,
      message:
        `column ${path} is stored as ${before} and would become ${after}; keep the type (cast it in the SQL), give the new ` +
        "column another name, or rebuild the table under a new name",
    });
  }
  return stored;
}

function madeNullable(path: string, type: ColumnType): ColumnDifference {
  return {
    path,
    change: "made nullable",
    stored: duckdbType(type),
    wanted: duckdbType(type),
    message: `column ${path} was required and becomes nullable`,
  };
}

function removed(path: string, column: Column, added: readonly Column[]): ColumnDifference {
  const type = duckdbType(column.type);
  const sameType = added.filter((c) => duckdbType(c.type) === type);
  const renamed = sameType.length === 1 ? ` (renamed to ${sameType[0]?.name}?)` : "";
  return {
    path,
    change: "removed",
    stored: type,
    wanted: undefined,
    message:
      `column ${path} ${type} is stored and the definition no longer has it${renamed}; keep it under its old name, or rebuild ` +
      "the table under a new name",
  };
}
