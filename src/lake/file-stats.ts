import type { Column, ColumnType } from "../define/project.ts";
import type { FileStats } from "./delta-table.ts";

/**
 * Statistics of a data file as an `add` action holds them, JSON within JSON:
 *
 *     {"numRecords": 3, "minValues": {"a": 1, "s": {"b": "x"}}, "maxValues": {…}, "nullCount": {"a": 0, "s": {"b": 1}}}
 *
 * Bounds hold for every row but need not be met by one: long strings are cut (a maximum is then raised), timestamps are in
 * milliseconds (a minimum rounded down, a maximum up). A bound that JSON cannot say is left out, which says "unknown".
 */

/** Code points of a string bound that are kept. Spark's limit, and enough to tell files apart. */
const MAX_STRING = 32;

export function writeStats(stats: FileStats, columns: readonly Column[]): string {
  return JSON.stringify({
    numRecords: stats.rowCount,
    minValues: bounds(stats.min, columns, lowerBound),
    maxValues: bounds(stats.max, columns, upperBound),
    nullCount: stats.nullCount,
  });
}

/** Undefined when the text is not JSON or holds no row count: statistics may be missing, so bad ones count as none. */
export function readStats(text: string): FileStats | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (!isRecord(json) || typeof json.numRecords !== "number") return undefined;
  return {
    rowCount: json.numRecords,
    min: isRecord(json.minValues) ? json.minValues : {},
    max: isRecord(json.maxValues) ? json.maxValues : {},
    nullCount: isRecord(json.nullCount) ? json.nullCount : {},
  };
}

type Bound = (value: unknown, type: ColumnType) => unknown;

function bounds(values: Readonly<Record<string, unknown>>, columns: readonly Column[], bound: Bound): unknown {
  const out: Record<string, unknown> = {};
  for (const { name, type } of columns) {
    const value = values[name];
    if (value === undefined || value === null) continue;
    const written =
      type.kind === "struct" ? (isRecord(value) ? bounds(value, type.fields, bound) : undefined) : bound(value, type);
    if (written !== undefined) out[name] = written;
  }
  return out;
}

function lowerBound(value: unknown, type: ColumnType): unknown {
  if (typeof value === "string" && isText(type)) return cutText(value);
  if (typeof value === "string" && isInstant(type)) return roundInstant(value, "down");
  return plainBound(value, type);
}

function upperBound(value: unknown, type: ColumnType): unknown {
  if (typeof value === "string" && isText(type)) return raiseText(value);
  if (typeof value === "string" && isInstant(type)) return roundInstant(value, "up");
  return plainBound(value, type);
}

function plainBound(value: unknown, type: ColumnType): unknown {
  switch (type.kind) {
    case "boolean":
      return undefined;
    case "date":
      return typeof value === "string" && /^\d{4}-\d\d-\d\d$/.test(value) ? value : undefined;
    case "byte":
    case "short":
    case "integer":
    case "long":
    case "decimal":
    case "float":
    case "double":
      return numberBound(value);
    default:
      return undefined;
  }
}

/** All digits of integers and decimals beyond what a JavaScript number holds are kept. */
function numberBound(value: unknown): unknown {
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined;
  const text = String(value);
  return /^-?\d+(?:\.\d+)?$/.test(text) ? rawJson(text) : undefined;
}

const rawJson = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON;

export function cutText(text: string): string | undefined {
  const points = text.length <= MAX_STRING ? text : [...text].slice(0, MAX_STRING).join("");
  return points.isWellFormed() ? points : undefined;
}

/** A short text that is not less than `text` by code points: its beginning, and then the character that sorts last. */
export function raiseText(text: string): string | undefined {
  const cut = cutText(text);
  if (cut === undefined || cut === text) return cut;
  // A text that goes on with the last character of all could sort behind it: its bound is then unknown.
  return text.startsWith(LAST_CHARACTER, cut.length) ? undefined : cut + LAST_CHARACTER;
}

const LAST_CHARACTER = "\u{10FFFF}";

/** `2026-01-31T12:00:00.123Z` from ISO 8601 text of any precision in UTC, with or without its zone. */
export function roundInstant(text: string, direction: "down" | "up"): string | undefined {
  const match = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|[+-]00(?::?00)?)?$/.exec(text);
  if (!match) return undefined;
  const [, day, time, fraction = ""] = match;
  const ms = Date.parse(`${day}T${time}.${fraction.slice(0, 3).padEnd(3, "0")}Z`);
  if (Number.isNaN(ms)) return undefined;
  const rest = direction === "up" && /[1-9]/.test(fraction.slice(3));
  const iso = new Date(rest ? ms + 1 : ms).toISOString();
  return iso.length === 24 ? iso : undefined;
}

function isText(type: ColumnType): boolean {
  return type.kind === "string" || type.kind === "json";
}

function isInstant(type: ColumnType): boolean {
  return type.kind === "timestamp" || type.kind === "timestamp_ntz";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
