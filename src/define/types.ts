import { MillraceError } from "../errors.ts";
import type { Column, ColumnType } from "./project.ts";
import { quoteIdentifier, quoteSparkName } from "./sql-text.ts";

/**
 * The one table of types: what each of the platform's types is called in Delta, DuckDB, PostgreSQL and Spark. Decimals and nested
 * types follow from their parts in the functions below.
 *
 * - `json` is the text of any JSON value: a string in Delta, marked in the field's metadata (see `deltaField`).
 * - `timestamp` is an instant, UTC, in microseconds. `timestamp_ntz` is met only in tables that others wrote.
 */
const SCALARS = {
  string: { delta: "string", duckdb: "VARCHAR", postgres: "text", spark: "STRING" },
  json: { delta: "string", duckdb: "JSON", postgres: "jsonb", spark: "STRING" },
  byte: { delta: "byte", duckdb: "TINYINT", postgres: "smallint", spark: "TINYINT" },
  short: { delta: "short", duckdb: "SMALLINT", postgres: "smallint", spark: "SMALLINT" },
  integer: { delta: "integer", duckdb: "INTEGER", postgres: "integer", spark: "INT" },
  long: { delta: "long", duckdb: "BIGINT", postgres: "bigint", spark: "BIGINT" },
  float: { delta: "float", duckdb: "FLOAT", postgres: "real", spark: "FLOAT" },
  double: { delta: "double", duckdb: "DOUBLE", postgres: "double precision", spark: "DOUBLE" },
  boolean: { delta: "boolean", duckdb: "BOOLEAN", postgres: "boolean", spark: "BOOLEAN" },
  timestamp: {
    delta: "timestamp",
    duckdb: "TIMESTAMP WITH TIME ZONE",
    postgres: "timestamp with time zone",
    spark: "TIMESTAMP",
  },
  timestamp_ntz: { delta: "timestamp_ntz", duckdb: "TIMESTAMP", postgres: "timestamp", spark: "TIMESTAMP_NTZ" },
  date: { delta: "date", duckdb: "DATE", postgres: "date", spark: "DATE" },
  binary: { delta: "binary", duckdb: "BLOB", postgres: "bytea", spark: "BINARY" },
} as const satisfies Record<string, { delta: string; duckdb: string; postgres: string; spark: string }>;

type ScalarKind = keyof typeof SCALARS;

/** The most digits a decimal can have in Delta, Parquet and DuckDB. */
export const MAX_DECIMAL_PRECISION = 38;

/** DuckDB's own types that have none of ours to themselves, and the nearest one that holds their values. */
const DUCKDB_NEAREST: Readonly<Record<string, ColumnType>> = {
  UTINYINT: { kind: "short" },
  USMALLINT: { kind: "integer" },
  UINTEGER: { kind: "long" },
  UBIGINT: { kind: "decimal", precision: 20, scale: 0 },
  // What sum() of a BIGINT gives. Its last digit beyond 38 is given up: a value that large fails loudly when it is cast.
  HUGEINT: { kind: "decimal", precision: MAX_DECIMAL_PRECISION, scale: 0 },
  UHUGEINT: { kind: "decimal", precision: MAX_DECIMAL_PRECISION, scale: 0 },
  BIGNUM: { kind: "string" },
  UUID: { kind: "string" },
  BIT: { kind: "string" },
  ENUM: { kind: "string" },
  TIME: { kind: "string" },
  "TIME WITH TIME ZONE": { kind: "string" },
  TIME_NS: { kind: "string" },
  INTERVAL: { kind: "string" },
  NULL: { kind: "string" },
  // Without a zone: the session's zone is UTC, so both read the same and only the instant is kept.
  TIMESTAMP: { kind: "timestamp" },
  TIMESTAMP_S: { kind: "timestamp" },
  TIMESTAMP_MS: { kind: "timestamp" },
  TIMESTAMP_NS: { kind: "timestamp" },
  UNION: { kind: "json" },
  VARIANT: { kind: "json" },
  TIMESTAMPTZ: { kind: "timestamp" },
  TIMETZ: { kind: "string" },
};

