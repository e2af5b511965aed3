import assert from "node:assert/strict";
import { access, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { after, before, describe, test } from "node:test";
import { type DuckdbEngine, openDuckdbEngine } from "../../src/engine/duckdb-engine.ts";
import type { WrittenFile } from "../../src/engine/sql-engine.ts";

let dir: string;
let engine: DuckdbEngine;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "engine-write-"));
  engine = await openDuckdbEngine({
    memoryBytes: 256 * 2 ** 20,
    threads: 2,
    tempDir: join(dir, "tmp"),
    allowedDirs: [join(dir, "lake")],
  });
});
after(async () => {
  await engine.close();
  await rm(dir, { recursive: true, force: true });
});

let files = 0;
const nextPath = () => join(dir, "lake", `${files++}.parquet`);
async function write(sql: string): Promise<WrittenFile | undefined> {
  const written = await engine.write({ sql, inputs: new Map() }, { path: async () => nextPath() });
  assert.ok(written.length <= 1);
  return written[0];
}
async function stats(sql: string) {
  const file = await write(sql);
  assert.ok(file);
  return file.stats;
}
const folders = async () => await readdir(join(dir, "tmp", "duckdb"));

describe("statistics of a written file", () => {
  test("are in Delta's form for every type", async () => {
    assert.deepEqual(
      await stats(`select i::int as "int", i::bigint as "long", i * 1.25::decimal(9,2) as "dec", i * 1.5e0 as "dbl",
        (0.1 * i)::float as "flt", 'k' || i as "str", i > 0 as "flag", date '2024-02-28' + i::int as "day",
        timestamptz '2024-01-01 00:00:00.123999+00' + interval (i) hours as "at", null::bigint as "none",
        case when i = 1 then i end as "some", {a: i, b: {c: 'x' || i}} as st, [i] as arr, map {'k': i} as m,
        '{"a":1}'::json as j, ('x' || i)::blob as bin, i as "odd ""name" from range(3) t(i)`),
      {
        rowCount: 3,
        min: {
          int: 0,
          long: 0,
          dec: 0,
          dbl: 0,
          flt: 0,
          str: "k0",
          day: "2024-02-28",
          at: "2024-01-01T00:00:00.123Z",
          some: 1,
          st: { a: 0, b: { c: "x0" } },
          j: '{"a":1}',
          'odd "name': 0,
        },
        max: {
          int: 2,
          long: 2,
          dec: 2.5,
          dbl: 3,
          flt: Math.fround(0.2),
          str: "k2",
          day: "2024-03-01",
          at: "2024-01-01T02:00:00.123Z",
          some: 1,
          st: { a: 2, b: { c: "x2" } },
          j: '{"a":1}',
          'odd "name': 2,
        },
        nullCount: {
          int: 0,
          long: 0,
          dec: 0,
          dbl: 0,
          flt: 0,
          str: 0,
          flag: 0,
          day: 0,
          at: 0,
          none: 3,
          some: 2,
          st: { a: 0, b: { c: 0 } },
          j: 0,
          bin: 0,
          'odd "name': 0,
        },
      },
    );
  });

  test("never exclude a value that the file holds", async () => {
    const long = await stats("select 9007199254740993 as a, -9007199254740993 as b, 9223372036854775807 as c");
    assert.ok(BigInt(long.min.a as number) < 9007199254740993n && BigInt(long.max.a as number) > 9007199254740993n);
    assert.ok(BigInt(long.min.b as number) < -9007199254740993n && BigInt(long.max.b as number) > -9007199254740993n);
    assert.ok(BigInt(long.min.c as number) < 9223372036854775807n);
    assert.equal(long.max.c, undefined);
    const decimal = await stats(
      "select 12345678901234567.50::decimal(38,2) as a, 0.05 as b, -0.30 as c, 123456789012.345 as d",
    );
    assert.ok(
      BigInt(decimal.min.a as number) < 12345678901234567n && BigInt(decimal.max.a as number) > 12345678901234568n,
    );
    assert.deepEqual([decimal.min.b, decimal.max.c, decimal.max.d], [0.05, -0.3, 123456789012.345]);
  });

  test("of long strings are cut, upper bounds upwards", async () => {
    const text = await stats(`select repeat('a', 40) as a, repeat('é', 40) as e, repeat(chr(1114111), 40) as top,
      repeat('a', 31) || chr(128512) || chr(128512) as pair, repeat('b', 32) as fits`);
    assert.equal(text.min.a, "a".repeat(32));
    assert.equal(text.max.a, `${"a".repeat(32)}\u007f`);
    assert.equal(text.min.e, "é".repeat(32));
    assert.equal(text.max.e, `${"é".repeat(32)}\u{10ffff}`);
    assert.equal(text.max.top, "\u{10ffff}".repeat(40));
    assert.equal(text.min.pair, `${"a".repeat(31)}\u{1f600}`);
    assert.equal(text.max.pair, `${"a".repeat(31)}\u{1f600}\u{10ffff}`);
    assert.equal(text.max.fits, "b".repeat(32));
  });

  test("leave out bounds where there is a NaN, and those that are infinite or beyond the calendar", async () => {
    const odd = await stats(`select * from (values
      ('nan'::double, 'inf'::double, date 'infinity', timestamptz '290000-01-01'), (1, 2, date '2024-01-01', '2024-01-01')) v(n, i, d, t)`);
    assert.deepEqual(odd.min, { i: 2, d: "2024-01-01", t: "2024-01-01T00:00:00.000Z" });
    assert.deepEqual(odd.max, {});
    assert.deepEqual(odd.nullCount, { n: 0, i: 0, d: 0, t: 0 });
  });
});

