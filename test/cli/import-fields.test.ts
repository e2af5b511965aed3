import assert from "node:assert/strict";
import { test } from "node:test";
import * as z from "zod";
import { contractFields, encodeText, isoTimestamp, matchColumns } from "../../src/cli/import-fields.ts";

const contract = z.toJSONSchema(
  z.object({
    invoice_no: z.string().min(1),
    quantity: z.int32(),
    weight: z.number().nullish(),
    invoice_date: z.iso.datetime(),
    day: z.iso.date().optional(),
    paid: z.boolean().nullable(),
    page: z.enum(["home", "cart"]),
    tags: z.array(z.string()).optional(),
    anything: z.unknown(),
    price: z.union([z.number(), z.string()]).meta({ "x-millrace-decimal": [18, 3] }),
  }),
) as Record<string, unknown>;

test("a contract's fields are read with their kinds, nullable or not", () => {
  const kinds = Object.fromEntries(contractFields(contract).map(({ name, kind }) => [name, kind]));
  assert.deepEqual(kinds, {
    invoice_no: "text",
    quantity: "integer",
    weight: "number",
    invoice_date: "timestamp",
    day: "date",
    paid: "boolean",
    page: "text",
    tags: "json",
    anything: "json",
    price: "number",
  });
  const required = contractFields(contract).filter((field) => field.required);
  assert.ok(required.some(({ name }) => name === "quantity") && !required.some(({ name }) => name === "weight"));
});

test("columns find their field whatever their case and separators, and --map goes before", () => {
  const fields = contractFields(contract).filter(({ name }) => ["invoice_no", "quantity", "day"].includes(name));
  const columns = ["InvoiceNo", "QUANTITY", "Zip Code", "booked"];
  const { pairs, unused } = matchColumns(fields, columns, new Map([["day", "booked"]]), { path: "f", stream: "s" });
  assert.deepEqual(
    pairs.map(({ field, column }) => [field.name, column]),
    [
      ["invoice_no", "InvoiceNo"],
      ["quantity", "QUANTITY"],
      ["day", "booked"],
    ],
  );
  assert.deepEqual(unused, ["Zip Code"]);
});

test("a required field without a column, or a mapped column that is not there, is named with what there is", () => {
  const fields = contractFields(contract).filter(({ name }) => ["invoice_no", "day"].includes(name));
  const names = { path: "orders.csv", stream: "orders" };
  assert.throws(() => matchColumns(fields, ["a", "b"], new Map(), names), {
    code: "IMPORT_COLUMN_MISSING",
    message: /orders\.csv has no column for invoice_no of stream orders; its columns are a, b/,
  });
  assert.throws(() => matchColumns(fields, ["invoice_no"], new Map([["day", "booked"]]), names), /column for day/);
});

for (const [kind, text, json] of [
  ["text", "17850.0", '"17850.0"'],
  ["text", ' "quoted" \\', '" \\"quoted\\" \\\\"'],
  ["number", "2.550", "2.550"],
  ["number", "0.10000000000000000000001", "0.10000000000000000000001"],
  ["number", "+007.5", "7.5"],
  ["number", ".5", "0.5"],
  ["number", "5.", "5"],
  ["number", "-0", "-0"],
  ["number", "1e-7", "1e-7"],
  ["number", "9007199254740993", "9007199254740993"],
  ["number", "1,234.5", '"1,234.5"'],
  ["number", "NaN", '"NaN"'],
  ["number", ".", '"."'],
  ["number", "", '""'],
  ["integer", "6.00", "6"],
  ["integer", "6.5", "6.5"],
  ["integer", "abc", '"abc"'],
  ["boolean", "Yes", "true"],
  ["boolean", "0", "false"],
  ["boolean", "maybe", '"maybe"'],
  ["timestamp", "2010-12-01 08:26:00", '"2010-12-01T08:26:00Z"'],
  ["timestamp", "2010-12-01T08:26:00.123456+02:00", '"2010-12-01T06:26:00.123456Z"'],
  ["timestamp", "2010-12-01", '"2010-12-01T00:00:00Z"'],
  ["timestamp", "12/1/2010 8:26", '"12/1/2010 8:26"'],
  ["date", "2017-03-03", '"2017-03-03"'],
  ["date", "2017-03-03 00:00:00", '"2017-03-03"'],
  ["date", "2017-02-30", '"2017-02-30"'],
  ["json", '{"a": [1, 2.50]}', '{"a": [1, 2.50]}'],
  ["json", "not json", '"not json"'],
] as const) {
  test(`as ${kind}, ${JSON.stringify(text)} becomes ${json}`, () => {
    assert.equal(encodeText(kind, text), json);
    assert.doesNotThrow(() => JSON.parse(json));
  });
}

test("moments are taken with every usual zone, and days that no month has are none", () => {
  assert.equal(isoTimestamp("2024-02-29 23:30 UTC"), "2024-02-29T23:30:00Z");
  assert.equal(isoTimestamp("2024-01-01T00:30:00-0500"), "2024-01-01T05:30:00Z");
  assert.equal(isoTimestamp("2024-01-01 00:30:00+02"), "2023-12-31T22:30:00Z");
  for (const wrong of ["2023-02-29 10:00:00", "2024-01-01 25:00:00", "2024-13-01", "yesterday", ""]) {
    assert.equal(isoTimestamp(wrong), undefined, wrong);
  }
});
