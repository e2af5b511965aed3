import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Column } from "../../../src/define/project.ts";
import { type DuckdbEngine, openDuckdbEngine } from "../../../src/engine/duckdb-engine.ts";
import { parseSparkUrl } from "../../../src/engine/spark/spark-address.ts";
import { openSparkEngine, type SparkEngine } from "../../../src/engine/spark/spark-engine.ts";
import { localSparkFiles } from "../../../src/engine/spark/spark-files.ts";
import type { Relation, SqlEngine, Statement, WrittenFile } from "../../../src/engine/sql-engine.ts";
import { sparkUrl } from "./server.ts";

let dir: string;
let duckdb: DuckdbEngine;
let spark: SparkEngine;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "spark-port-"));
  duckdb = await openDuckdbEngine({
    memoryBytes: 256 * 2 ** 20,
    threads: 2,
    tempDir: join(dir, "tmp"),
    allowedDirs: [dir],
  });
  const address = parseSparkUrl(await sparkUrl());
  assert.ok(typeof address === "object");
  const parse = (sql: string) => duckdb.inspector.parse(sql);
  spark = openSparkEngine({
    address,
    parse,
    writing: { local: duckdb.local, files: await localSparkFiles(join(dir, "spark")) },
  });
});
after(async () => {
  await spark.close();
  await duckdb.close();
  await rm(dir, { recursive: true, force: true });
});

let files = 0;
async function write(engine: SqlEngine, statement: Statement, partitionColumns: string[] = []): Promise<WrittenFile[]> {
  const folder = join(dir, "lake", engine.name);
  return await engine.write(statement, { partitionColumns, path: async () => join(folder, `part-${files++}.parquet`) });
}