const DUCKDB_SCALARS = new Map<string, ColumnType>([
  ...(Object.keys(SCALARS) as ScalarKind[]).map((kind): [string, ColumnType] => [SCALARS[kind].duckdb, { kind }]),
  ...Object.entries(DUCKDB_NEAREST),
]);

const DELTA_SCALARS = new Map<string, ColumnType>(
  // `json` is left out: a bare Delta string is a string.
  (Object.keys(SCALARS) as ScalarKind[]).filter((k) => k !== "json").map((kind) => [SCALARS[kind].delta, { kind }]),
);

/** The type as Delta's schema JSON writes it. Free JSON becomes `string`; `deltaField` keeps what it was. */
export function deltaType(type: ColumnType): unknown {
  switch (type.kind) {
    case "decimal":
      return `decimal(${type.precision},${type.scale})`;
    case "struct":
      return { type: "struct", fields: type.fields.map(deltaField) };
    case "array":
      return { type: "array", elementType: deltaType(type.element), containsNull: type.elementNullable };
    case "map":
      return {
        type: "map",
        keyType: "string",
        valueType: deltaType(type.value),
        valueContainsNull: type.valueNullable,
      };
    default:
      return SCALARS[type.kind].delta;
  }
}

/** The type that a type of Delta's schema JSON stands for; undefined when the platform has none for it. */
export function parseDeltaType(json: unknown): ColumnType | undefined {
  if (typeof json === "string") {
    const decimal = /^decimal(?:\(\s*(\d+)\s*,\s*(\d+)\s*\))?$/.exec(json);
    return decimal ? decimalOf(decimal[1] ?? "10", decimal[2] ?? "0") : DELTA_SCALARS.get(json);
  }
  if (!isRecord(json)) return undefined;
  if (json.type === "struct" && Array.isArray(json.fields)) {
    const fields = json.fields.map(parseDeltaField);
    return fields.every((f) => f !== undefined) ? { kind: "struct", fields } : undefined;
  }
  if (json.type === "array") {
    const element = parseDeltaType(json.elementType);
    return element && { kind: "array", element, elementNullable: json.containsNull !== false };
  }
  if (json.type === "map" && json.keyType === "string") {
    const value = parseDeltaType(json.valueType);
    return value && { kind: "map", value, valueNullable: json.valueContainsNull !== false };
  }
  return undefined;
}

/**
 * A column as a field of Delta's schema JSON: `{name, type, nullable, metadata}`. Where the type holds free JSON, which
 * Delta has as plain strings, `metadata["millrace.type"]` keeps the type as DuckDB writes it.
 */
export function deltaField(column: Column): Record<string, unknown> {
  const type = deltaType(column.type);
  const metadata = holdsJson(column.type) ? { [TYPE_METADATA]: duckdbType(column.type) } : {};
  return { name: column.name, type, nullable: column.nullable, metadata };
}

/** The column that a field of Delta's schema JSON stands for; undefined when the platform has no type for it. */
export function parseDeltaField(json: unknown): Column | undefined {
  if (!isRecord(json) || typeof json.name !== "string") return undefined;
  const type = parseDeltaType(json.type);
  if (!type) return undefined;
  const marked = isRecord(json.metadata) ? json.metadata[TYPE_METADATA] : undefined;
  return {
    name: json.name,
    type: typeof marked === "string" ? withJson(type, marked) : type,
    nullable: json.nullable !== false,
  };
}

const TYPE_METADATA = "millrace.type";

/** Delta's `schemaString` as JSON: a struct of the columns. */
export function deltaSchema(columns: readonly Column[]): unknown {
  return deltaType({ kind: "struct", fields: columns });
}

