import type { Column, ColumnType } from "../define/project.ts";
import type { FileStats } from "../lake/delta-table.ts";

/** A file as `COPY … (RETURN_STATS)` reports it. */
export interface CopiedFile {
  readonly path: string;
  readonly rowCount: number;
  readonly sizeBytes: number;
  /** Quoted path of a leaf (`"st"."x"`) -> `min`, `max`, `null_count`, `has_nan` as text. */
  readonly statistics: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly partition: Readonly<Record<string, string | null>>;
}

/**
 * A file's statistics in Delta's JSON form (protocol, "Per-file Statistics"). Fields of structs are nested; elements of
 * arrays and maps have none. A bound that JSON or a reader's number type cannot hold exactly is moved outwards, never
 * inwards, or left out: a bound may be loose, but no value of the file lies beyond it.
 */
export function fileStats(file: CopiedFile, columns: readonly Column[]): FileStats {
  const min: Tree = {};
  const max: Tree = {};
  const nullCount: Tree = {};
  for (const [key, values] of Object.entries(file.statistics)) {
    const path = [...key.matchAll(/"((?:[^"]|"")*)"/g)].map((match) => (match[1] ?? "").replaceAll('""', '"'));
    const type = leafType(path, columns);
    if (type === undefined) continue;
    if (values.null_count !== undefined) put(nullCount, path, Number(values.null_count));
    if (values.has_nan === "true") continue;
    const least = values.min === undefined ? undefined : bound(values.min, type, -1);
    const most = values.max === undefined ? undefined : bound(values.max, type, 1);
    if (least !== undefined) put(min, path, least);
    if (most !== undefined) put(max, path, most);
  }
  return { rowCount: file.rowCount, min, max, nullCount };
}

type Tree = { [name: string]: unknown };

function leafType(path: readonly string[], columns: readonly Column[]): ColumnType | undefined {
  let fields: readonly Column[] = columns;
  for (const [depth, name] of path.entries()) {
    const type = fields.find((field) => field.name === name)?.type;
    if (type === undefined) return undefined;
    if (depth === path.length - 1) return type;
    if (type.kind !== "struct") return undefined;
    fields = type.fields;
  }
  return undefined;
}

function put(tree: Tree, path: readonly string[], value: unknown): void {
  let at = tree;
  for (const name of path.slice(0, -1)) {
    at[name] ??= {};
    at = at[name] as Tree;
  }
  at[path.at(-1) as string] = value;
}

/** `side` -1: a lower bound, 1: an upper one. */
function bound(text: string, type: ColumnType, side: -1 | 1): unknown {
  switch (type.kind) {
    case "string":
    case "json":
      return side < 0 ? [...text].slice(0, STRING_LENGTH).join("") : upperString(text);
    case "byte":
    case "short":
    case "integer":
      return Number(text);
    case "long":
      return longBound(text, side);
    case "decimal":
      return decimalBound(text, side);
    case "float":
      return finite(Math.fround(Number(text)));
    case "double":
      return finite(Number(text));
    case "date":
      return /^\d{4}-\d{2}-\d{2}$/.test(text) ? text : undefined;
    case "timestamp":
    case "timestamp_ntz":
      return instantBound(text, type.kind === "timestamp" ? "Z" : "");
    default:
      return undefined;
  }
}

/** As Delta's own writers have it (`spark.databricks.io.skipping.stringPrefixLength`). */
const STRING_LENGTH = 32;

/** A string cut short is an upper bound only with a greater character at its end. */
function upperString(text: string): string {
  const characters = [...text];
  let length = STRING_LENGTH;
  while (characters[length] === GREATEST) length++;
  const next = characters[length];
  if (next === undefined) return text;
  return characters.slice(0, length).join("") + (next < "\u007f" ? "\u007f" : GREATEST);
}

const GREATEST = "\u{10ffff}";

function longBound(text: string, side: -1 | 1): number | undefined {
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  const moved = neighbour(value, side);
  // What JavaScript writes for it must still be a 64-bit integer for who reads it.
  return Math.abs(moved) < 2 ** 63 ? moved : undefined;
}

function decimalBound(text: string, side: -1 | 1): number {
  const digits = text.replaceAll(/[-.]|^-?0\.?0*/g, "");
  // A double gives back every decimal of up to 15 digits.
  return digits.length <= 15 ? Number(text) : neighbour(Number(text), side);
}

function finite(value: number): number | undefined {
  return Number.isFinite(value) ? value : undefined;
}

/** The next double below (-1) or above (1). */
function neighbour(value: number, side: -1 | 1): number {
  if (value === 0) return side * Number.MIN_VALUE;
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  // The bits of a double grow with its size, so a step away from zero adds one.
  view.setBigInt64(0, view.getBigInt64(0) + (value > 0 === side > 0 ? 1n : -1n));
  return view.getFloat64(0);
}

/** The protocol cuts instants to milliseconds, upper bounds too; readers allow for it. */
function instantBound(text: string, zone: string): string | undefined {
  const match = /^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2})(?:\.(\d+))?(?:\+00)?$/.exec(text);
  return match === null ? undefined : `${match[1]}T${match[2]}.${(match[3] ?? "").slice(0, 3).padEnd(3, "0")}${zone}`;
}
