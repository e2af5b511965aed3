import { MillraceError } from "../errors.ts";

/** How a field's values are written in an event, as far as a text of a file must be turned into it. */
export type FieldKind = "text" | "number" | "integer" | "boolean" | "timestamp" | "date" | "json";

export interface Field {
  readonly name: string;
  readonly kind: FieldKind;
  readonly required: boolean;
}

type Schema = Readonly<Record<string, unknown>>;

/** The fields of a stream's contract (its JSON Schema). */
export function contractFields(schema: Schema): Field[] {
  const required = new Set((schema.required as string[] | undefined) ?? []);
  return Object.entries((schema.properties as Record<string, Schema> | undefined) ?? {}).map(([name, property]) => ({
    name,
    kind: fieldKind(property),
    required: required.has(name),
  }));
}

function fieldKind(schema: Schema): FieldKind {
  if (schema["x-millrace-decimal"] !== undefined) return "number";
  const options = (schema.anyOf ?? schema.oneOf) as Schema[] | undefined;
  if (options !== undefined) {
    const kinds = new Set(options.filter(({ type }) => type !== "null").map(fieldKind));
    return kinds.size === 1 ? [...kinds][0]! : "text";
  }
  const types = [schema.type ?? typesOf(schema)].flat().filter((type) => type !== "null");
  if (types.length !== 1) return types.length === 0 ? "json" : "text";
  if (types[0] === "string") {
    return schema.format === "date-time" ? "timestamp" : schema.format === "date" ? "date" : "text";
  }
  if (types[0] === "integer" || types[0] === "number" || types[0] === "boolean") return types[0];
  return "json";
}

/** `enum` and `const` may stand without a type. */
function typesOf(schema: Schema): string[] {
  const values = (schema.enum as unknown[] | undefined) ?? ("const" in schema ? [schema.const] : []);
  return [...new Set(values.map((value) => (value === null ? "null" : typeof value)))];
}

/**
 * Which column feeds which field: those of `map` (field -> column) first, then the same name whatever its case and separators
 * (`InvoiceNo`, `invoice no` and `invoice_no` are one). Columns that feed nothing are `unused`.
 * @throws IMPORT_COLUMN_MISSING when a required field has no column
 */
export function matchColumns(
  fields: readonly Field[],
  columns: readonly string[],
  map: ReadonlyMap<string, string>,
  names: { path: string; stream: string },
): { pairs: { field: Field; column: string }[]; unused: string[] } {
  const byPlain = new Map(columns.toReversed().map((column) => [plain(column), column]));
  const exact = new Set(columns);
  const pairs = fields.flatMap((field) => {
    const wanted = map.get(field.name) ?? field.name;
    const column = exact.has(wanted) ? wanted : byPlain.get(plain(wanted));
    return column === undefined ? [] : [{ field, column }];
  });
  const fed = new Set(pairs.map(({ field }) => field.name));
  const missing = fields.filter((field) => !fed.has(field.name) && (field.required || map.has(field.name)));
  if (missing.length > 0) {
    const list = missing.map(({ name }) => name).join(", ");
    throw new MillraceError("IMPORT_COLUMN_MISSING", { ...names, fields: list, columns: columns.join(", ") });
  }
  const used = new Set(pairs.map(({ column }) => column));
  return { pairs, unused: columns.filter((column) => !used.has(column)) };
}

/** A name without case and separators. */
export function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, "");
}

/**
 * The JSON of a value that the file has as text. A text that is none of the kind stays text, so that the door says what is wrong with
 * it and keeps it as a dead letter.
 */
export function encodeText(kind: FieldKind, text: string): string {
  switch (kind) {
    case "text":
      return JSON.stringify(text);
    case "number":
    case "integer":
      return encodeNumber(kind, text.trim());
    case "boolean": {
      const word = text.trim().toLowerCase();
      return TRUE.has(word) ? "true" : FALSE.has(word) ? "false" : JSON.stringify(text);
    }
    case "timestamp":
      return JSON.stringify(isoTimestamp(text) ?? text);
    case "date":
      return JSON.stringify(isoDate(text) ?? text);
    case "json":
      return isJson(text) ? text.replaceAll(/[\r\n]/g, " ") : JSON.stringify(text);
  }
}

const TRUE = new Set(["true", "t", "yes", "y", "1"]);
const FALSE = new Set(["false", "f", "no", "n", "0"]);
const JSON_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

/** Digit by digit as in the file: 2.550 stays 2.550, and no digit is lost on the way. */
function encodeNumber(kind: "number" | "integer", text: string): string {
  const [, sign, whole, fraction, exponent] = /^([+-]?)0*(\d*)(?:\.(\d*))?([eE][+-]?\d+)?$/.exec(text) ?? [];
  if (whole === undefined || !/\d/.test(text.replace(/[eE].*$/, ""))) return JSON.stringify(text);
  const keepsFraction = fraction !== undefined && fraction !== "" && !(kind === "integer" && /^0+$/.test(fraction));
  const number = `${sign === "-" ? "-" : ""}${whole || "0"}${keepsFraction ? `.${fraction}` : ""}${exponent ?? ""}`;
  return JSON_NUMBER.test(number) ? number : JSON.stringify(text);
}

const TIMESTAMP =
  /^(\d{4}-\d{2}-\d{2})(?:[T ]+(\d{2}:\d{2})(:\d{2})?([.,]\d{1,9})?)?\s*(Z|UTC|[+-]\d{2}(?::?\d{2})?)?$/i;

/** ISO 8601 UTC; a time without a zone is UTC, a date its midnight. Undefined for what is no moment. */
export function isoTimestamp(text: string): string | undefined {
  const [, day, minute, second, fraction, zone] = TIMESTAMP.exec(text.trim()) ?? [];
  if (day === undefined || !isDay(day)) return undefined;
  const digits = fraction === undefined ? "" : `.${fraction.slice(1)}`;
  const clock = `${minute ?? "00:00"}${second ?? ":00"}`;
  if (zone === undefined || /^(z|utc)$/i.test(zone)) {
    return isClock(clock) ? `${day}T${clock}${digits}Z` : undefined;
  }
  const [hours = "", minutes = "00"] = zone.slice(1).match(/\d{2}/g) ?? [];
  const ms = Date.parse(`${day}T${clock}${zone[0]}${hours}:${minutes}`);
  return Number.isNaN(ms) ? undefined : `${new Date(ms).toISOString().slice(0, 19)}${digits}Z`;
}

function isClock(text: string): boolean {
  return /^([01]\d|2[0-3]):[0-5]\d:[0-5]\d$/.test(text);
}

function isoDate(text: string): string | undefined {
  const [, day] = /^(\d{4}-\d{2}-\d{2})(?:[T ]00:00(?::00(?:\.0+)?)?Z?)?$/.exec(text.trim()) ?? [];
  return day !== undefined && isDay(day) ? day : undefined;
}

/** Also false for days that no month has: Date.parse takes February 30 for March 2. */
function isDay(day: string): boolean {
  let known = DAYS.get(day);
  if (known === undefined) {
    const ms = Date.parse(`${day}T00:00:00Z`);
    known = !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(day);
    if (DAYS.size < MAX_DAYS) DAYS.set(day, known);
  }
  return known;
}

/** Days met before: files have the same ones over and over. */
const DAYS = new Map<string, boolean>();
const MAX_DAYS = 10_000;

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