/** The type as DuckDB writes it, fit for `cast(… as …)` and `create table`. */
export function duckdbType(type: ColumnType): string {
  switch (type.kind) {
    case "decimal":
      return `DECIMAL(${type.precision},${type.scale})`;
    case "struct":
      return `STRUCT(${type.fields.map((f) => `${quoteIdentifier(f.name)} ${duckdbType(f.type)}`).join(", ")})`;
    case "array":
      return `${duckdbType(type.element)}[]`;
    case "map":
      return `MAP(VARCHAR, ${duckdbType(type.value)})`;
    default:
      return SCALARS[type.kind].duckdb;
  }
}

/** The type as PostgreSQL writes it. Nested types become `jsonb`, but for arrays of scalars. */
export function postgresType(type: ColumnType): string {
  switch (type.kind) {
    case "decimal":
      return `numeric(${type.precision},${type.scale})`;
    case "struct":
    case "map":
      return "jsonb";
    case "array": {
      const element = postgresType(type.element);
      return element === "jsonb" || element.endsWith("[]") ? "jsonb" : `${element}[]`;
    }
    default:
      return SCALARS[type.kind].postgres;
  }
}

/** The type as Spark writes it, fit for `cast(… as …)` and for the schema of a read. */
export function sparkType(type: ColumnType): string {
  switch (type.kind) {
    case "decimal":
      return `DECIMAL(${type.precision},${type.scale})`;
    case "struct":
      return `STRUCT<${type.fields.map((f) => `${quoteSparkName(f.name)}: ${sparkType(f.type)}`).join(", ")}>`;
    case "array":
      return `ARRAY<${sparkType(type.element)}>`;
    case "map":
      return `MAP<STRING, ${sparkType(type.value)}>`;
    default:
      return SCALARS[type.kind].spark;
  }
}

/** The structure text with which DuckDB's `from_json(payload, …)` reads an event of these columns. */
export function jsonStructure(columns: readonly Column[]): string {
  // Not by way of an object, which would put names that look like numbers first.
  return `{${columns.map((c) => `${JSON.stringify(c.name)}:${JSON.stringify(duckdbType(c.type))}`).join(",")}}`;
}

/**
 * The statement with every output cast to its column's type: what a statement gives (HUGEINT from a sum, TIMESTAMP
 * without a zone) is what the table stores. A cast to the type a column already has costs nothing.
 */
export function castSelect(sql: string, columns: readonly Column[]): string {
  const list = columns.map(
    (c) => `cast(${quoteIdentifier(c.name)} as ${duckdbType(c.type)}) as ${quoteIdentifier(c.name)}`,
  );
  return `select ${list.join(", ")} from (${sql}\n) as _given`;
}

/**
 * The type that a type's text in DuckDB (as `describe` gives it) stands for. Types of DuckDB that the platform does not
 * have become the nearest one that holds their values: `HUGEINT` a decimal of 38 digits, `TIME` a string, and so on.
 * @throws TYPE_UNSUPPORTED
 */
export function parseDuckdbType(text: string): ColumnType {
  const parser = new DuckdbTypeParser(text);
  const type = parser.type();
  parser.end();
  return type;
}

/*
 * type   := base ( '[' digits? ']' )*
 * base   := STRUCT '(' name type (',' name type)* ')' | MAP '(' type ',' type ')' | UNION '(' … ')' | ENUM '(' … ')'
 *         | DECIMAL '(' digits ',' digits ')' | word (' ' word)*
 * name   := word | '"' … '"'   (a quote inside is doubled)
 */
class DuckdbTypeParser {
  private readonly tokens: string[];
  private at = 0;
  private readonly text: string;

