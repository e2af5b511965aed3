import assert from "node:assert/strict";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { type Contract, readContract } from "../../src/define/contract.ts";
import { duckdbType } from "../../src/define/types.ts";
import { decimal, z } from "../../src/index.ts";

function contractOf(shape: z.ZodObject | Record<string, z.core.$ZodType>): Contract {
  const schema = "_zod" in shape ? shape : z.object(shape as Record<string, z.ZodType>);
  const contract = readContract(schema, 'stream "s"');
  if (!("columns" in contract)) assert.fail(JSON.stringify(contract));
  return contract;
}

test("every supported schema becomes the column its docstring promises", () => {
  const columns: [z.core.$ZodType, string][] = [
    [z.string().min(1).max(9), "VARCHAR"],
    [z.enum(["a", "b"]), "VARCHAR"],
    [z.uuid(), "VARCHAR"],
    [z.email(), "VARCHAR"],
    [z.url(), "VARCHAR"],
    [z.ipv4(), "VARCHAR"],
    [z.base64(), "VARCHAR"],
    [z.iso.time(), "VARCHAR"],
    [z.iso.duration(), "VARCHAR"],
    [z.templateLiteral(["v", z.number()]), "VARCHAR"],
    [z.string().startsWith("a").includes("b").uppercase(), "VARCHAR"],
    [z.hex(), "VARCHAR"],
    [z.int(), "BIGINT"],
    [z.number().int().positive(), "BIGINT"],
    [z.uint32(), "BIGINT"],
    [z.int32(), "INTEGER"],
    [z.number().multipleOf(5), "DOUBLE"],
    [z.float64(), "DOUBLE"],
    [z.float32(), "FLOAT"],
    [decimal(12, 2), "DECIMAL(12,2)"],
    [z.boolean(), "BOOLEAN"],
    [z.iso.datetime(), "TIMESTAMP WITH TIME ZONE"],
    [z.iso.datetime({ offset: true, precision: 3 }), "TIMESTAMP WITH TIME ZONE"],
    [z.iso.date(), "DATE"],
    [z.object({ a: z.int32(), "b c": z.object({ d: z.string() }) }), 'STRUCT("a" INTEGER, "b c" STRUCT("d" VARCHAR))'],
    [z.array(z.array(z.int32())), "INTEGER[][]"],
    [z.tuple([z.string(), z.string()]), "VARCHAR[]"],
    [z.record(z.string(), z.float64()), "MAP(VARCHAR, DOUBLE)"],
    [z.record(z.enum(["x", "y"]), z.boolean()), "MAP(VARCHAR, BOOLEAN)"],
    [z.json(), "JSON"],
    [z.any(), "JSON"],
    [z.unknown(), "JSON"],
    [z.array(z.json()), "JSON[]"],
    [z.literal("a"), "VARCHAR"],
    [z.literal([1, 2]), "BIGINT"],
    [z.literal([1, 2.5]), "DOUBLE"],
    [z.literal(true), "BOOLEAN"],
    [z.enum({ low: 1, high: 2 }), "BIGINT"],
    [z.union([z.email(), z.url()]), "VARCHAR"],
    [z.union([z.int(), z.null()]), "BIGINT"],
    [z.xor([z.string().min(5), z.string().max(2)]), "VARCHAR"],
    [z.lazy(() => z.string()), "VARCHAR"],
    [z.string().readonly(), "VARCHAR"],
    [z.string().optional().nonoptional(), "VARCHAR"],
  ];
  for (const [i, [schema, type]] of columns.entries()) {
    const [column] = contractOf({ field: schema }).columns;
    assert.equal(duckdbType(column!.type), type, `case ${i}`);
  }
});

