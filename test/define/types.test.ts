import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import fc from "fast-check";
import type { Column, ColumnType } from "../../src/define/project.ts";
import { quoteIdentifier, quoteLiteral, quoteName } from "../../src/define/sql-text.ts";
import {
  castSelect,
  deltaField,
  deltaType,
  duckdbType,
  jsonStructure,
  parseDeltaField,
  parseDeltaType,
  parseDuckdbType,
  postgresType,
} from "../../src/define/types.ts";

/** Kinds whose DuckDB text means that kind again: all but `timestamp_ntz`. */
const SCALAR_KINDS = [
  "string",
  "json",
  "byte",
  "short",
  "integer",
  "long",
  "float",
  "double",
  "boolean",
  "timestamp",
  "date",
  "binary",
] as const;

const fieldName = fc.oneof(
  fc.constantFrom("a", "b c", 'quo"te', "Select", "x,y", "p(1)", "ü", "a[0]"),
  fc.string({ minLength: 1, maxLength: 12 }).filter((s) => !s.includes("\0")),
);

const { type: anyType } = fc.letrec<{ type: ColumnType }>((tie) => ({
  type: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom(...SCALAR_KINDS).map((kind): ColumnType => ({ kind })),
    fc
      .tuple(fc.integer({ min: 1, max: 38 }), fc.nat(38))
      .map(([precision, s]): ColumnType => ({ kind: "decimal", precision, scale: Math.min(s, precision) })),
    tie("type").map((element): ColumnType => ({ kind: "array", element, elementNullable: true })),
    tie("type").map((value): ColumnType => ({ kind: "map", value, valueNullable: true })),
    fc
      .uniqueArray(
        fc.record({ name: fieldName, type: tie("type"), nullable: fc.constant(true) }, { noNullPrototype: true }),
        {
          minLength: 1,
          maxLength: 4,
          selector: (c) => c.name.toLowerCase(),
        },
      )
      .map((fields): ColumnType => ({ kind: "struct", fields })),
  ),
}));

let db: DuckDBInstance;
let connection: DuckDBConnection;
before(async () => {
  db = await DuckDBInstance.create(":memory:");
  connection = await db.connect();
  await connection.run("set TimeZone = 'UTC'");
});
after(() => {
  connection.closeSync();
  db.closeSync();
});

async function describe(select: string): Promise<string[]> {
  const result = await connection.runAndReadAll(`describe ${select}`);
  return result.getRowObjects().map((row) => String(row.column_type));
}

test("every type written as DuckDB text reads back as the same type", () => {
  fc.assert(fc.property(anyType, (type) => assert.deepEqual(parseDuckdbType(duckdbType(type)), type)));
});

test("DuckDB itself understands every type's text and describes it as the same type", async () => {
  await fc.assert(
    fc.asyncProperty(anyType, async (type) => {
      const [text] = await describe(`select cast(null as ${duckdbType(type)}) as x`);
      assert.deepEqual(parseDuckdbType(text!), type);
    }),
    { numRuns: 100 },
  );
});

test("every column written as a Delta field reads back as the same column, free JSON included", () => {
  fc.assert(
    fc.property(fieldName, anyType, fc.boolean(), (name, type, nullable) => {
      const column: Column = { name, type, nullable };
      assert.deepEqual(parseDeltaField(JSON.parse(JSON.stringify(deltaField(column)))), column);
    }),
  );
});

test("nullability of elements and values survives Delta's JSON", () => {
  const type: ColumnType = {
    kind: "array",
    elementNullable: false,
    element: { kind: "map", value: { kind: "timestamp_ntz" }, valueNullable: false },
  };
  assert.deepEqual(parseDeltaType(deltaType(type)), type);
});

test("Delta types the platform has no place for are undefined, wherever they stand", () => {
  for (const unknown of [
    "void",
    "variant",
    "interval day",
    "decimal(39,0)",
    "decimal(4,5)",
    7,
    null,
    { type: "udt" },
  ]) {
    assert.equal(parseDeltaType(unknown), undefined);
    assert.equal(parseDeltaType({ type: "array", elementType: unknown, containsNull: true }), undefined);
    assert.equal(parseDeltaType({ type: "map", keyType: "string", valueType: unknown }), undefined);
    assert.equal(parseDeltaType({ type: "struct", fields: [{ name: "a", type: unknown, nullable: true }] }), undefined);
  }
  assert.equal(parseDeltaType({ type: "map", keyType: "long", valueType: "string" }), undefined);
  assert.deepEqual(parseDeltaType("decimal"), { kind: "decimal", precision: 10, scale: 0 });
});

test("metadata left by another writer never changes what a Delta type says", () => {
  const field = { name: "a", type: "long", nullable: true, metadata: { "millrace.type": "JSON" } };
  assert.deepEqual(parseDeltaField(field)?.type, { kind: "long" });
  const odd = { name: "a", type: "string", nullable: true, metadata: { "millrace.type": "((" } };
  assert.deepEqual(parseDeltaField(odd)?.type, { kind: "string" });
});

