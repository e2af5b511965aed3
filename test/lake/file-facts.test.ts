import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Column } from "../../src/define/project.ts";
import { dataFilePath, decodePath, encodePath } from "../../src/lake/file-path.ts";
import { readStats, writeStats } from "../../src/lake/file-stats.ts";
import { readPartitionValues } from "../../src/lake/partition-values.ts";

const name = fc.string({ unit: "binary", minLength: 1 }).filter((s) => s.isWellFormed() && !/[/\0]|^\.\.?$/.test(s));

test("every path survives the log's encoding, and the encoded form is a relative URL", () => {
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 4 }), (segments) => {
      const path = segments.join("/");
      const encoded = encodePath(path);
      assert.match(encoded, /^[A-Za-z0-9\-_.!~*'()%=/]+$/);
      assert.equal(decodePath(encoded), path);
    }),
  );
});

test("paths that leave the table, or are none, are told apart", () => {
  for (const text of ["s3://b/x", "file:///x", "/abs", "hdfs:x", "../x", "a/..%2F..", "a%2F..%2Fb", "%E0%A4%A"]) {
    assert.equal(decodePath(text), undefined, text);
  }
  assert.equal(decodePath("x=A%252FA/part.parquet"), "x=A%2FA/part.parquet");
  assert.equal(decodePath("plain/p=ä.parquet"), "plain/p=ä.parquet");
});

test("a new file's folders are safe on every file system and for every glob, whatever the values", () => {
  fc.assert(
    fc.property(
      fc.dictionary(name, fc.option(fc.string({ unit: "binary", maxLength: 300 })), { maxKeys: 3 }),
      (partition) => {
        const path = dataFilePath(partition, "0-id");
        assert.match(path, /^(?:[A-Za-z0-9_.%-]+=[A-Za-z0-9_.%-]+\/)*part-0-id\.parquet$/);
        for (const segment of path.split("/")) assert.ok(segment.length < 255);
        assert.doesNotMatch(path, /%[^0-9A-F]|%.[^0-9A-F]/);
      },
    ),
  );
  assert.equal(dataFilePath({ country: "DE", day: "2026-01-31" }, "1"), "country=DE/day=2026-01-31/part-1.parquet");
  assert.equal(
    dataFilePath({ a: null, b: "x/y *", c: "é" }, "1"),
    "a=__HIVE_DEFAULT_PARTITION__/b=x%2Fy%20%2A/c=%C3%A9/part-1.parquet",
  );
});

test("partition values are texts or null, the empty text is null, and anything else is refused", () => {
  assert.deepEqual(readPartitionValues({ a: "1", b: null }), { a: "1", b: null });
  assert.deepEqual(readPartitionValues({ a: "", b: " " }), { a: null, b: " " });
  assert.deepEqual(readPartitionValues(undefined), {});
  assert.equal(readPartitionValues({ a: 1 }), undefined);
  assert.equal(readPartitionValues(["a"]), undefined);
});

const COLUMNS: readonly Column[] = [
  { name: "s", type: { kind: "string" }, nullable: true },
  { name: "n", type: { kind: "long" }, nullable: true },
  { name: "x", type: { kind: "double" }, nullable: true },
  { name: "d", type: { kind: "decimal", precision: 38, scale: 4 }, nullable: true },
  { name: "t", type: { kind: "timestamp" }, nullable: true },
  { name: "day", type: { kind: "date" }, nullable: true },
  {
    name: "in",
    type: { kind: "struct", fields: [{ name: "s", type: { kind: "string" }, nullable: true }] },
    nullable: true,
  },
  { name: "l", type: { kind: "array", element: { kind: "long" }, elementNullable: true }, nullable: true },
];

test("bounds are written as the protocol has them: cut, rounded outwards, in full digits, or not at all", () => {
  const long = "x".repeat(40);
  const stats = {
    rowCount: 5,
    min: {
      s: long,
      n: "9007199254740993",
      x: Number.NaN,
      d: "-12345678901234567890123456789012.3456",
      t: "2026-01-31T12:00:00.123456Z",
      day: "2026-01-31",
      in: { s: "a" },
      l: [1],
    },
    max: {
      s: long,
      n: 9007199254740995n,
      x: Number.POSITIVE_INFINITY,
      d: 1.5,
      t: "2026-01-31 12:00:00.123456+00",
      day: "infinity",
      in: { s: long },
      l: [2],
    },
    nullCount: { s: 0, in: { s: 1 } },
  };
  const expected =
    `{"numRecords":5,"minValues":{"s":"${"x".repeat(32)}","n":9007199254740993,"d":-12345678901234567890123456789012.3456,` +
    `"t":"2026-01-31T12:00:00.123Z","day":"2026-01-31","in":{"s":"a"}},` +
    `"maxValues":{"s":"${"x".repeat(32)}\u{10FFFF}","n":9007199254740995,"d":1.5,"t":"2026-01-31T12:00:00.124Z",` +
    `"in":{"s":"${"x".repeat(32)}\u{10FFFF}"}},"nullCount":{"s":0,"in":{"s":1}}}`;
  assert.equal(writeStats(stats, COLUMNS), expected);
});

test("statistics are read leniently: without a row count, or when they are no JSON, there are none", () => {
  assert.deepEqual(readStats('{"numRecords":3}'), { rowCount: 3, min: {}, max: {}, nullCount: {} });
  assert.equal(readStats("{}"), undefined);
  assert.equal(readStats("nonsense"), undefined);
  assert.equal(readStats("null"), undefined);
});