async function rows(engine: SqlEngine, statement: Statement): Promise<unknown[][]> {
  const { batches } = await engine.query(statement);
  const found: unknown[][] = [];
  for await (const batch of batches) found.push(...batch);
  return found.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

const plain = (sql: string): Statement => ({ sql, inputs: new Map() });
const over = (sql: string, inputs: Record<string, Relation>): Statement => ({
  sql,
  inputs: new Map(Object.entries(inputs)),
});

const COLUMNS: Column[] = [
  { name: "int", type: { kind: "integer" }, nullable: true },
  { name: "long", type: { kind: "long" }, nullable: true },
  { name: "dec", type: { kind: "decimal", precision: 9, scale: 2 }, nullable: true },
  { name: "wide", type: { kind: "decimal", precision: 38, scale: 6 }, nullable: true },
  { name: "dbl", type: { kind: "double" }, nullable: true },
  { name: "flt", type: { kind: "float" }, nullable: true },
  { name: "str", type: { kind: "string" }, nullable: true },
  { name: "flag", type: { kind: "boolean" }, nullable: true },
  { name: "day", type: { kind: "date" }, nullable: true },
  { name: "at", type: { kind: "timestamp" }, nullable: true },
  { name: "none", type: { kind: "long" }, nullable: true },
  { name: "some", type: { kind: "integer" }, nullable: true },
  {
    name: "st",
    type: {
      kind: "struct",
      fields: [
        { name: "a", type: { kind: "integer" }, nullable: true },
        {
          name: "b",
          type: { kind: "struct", fields: [{ name: "c", type: { kind: "string" }, nullable: true }] },
          nullable: true,
        },
      ],
    },
    nullable: true,
  },
  { name: "arr", type: { kind: "array", element: { kind: "timestamp" }, elementNullable: true }, nullable: true },
  { name: "m", type: { kind: "map", value: { kind: "double" }, valueNullable: true }, nullable: true },
  { name: "bin", type: { kind: "binary" }, nullable: true },
  { name: 'odd "na`me', type: { kind: "integer" }, nullable: true },
];

const EVERYTHING = `select i::int as "int", (i * 9007199254740993)::bigint as "long", (i * 1.25)::decimal(9,2) as "dec",
  ('1234567890123456789012345678901.' || i)::decimal(38,6) as "wide", i * 1.5e0 as "dbl", (0.1 * i)::float as "flt",
  'k''\\' || i || chr(128512) as "str", i > 0 as "flag", date '1969-12-30' + i::int as "day",
  timestamptz '1969-12-31 23:00:00.123999+00' + interval (i) hours as "at", null::bigint as "none",
  case when i = 1 then i::int end as "some", {a: i::int, b: {c: 'x' || i}} as st, [timestamptz '2026-01-01 00:00:00.000001+00', null] as arr,
  map {'k': i * 0.5e0} as m, ('x' || i)::blob as bin, i::int as "odd ""na\`me" from range(3) t(i)`;

async function stored(): Promise<Relation> {
  const written = await write(duckdb, plain(EVERYTHING));
  return { kind: "files", columns: COLUMNS, files: written };
}

describe("a Spark engine", () => {
  test("tells the server's version", async () => {
    assert.match(await spark.version(), /^4\./);
  });

  test("reads files of the platform as the embedded engine does, whatever the types", async () => {
    const table = await stored();
    const statement = over("select * from silver.t", { "silver.t": table });
    assert.deepEqual(await rows(spark, statement), await rows(duckdb, statement));
    const { columns } = await spark.query(statement);
    assert.deepEqual(columns, COLUMNS);
  });

  test("writes what the embedded engine writes, in the same types and with the same statistics", async () => {
    const table = await stored();
    const statement = over("select * from silver.t", { "silver.t": table });
    const [ofSpark, ofDuckdb] = [await write(spark, statement), await write(duckdb, statement)];
    assert.equal(ofSpark.length, 1);
    assert.deepEqual(ofSpark[0]?.stats, ofDuckdb[0]?.stats);
    const back = (written: WrittenFile[]) =>
      over("select * from t", { t: { kind: "files", columns: COLUMNS, files: written } });
    assert.deepEqual(await rows(duckdb, back(ofSpark)), await rows(duckdb, back(ofDuckdb)));
    const types = async (written: WrittenFile[]) =>
      await duckdb.local.rows(
        `select column_name, column_type from (describe select * from read_parquet('${written[0]?.path}'))`,
      );
    assert.deepEqual(await types(ofSpark), await types(ofDuckdb));
    assert.deepEqual(await readdir(join(dir, "spark")), []);
  });

  test("divides files by partition values of every type, null and the empty text apart", async () => {
    const values = `select * from (values (1, 'a/b=c %41', date '2026-01-02', timestamptz '2026-01-02 03:04:05.6+00', true),
      (2, '', date '2026-01-02', null, false), (3, null, null, timestamptz '2026-01-02 03:04:05+00', null), (4, 'ä', date '1969-01-01', null, true)) v(n, s, d, t, b)`;
    const [input] = await write(duckdb, plain(values));
    const columns = ["n", "s", "d", "t", "b"].map(
      (name, i) =>
        ({
          name,
          type: { kind: (["integer", "string", "date", "timestamp", "boolean"] as const)[i]! },
          nullable: true,
        }) as Column,
    );
    const statement = over("select * from t", { t: { kind: "files", columns, files: [input!] } });
    const by = ["s", "d", "t", "b"];
    const [ofSpark, ofDuckdb] = [await write(spark, statement, by), await write(duckdb, statement, by)];
    const facts = (written: WrittenFile[]) =>
      written
        .map(({ partition, stats }) => ({ partition, stats }))
        .sort((a, b) => (a.stats.min["n"] as number) - (b.stats.min["n"] as number));
    assert.deepEqual(facts(ofSpark), facts(ofDuckdb));
    const back = (engine: SqlEngine) =>
      rows(engine, over("select n, s, d, t, b from t", { t: { kind: "files", columns, files: ofSpark } }));
    assert.deepEqual(await back(spark), await rows(duckdb, statement));
    assert.deepEqual(await back(duckdb), await rows(duckdb, statement));
  });

  test("joins partition values by file beyond what it names one by one", async () => {
    const [input] = await write(duckdb, plain("select i::int as n, (i % 80)::int as p from range(200) t(i)"));
    const columns: Column[] = ["n", "p"].map((name) => ({ name, type: { kind: "integer" }, nullable: true }));
    const whole = over("select * from t", { t: { kind: "files", columns, files: [input!] } });
    const parts = await write(duckdb, whole, ["p"]);
    assert.equal(parts.length, 80);
    const statement = over("select * from t where p < 3", { t: { kind: "files", columns, files: parts } });
    assert.deepEqual(await rows(spark, statement), await rows(duckdb, statement));
  });

  test("gives nulls for columns and fields that a file lacks, and wider types for narrower ones", async () => {
    const [input] = await write(duckdb, plain("select 1::int as a, {x: 1::int} as s, 2.5::float as f"));
    const columns: Column[] = [
      { name: "new", type: { kind: "decimal", precision: 10, scale: 2 }, nullable: true },
      { name: "a", type: { kind: "long" }, nullable: true },
      { name: "f", type: { kind: "double" }, nullable: true },
      {
        name: "s",
        type: {
          kind: "struct",
          fields: [
            { name: "x", type: { kind: "integer" }, nullable: true },
            { name: "y", type: { kind: "string" }, nullable: true },
          ],
        },
        nullable: true,
      },
    ];
    const statement = over("select * from t", { t: { kind: "files", columns, files: [input!] } });
    assert.deepEqual(await rows(spark, statement), await rows(duckdb, statement));
  });

  test("writes no file where there are no rows, and knows inputs without files", async () => {
    const empty: Relation = { kind: "files", columns: COLUMNS, files: [] };
    assert.deepEqual(await rows(spark, over("select * from t", { t: empty })), []);
    assert.deepEqual(await write(spark, over("select * from t", { t: empty })), []);
    assert.deepEqual(await write(spark, over("select * from t", { t: empty }), ["day"]), []);
  });

  test("composes views, by name and by place", async () => {
    const table = await stored();
    const inner: Relation = {
      kind: "view",
      statement: over(`select "int" as a, str as b from silver.t`, { "silver.t": table }),
    };
    const outer: Relation = {
      kind: "view",
      statement: over("with x as (select b, a from i) select * from x union all by name select 5 as a from i", {
        i: inner,
      }),
    };
    const statement = over("select o.*, p.a as other from o join o p on o.a = p.a order by 1 desc limit 10", {
      o: outer,
    });
    assert.deepEqual(await rows(spark, statement), await rows(duckdb, statement));
  });

  test("runs statements side by side without one seeing the other's inputs", async () => {
    const inputs = await Promise.all(
      [1, 2, 3, 4, 5, 6].map(async (n) => {
        const files = await write(duckdb, plain(`select ${n}::int as n from range(${n * 10})`));
        return { kind: "files", columns: [{ name: "n", type: { kind: "integer" }, nullable: true }], files } as const;
      }),
    );
    const counted = inputs.map((t) => rows(spark, over("select min(n), max(n), count(*) from t", { t })));
    assert.deepEqual(
      await Promise.all(counted),
      [1, 2, 3, 4, 5, 6].map((n) => [[n, n, n * 10]]),
    );
  });
});