test("a column is nullable where the field may be missing or null, and free JSON always is", () => {
  const { columns, jsonSchema } = contractOf({
    required: z.string(),
    optional: z.string().optional(),
    nullable: z.string().nullable(),
    nullish: z.string().nullish(),
    union: z.union([z.string(), z.null()]),
    literal: z.literal(["a", null]),
    json: z.json(),
    elements: z.array(z.string().nullable()),
    values: z.record(z.string(), z.json()),
    inner: z.object({ a: z.int().optional(), b: z.int() }),
  });
  assert.deepEqual(
    columns.map((c) => [c.name, c.nullable]),
    [
      ["required", false],
      ["optional", true],
      ["nullable", true],
      ["nullish", true],
      ["union", true],
      ["literal", true],
      ["json", true],
      ["elements", false],
      ["values", false],
      ["inner", false],
    ],
  );
  const type = (name: string) => columns.find((c) => c.name === name)!.type;
  assert.deepEqual(type("elements"), { kind: "array", element: { kind: "string" }, elementNullable: true });
  assert.deepEqual(type("values"), { kind: "map", value: { kind: "json" }, valueNullable: true });
  assert.deepEqual(type("inner"), {
    kind: "struct",
    fields: [
      { name: "a", type: { kind: "long" }, nullable: true },
      { name: "b", type: { kind: "long" }, nullable: false },
    ],
  });
  assert.deepEqual(jsonSchema.required, [
    "required",
    "nullable",
    "union",
    "literal",
    "json",
    "elements",
    "values",
    "inner",
  ]);
});

test("the contract is self-contained JSON Schema 2020-12 with the user's annotations and no references", () => {
  const address = z.object({ city: z.string() }).meta({ id: "Address", title: "An address" });
  const { jsonSchema } = contractOf({
    home: address,
    work: address.optional(),
    price: decimal(10, 2).describe("in euro"),
    email: z.email().meta({ id: "Email", examples: ["a@b.de"] }),
  });
  assert.equal(jsonSchema.$schema, "https://json-schema.org/draft/2020-12/schema");
  assert.doesNotMatch(JSON.stringify(jsonSchema), /\$ref|\$defs|"id"/);
  const properties = jsonSchema.properties as Record<string, Record<string, unknown>>;
  assert.equal(properties.home!.title, "An address");
  assert.equal(properties.work!.title, "An address");
  assert.equal(properties.price!.description, "in euro");
  assert.deepEqual(properties.price!["x-millrace-decimal"], [10, 2]);
  assert.deepEqual(properties.email!.examples, ["a@b.de"]);
  assert.equal(properties.email!.format, "email");
});

test("fields the schema does not name are accepted unless the object is strict, at every depth", () => {
  const { jsonSchema } = contractOf({
    open: z.object({ a: z.string() }),
    loose: z.looseObject({ a: z.string() }),
    strict: z.strictObject({ a: z.string() }),
    typed: z.object({ a: z.string() }).catchall(z.int32()),
  });
  const properties = jsonSchema.properties as Record<string, Record<string, unknown>>;
  assert.equal(jsonSchema.additionalProperties, undefined);
  assert.equal(properties.open!.additionalProperties, undefined);
  assert.equal(properties.loose!.additionalProperties, undefined);
  assert.equal(properties.strict!.additionalProperties, false);
  assert.equal((properties.typed!.additionalProperties as Record<string, unknown>).type, "integer");
  assert.equal(contractOf(z.strictObject({ a: z.string() })).jsonSchema.additionalProperties, false);
});