  constructor(text: string) {
    this.text = text;
    this.tokens = text.match(/"(?:[^"]|"")*"|'(?:[^']|'')*'|[^\s"'()[\],]+|[()[\],]/g) ?? [];
  }

  type(): ColumnType {
    let type = this.base();
    while (this.peek() === "[") {
      this.take("[");
      if (this.peek() !== "]") this.next(); // the length of a fixed-size array
      this.take("]");
      type = { kind: "array", element: type, elementNullable: true };
    }
    return type;
  }

  end(): void {
    if (this.at < this.tokens.length) this.refuse();
  }

  private base(): ColumnType {
    const head = this.next().toUpperCase();
    if (head === "STRUCT") return this.struct();
    if (head === "MAP") return this.map();
    if ((head === "DECIMAL" || head === "NUMERIC") && this.peek() === "(") {
      this.take("(");
      const precision = this.next();
      this.take(",");
      const scale = this.next();
      this.take(")");
      return decimalOf(precision, scale) ?? this.refuse();
    }
    if (head === "DECIMAL" || head === "NUMERIC") return { kind: "decimal", precision: 18, scale: 3 };
    let name = head.startsWith('"') ? head.slice(1, -1) : head;
    while (/^[A-Za-z]+$/.test(this.peek() ?? "")) name += ` ${this.next().toUpperCase()}`;
    if (this.peek() === "(") this.skipParentheses();
    return DUCKDB_SCALARS.get(name) ?? this.refuse();
  }

  private struct(): ColumnType {
    const fields: Column[] = [];
    this.take("(");
    do {
      const name = this.next();
      // STRUCT(INTEGER, VARCHAR), from row(…): fields without names have no place in a table.
      if (this.peek() === "," || this.peek() === ")" || this.peek() === "(") this.refuse();
      fields.push({
        name: name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name,
        type: this.type(),
        nullable: true,
      });
    } while (this.more());
    return { kind: "struct", fields };
  }

  private map(): ColumnType {
    this.take("(");
    this.type(); // keys are kept as strings, whatever they were
    this.take(",");
    const value = this.type();
    this.take(")");
    return { kind: "map", value, valueNullable: true };
  }

  private more(): boolean {
    const token = this.next();
    if (token !== "," && token !== ")") this.refuse();
    return token === ",";
  }

  private skipParentheses(): void {
    let depth = 0;
    do {
      const token = this.next();
      if (token === "(") depth++;
      else if (token === ")") depth--;
    } while (depth > 0);
  }

  private peek(): string | undefined {
    return this.tokens[this.at];
  }

  private next(): string {
    return this.tokens[this.at++] ?? this.refuse();
  }

  private take(token: string): void {
    if (this.next() !== token) this.refuse();
  }

  private refuse(): never {
    throw new MillraceError("TYPE_UNSUPPORTED", { type: this.text });
  }
}

function decimalOf(precisionText: string, scaleText: string): ColumnType | undefined {
  const precision = Number(precisionText);
  const scale = Number(scaleText);
  const fits = precision >= 1 && precision <= MAX_DECIMAL_PRECISION && scale >= 0 && scale <= precision;
  return fits ? { kind: "decimal", precision, scale } : undefined;
}

/** True when free JSON stands in the type outside of a struct's fields, which carry their own metadata. */
function holdsJson(type: ColumnType): boolean {
  if (type.kind === "array") return holdsJson(type.element);
  if (type.kind === "map") return holdsJson(type.value);
  return type.kind === "json";
}

/** Turns the strings of `type` that `marked` says are JSON into `json`; `type` as it is when the two do not fit. */
function withJson(type: ColumnType, marked: string): ColumnType {
  let wanted: ColumnType;
  try {
    wanted = parseDuckdbType(marked);
  } catch (error) {
    // Metadata of another writer: the Delta type alone says enough.
    if (error instanceof MillraceError && error.code === "TYPE_UNSUPPORTED") return type;
    throw error;
  }
  return merge(type, wanted);
}

function merge(type: ColumnType, wanted: ColumnType): ColumnType {
  if (type.kind === "string" && wanted.kind === "json") return wanted;
  if (type.kind === "array" && wanted.kind === "array")
    return { ...type, element: merge(type.element, wanted.element) };
  if (type.kind === "map" && wanted.kind === "map") return { ...type, value: merge(type.value, wanted.value) };
  return type;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