describe("writing", () => {
  test("stores the platform's types, whatever the statement gives", async () => {
    const file = await write(`select sum(i) as total, timestamp '2024-01-01 10:00' as local, '{"a":1}'::json as j,
      uuid '0ee8f5ca-3b5c-4f0a-8a0e-1f2d3c4b5a69' as u, interval 3 days as gap, ['{}'::json] as js, 'a'::enum('a', 'b') as e,
      18446744073709551615::ubigint as ub from range(10) t(i)`);
    const schema = await engine.local.rows(
      `SELECT name, type, converted_type, logical_type FROM parquet_schema('${file?.path}')`,
    );
    const of = (name: string) => schema.find((row) => row.name === name);
    assert.match(String(of("total")?.logical_type), /Decimal.*precision=38/);
    assert.match(String(of("local")?.logical_type), /isAdjustedToUTC=1.*MicroSeconds/);
    assert.deepEqual(
      ["j", "u", "gap", "element", "e"].map((name) => of(name)?.converted_type),
      Array(5).fill("UTF8"),
    );
    assert.match(String(of("ub")?.logical_type), /Decimal.*precision=20/);
    const [row] = await engine.local.rows(`SELECT total, local, u, ub FROM '${file?.path}'`);
    assert.deepEqual(row, {
      total: "45",
      local: "2024-01-01T10:00:00.000Z",
      u: "0ee8f5ca-3b5c-4f0a-8a0e-1f2d3c4b5a69",
      ub: "18446744073709551615",
    });
  });

  test("reports the size of the file, and the rows keep the statement's order", async () => {
    const file = await write("select 300000 - i as i from range(300000) t(i) order by i");
    assert.ok(file);
    assert.equal(file.sizeBytes, (await stat(file.path)).size);
    assert.deepEqual(
      await engine.local.rows(
        `SELECT count(*) AS n FROM (SELECT i, lag(i) OVER () AS before FROM '${file.path}') WHERE before >= i`,
      ),
      [{ n: 0n }],
    );
  });

  test("of no rows leaves no file", async () => {
    assert.equal(await write("select 1 as a where false"), undefined);
    await assert.rejects(access(join(dir, "lake", `${files - 1}.parquet`)));
  });

  test("splits rows by their partition values, which are left out of the files", async () => {
    const asked: string[] = [];
    const written = await engine.write(
      {
        sql: `select i, case i % 4 when 0 then null when 1 then 'a/b=é' when 2 then '..' else 'x y' end as p, i % 2 = 0 as even,
          timestamptz '2024-01-01 00:00:00.5+00' as at, date '2024-01-01' as day from range(100) t(i)`,
        inputs: new Map(),
      },
      {
        partitionColumns: ["p", "even", "at", "day"],
        path: async (partition) => {
          asked.push(JSON.stringify(partition));
          return join(dir, "lake", "split", String(asked.length), "f.parquet");
        },
      },
    );
    assert.deepEqual(
      new Set(written.map(({ partition, stats }) => [partition.p, partition.even, stats.rowCount].join())),
      new Set(["..,true,25", "a/b=é,false,25", ",true,25", "x y,false,25"]),
    );
    assert.deepEqual(
      written.map(({ path }) => relative(dir, path)).sort(),
      [1, 2, 3, 4].map((n) => `lake/split/${n}/f.parquet`),
    );
    assert.equal(new Set(asked).size, 4);
    assert.deepEqual(
      new Set(written.map((file) => `${file.partition.at} ${file.partition.day}`)),
      new Set(["2024-01-01 00:00:00.5 2024-01-01"]),
    );
    for (const file of written) {
      assert.deepEqual(Object.keys(file.stats.nullCount), ["i"]);
      assert.equal(file.sizeBytes, (await stat(file.path)).size);
    }
    assert.deepEqual(await folders(), []);
  });

  test("that fails or is cancelled leaves no file behind", async () => {
    const failing =
      "select case when i = 150000 then error('stop') else i::varchar end as x, i % 3 as p from range(200000) t(i)";
    const path = join(dir, "lake", "failed.parquet");
    const inputs = new Map();
    await assert.rejects(engine.write({ sql: failing, inputs }, { path: async () => path }), /stop/);
    await assert.rejects(
      engine.write({ sql: failing, inputs }, { path: async () => path, partitionColumns: ["p"] }),
      /stop/,
    );
    await assert.rejects(
      engine.write(
        { sql: "select i from range(100000000000) t(i)", inputs },
        { path: async () => path },
        { timeoutMs: 100 },
      ),
      { code: "QUERY_TIMEOUT" },
    );
    await assert.rejects(access(path));
    assert.deepEqual(await folders(), []);
  });

  test("tells how far it is", async () => {
    await write("select i, repeat('x', 100) as x from range(400000) t(i)");
    const source = join(dir, "lake", `${files - 1}.parquet`);
    const shares: number[] = [];
    await engine.write(
      {
        sql: "select i, md5(md5(x || i)) as h from t order by h",
        inputs: new Map([["t", { kind: "native", sql: `FROM '${source}'` }]]),
      },
      { path: async () => nextPath() },
      { onProgress: (share) => shares.push(share) },
    );
    assert.equal(shares.at(-1), 1);
    assert.ok(shares.length > 2, `${shares}`);
    assert.ok(
      shares.every((share, i) => share >= 0 && share <= 1 && share >= (shares[i - 1] ?? 0)),
      `${shares}`,
    );
  });
});