test("types only DuckDB has become the nearest type that holds their values", () => {
  const string = { kind: "string" };
  const timestamp = { kind: "timestamp" };
  const nearest: Record<string, unknown> = {
    HUGEINT: { kind: "decimal", precision: 38, scale: 0 },
    UHUGEINT: { kind: "decimal", precision: 38, scale: 0 },
    UBIGINT: { kind: "decimal", precision: 20, scale: 0 },
    UINTEGER: { kind: "long" },
    USMALLINT: { kind: "integer" },
    UTINYINT: { kind: "short" },
    TIME: string,
    "TIME WITH TIME ZONE": string,
    INTERVAL: string,
    UUID: string,
    BIT: string,
    BIGNUM: string,
    "ENUM('a', 'it''s, (b)')": string,
    '"NULL"': string,
    TIMESTAMP: timestamp,
    TIMESTAMP_S: timestamp,
    TIMESTAMP_MS: timestamp,
    TIMESTAMP_NS: timestamp,
    "UNION(a INTEGER, b VARCHAR)": { kind: "json" },
    VARIANT: { kind: "json" },
    "INTEGER[2]": { kind: "array", element: { kind: "integer" }, elementNullable: true },
    "MAP(INTEGER, HUGEINT)": {
      kind: "map",
      value: { kind: "decimal", precision: 38, scale: 0 },
      valueNullable: true,
    },
  };
  for (const [text, type] of Object.entries(nearest)) assert.deepEqual(parseDuckdbType(text), type, text);
});

test("a nested type with quoted names, as DuckDB describes it, is read field by field", async () => {
  const [text] = await describe(`select {'a b': [{'c"d': 1::bigint}], n: map {'k': 1.50}} as x`);
  assert.equal(
    duckdbType(parseDuckdbType(text!)),
    'STRUCT("a b" STRUCT("c""d" BIGINT)[], "n" MAP(VARCHAR, DECIMAL(3,2)))',
  );
});

test("a type that no table can hold is refused by name", () => {
  for (const text of [
    "GEOMETRY",
    "STRUCT(INTEGER, VARCHAR)",
    "",
    "INTEGER[",
    "DECIMAL(40,2)",
    "STRUCT(a INTEGER",
    "INTEGER)",
  ]) {
    assert.throws(() => parseDuckdbType(text), { code: "TYPE_UNSUPPORTED" }, text);
  }
});

test("casting a statement's outputs to their columns changes only the types, whatever the statement", async () => {
  const sql =
    "select sum(range) as total, timestamp '2024-01-01' as at, uuid() as u, 1.5 as d from range(3) -- the end";
  const columns = (await describe(sql)).map((t, i) => ({
    name: ["total", "at", "u", "d"][i]!,
    type: parseDuckdbType(t),
    nullable: true,
  }));
  assert.deepEqual(await describe(castSelect(sql, columns)), [
    "DECIMAL(38,0)",
    "TIMESTAMP WITH TIME ZONE",
    "VARCHAR",
    "DECIMAL(2,1)",
  ]);
});

test("DuckDB reads an event by its structure text, nested values and free JSON included", async () => {
  const columns: Column[] = [
    { name: "id", type: { kind: "long" }, nullable: false },
    { name: "price", type: { kind: "decimal", precision: 10, scale: 2 }, nullable: false },
    { name: "at", type: { kind: "timestamp" }, nullable: false },
    { name: "free form", type: { kind: "json" }, nullable: true },
    { name: "tags", type: { kind: "map", value: { kind: "boolean" }, valueNullable: false }, nullable: true },
    {
      name: "lines",
      type: {
        kind: "array",
        elementNullable: false,
        element: { kind: "struct", fields: [{ name: 'q"ty', type: { kind: "integer" }, nullable: true }] },
      },
      nullable: true,
    },
  ];
  const event = {
    id: 1,
    price: 12.5,
    at: "2024-05-01T10:00:00+02:00",
    "free form": { a: [1, "x"] },
    tags: { vip: true },
    lines: [{ 'q"ty': 3 }, {}],
  };
  const sql = `select unnest(from_json(${quoteLiteral(JSON.stringify(event))}, ${quoteLiteral(jsonStructure(columns))}))`;
  const rows = await connection.runAndReadAll(sql);
  assert.deepEqual(rows.getRowObjectsJson(), [
    {
      id: "1",
      price: "12.50",
      at: "2024-05-01 08:00:00+00",
      "free form": '{"a":[1,"x"]}',
      tags: [{ key: "vip", value: true }],
      lines: [{ 'q"ty': 3 }, { 'q"ty': null }],
    },
  ]);
});

test("PostgreSQL stores scalars natively, lists of scalars as arrays and all else as jsonb", () => {
  const array = (element: ColumnType): ColumnType => ({ kind: "array", element, elementNullable: true });
  assert.equal(postgresType({ kind: "decimal", precision: 12, scale: 2 }), "numeric(12,2)");
  assert.equal(postgresType({ kind: "timestamp" }), "timestamp with time zone");
  assert.equal(postgresType(array({ kind: "long" })), "bigint[]");
  assert.equal(postgresType(array(array({ kind: "long" }))), "jsonb");
  assert.equal(postgresType(array({ kind: "json" })), "jsonb");
  assert.equal(postgresType({ kind: "struct", fields: [] }), "jsonb");
  assert.equal(postgresType({ kind: "map", value: { kind: "long" }, valueNullable: true }), "jsonb");
});

test("quoted names and literals mean what they were, quotes and all", async () => {
  const nasty = `a"b'c; drop table x --`;
  const result = await connection.runAndReadAll(`select ${quoteLiteral(nasty)} as ${quoteIdentifier(nasty)}`);
  assert.deepEqual(result.getRowObjectsJson(), [{ [nasty]: nasty }]);
  assert.equal(quoteName('silver.a"b'), '"silver"."a""b"');
  assert.equal(quoteName("orders"), '"orders"');
});