test("the contract accepts exactly what Zod accepts", () => {
  const fields: Record<string, z.ZodType> = {
    text: z.string().min(2).max(4),
    starts: z.string().startsWith("ab").endsWith("z"),
    pattern: z.string().regex(/^[\p{L}-]+$/u),
    email: z.email(),
    uuid: z.uuid(),
    at: z.iso.datetime({ offset: true }),
    day: z.iso.date(),
    int: z.int(),
    int32: z.int32(),
    bounded: z.number().gt(0).lte(10).multipleOf(0.5),
    literal: z.literal(["a", null]),
    choice: z.enum(["x", "y"]).nullable(),
    numbers: z.enum({ A: 1, B: 2 }),
    list: z.array(z.int32().nullable()).min(1).max(3),
    pair: z.tuple([z.string(), z.string().optional()], z.string()),
    fixed: z.tuple([z.int(), z.int()]),
    record: z.record(z.string().regex(/^k/), z.boolean()),
    keys: z.record(z.enum(["p", "q"]), z.int()),
    optional_keys: z.record(z.enum(["p", "q"]), z.int().optional()),
    partial: z.partialRecord(z.enum(["p", "q"]), z.int()),
    strict: z.strictObject({ a: z.string(), b: z.int().optional() }),
    typed: z.object({ a: z.string() }).catchall(z.int()),
    either: z.union([z.string().length(1), z.string().length(3)]),
    one: z.xor([z.string().min(2), z.string().max(3)]),
    free: z.json(),
    flag: z.boolean().nullish(),
    template: z.templateLiteral(["v", z.int(), "-", z.enum(["a", "b"])]),
    money: decimal(5, 2),
  };
  const values: unknown[] = [
    ..."|a|ab|abz|abcde|x|y|k|ä-b|v1-a|v1-c|1.25|123.45|1234.5|0.125|-3|me@example.com|user@".split("|"),
    "018f4d9c-7b0a-7c3e-9d3f-0a1b2c3d4e5f",
    "2024-02-29",
    "2023-02-29",
    "2024-05-01T10:00:00Z",
    "2024-05-01T10:00:00.123456+02:00",
    "2024-05-01T10:00:00",
    "2024-05-01T25:00:00Z",
    ...[0, 1, 2, -1, 0.5, 7.25, 10, 11, 2 ** 31, 2 ** 31 - 1, -(2 ** 31), 2 ** 53, 2 ** 53 - 1, 1e300],
    ...[true, false, null],
    ...[[], [1], [1, null], [1, 2, 3, 4], ["a"], ["a", "b", "c"], ["a", null], [1, 2], [1, "a"], [[]]],
    ...[{}, { a: "x" }, { a: "x", b: 1 }, { a: "x", c: 1 }, { a: "x", c: "y" }, { a: 1 }],
    ...[{ k1: true }, { k1: 1 }, { x: true }, { p: 1 }, { p: 1, q: 2 }, { p: 1, q: 2, r: 3 }, { q: "x" }],
  ];
  const ajv = new Ajv2020({ strict: true, strictTypes: false, strictTuples: false, allErrors: false });
  ajv.addKeyword("x-millrace-decimal");
  addFormats.default(ajv);
  for (const [name, schema] of Object.entries(fields)) {
    const { jsonSchema } = contractOf({ [name]: schema });
    const validate = ajv.compile(jsonSchema);
    for (const value of values) {
      assert.equal(
        validate({ [name]: value }),
        schema.safeParse(value).success,
        `${name}: ${JSON.stringify(value)} ${ajv.errorsText(validate.errors)}`,
      );
    }
    assert.equal(validate({}), schema.safeParse(undefined).success, `${name}: missing`);
  }
});

test("a decimal takes numbers and texts with no more digits than it has", () => {
  const money = decimal(5, 2);
  for (const good of [1, 123.45, "0", "123.45", "-999.99", "7.5"])
    assert.ok(money.safeParse(good).success, String(good));
  for (const bad of ["", "1234", "1.234", "1e3", "+1", " 1", "1.", ".5", "--1", true, null]) {
    assert.ok(!money.safeParse(bad).success, String(bad));
  }
  assert.ok(decimal(3, 3).safeParse("0.125").success);
  assert.ok(!decimal(3, 3).safeParse("1.125").success);
  assert.ok(decimal(3, 0).safeParse("125").success);
  assert.ok(!decimal(3, 0).safeParse("12.0").success);
});

test("a decimal with impossible digits is refused where it is written", () => {
  for (const [precision, scale] of [
    [0, 0],
    [39, 2],
    [10, 11],
    [10, -1],
    [10.5, 2],
  ] as const) {
    assert.throws(() => decimal(precision, scale), { code: "OPTION_INVALID" });
  }
});
