import type { Column, ColumnType } from "../define/project.ts";
import { decimalFault } from "./decimal-text.ts";
import { isDate, isDateTime } from "./formats.ts";

/** What stands where in an event (a JSON pointer) and does not keep the contract. */
export interface Violation {
  readonly pointer: string;
  /** `must …` */
  readonly fault: string;
  readonly value: unknown;
}

const FLOAT_MAX = 3.4028234663852886e38;
const INTEGERS: Readonly<Record<string, readonly [number, number]>> = {
  byte: [-(2 ** 7), 2 ** 7 - 1],
  short: [-(2 ** 15), 2 ** 15 - 1],
  integer: [-(2 ** 31), 2 ** 31 - 1],
  // Beyond it a parsed value no longer shows which integer was written.
  long: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

/**
 * Checks that every value converts to its column without loss, whatever the contract allows: the guard that keeps the
 * door and the lake in step. An absent or null value always converts; whether it may be absent is the contract's matter.
 */
export function misfit(columns: readonly Column[], event: object, pointer = ""): Violation | undefined {
  for (const column of columns) {
    if (!Object.hasOwn(event, column.name)) continue;
    const value = (event as Record<string, unknown>)[column.name];
    const found =
      value === null ? undefined : misfitValue(column.type, value, () => `${pointer}/${escapePointer(column.name)}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

export function escapePointer(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}

function misfitValue(type: ColumnType, value: unknown, pointer: () => string): Violation | undefined {
  const fault = scalarFault(type, value);
  if (fault !== undefined) return { pointer: pointer(), fault, value };
  switch (type.kind) {
    case "struct":
      return misfit(type.fields, value as object, pointer());
    case "array": {
      const elements = value as unknown[];
      for (let index = 0; index < elements.length; index++) {
        const element = elements[index];
        const found = element === null ? undefined : misfitValue(type.element, element, () => `${pointer()}/${index}`);
        if (found !== undefined) return found;
      }
      return undefined;
    }
    case "map":
      for (const [key, entry] of Object.entries(value as object)) {
        const found =
          entry === null ? undefined : misfitValue(type.value, entry, () => `${pointer()}/${escapePointer(key)}`);
        if (found !== undefined) return found;
      }
      return undefined;
    default:
      return undefined;
  }
}

function scalarFault(type: ColumnType, value: unknown): string | undefined {
  switch (type.kind) {
    case "json":
      return undefined;
    case "string":
    case "binary":
      return typeof value === "string" ? undefined : "must be a string";
    case "boolean":
      return typeof value === "boolean" ? undefined : "must be true or false";
    case "double":
      return typeof value === "number" ? undefined : "must be a number";
    case "float":
      return typeof value === "number" && Math.abs(value) <= FLOAT_MAX
        ? undefined
        : `must be a number of at most ${FLOAT_MAX}`;
    case "byte":
    case "short":
    case "integer":
    case "long": {
      const [least, most] = INTEGERS[type.kind] as readonly [number, number];
      if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return undefined;
      return `must be an integer from ${least} to ${most}`;
    }
    case "decimal":
      return decimalFault(value, type.precision, type.scale);
    case "timestamp":
    case "timestamp_ntz":
      if (typeof value === "string" && isDateTime(value)) return undefined;
      return 'must be a moment in RFC 3339 with at most 6 decimals of a second, like "2025-06-30T12:00:00.5Z"';
    case "date":
      return typeof value === "string" && isDate(value) ? undefined : 'must be a day, like "2025-06-30"';
    case "array":
      return Array.isArray(value) ? undefined : "must be an array";
    case "struct":
    case "map":
      return typeof value === "object" && !Array.isArray(value) ? undefined : "must be an object";
  }
}
