/**
 * A piece of an expression on its way from DuckDB's tree to Spark's text: the text, and as much of its type as is known. The type decides what
 * the piece means where both dialects write the same and mean different things (`date - date`, a cast that rounds or cuts).
 */
import type { ColumnType } from "../../../define/project.ts";

/** A type of a column, or one that only stands within expressions; undefined where nothing is known. */
export type Kind = ColumnType | { readonly kind: "interval" | "null" } | undefined;

export interface Value {
  readonly sql: string;
  readonly type: Kind;
  /** Where it is written in the statement as it is. */
  readonly constant?: string | number | bigint | boolean;
}

/** Why a part of a statement has no exact translation, and what to write instead. */
export class Refused extends Error {
  readonly what: string;
  readonly instead: string;

  constructor(what: string, instead: string) {
    super(`${what}: ${instead}`);
    this.what = what;
    this.instead = instead;
  }
}

export function kindOf(value: Value): string {
  return value.type?.kind ?? "unknown";
}

const INTEGERS = new Set(["byte", "short", "integer", "long"]);

export function isInteger(value: Value): boolean {
  return INTEGERS.has(kindOf(value));
}

export function isFloating(value: Value): boolean {
  return ["float", "double"].includes(kindOf(value));
}

export function isNumber(value: Value): boolean {
  return isInteger(value) || isFloating(value) || kindOf(value) === "decimal";
}

export function isText(value: Value): boolean {
  return ["string", "json"].includes(kindOf(value));
}

/** `timestamp_ntz` is the same: the session's zone is UTC. */
export function isInstant(value: Value): boolean {
  return ["timestamp", "timestamp_ntz"].includes(kindOf(value));
}

export function isNull(value: Value): boolean {
  return kindOf(value) === "null";
}

/** The value a constant has as a whole number; undefined for anything else. */
export function constantInteger(value: Value | undefined): number | undefined {
  const { constant } = value ?? {};
  return (typeof constant === "number" || typeof constant === "bigint") && Number.isSafeInteger(Number(constant))
    ? Number(constant)
    : undefined;
}

export const INTEGER = { kind: "integer" } as const;
export const LONG = { kind: "long" } as const;
export const DOUBLE = { kind: "double" } as const;
export const STRING = { kind: "string" } as const;
export const BOOLEAN = { kind: "boolean" } as const;
export const DATE = { kind: "date" } as const;
export const TIMESTAMP = { kind: "timestamp" } as const;
export const INTERVAL = { kind: "interval" } as const;
/** Some decimal: how many digits it has in Spark does not change what it means. */
export const DECIMAL = { kind: "decimal", precision: 38, scale: 0 } as const;

/** The type that a choice between values has (`case`, `coalesce`, `union`). */
export function commonType(values: readonly Value[]): Kind {
  const types = values.filter((value) => !isNull(value)).map(({ type }) => type);
  const [first] = types;
  if (types.length === 0) return { kind: "null" };
  if (types.some((type) => type === undefined)) return undefined;
  const kinds = new Set(types.map((type) => type?.kind ?? ""));
  if (kinds.size === 1) return first;
  const all = (...allowed: string[]) => [...kinds].every((kind) => allowed.includes(kind));
  if (all(...INTEGERS)) return kinds.has("long") ? LONG : INTEGER;
  if (all(...INTEGERS, "decimal")) return DECIMAL;
  if (all(...INTEGERS, "decimal", "float", "double")) return DOUBLE;
  if (all("date", "timestamp", "timestamp_ntz")) return TIMESTAMP;
  if (all("string", "json")) return STRING;
  return undefined;
}
