import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { Column } from "../../src/define/project.ts";
import { type DuckdbEngine, openDuckdbEngine } from "../../src/engine/duckdb-engine.ts";
import type { Relation, RunOptions, Statement } from "../../src/engine/sql-engine.ts";

let dir: string;
let engine: DuckdbEngine;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "engine-"));
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

const statement = (sql: string, inputs: Record<string, Relation> = {}, params?: unknown[]): Statement => ({
  sql,
  inputs: new Map(Object.entries(inputs)),
  ...(params === undefined ? {} : { params }),
});
async function rows(sql: string, inputs: Record<string, Relation> = {}, params?: unknown[], options?: RunOptions) {
  const result = await engine.query(statement(sql, inputs, params), options);
  const all: unknown[][] = [];
  for await (const batch of result.batches) all.push(...batch);
  return all;
}
const native = (sql: string): Relation => ({ kind: "native", sql });
const fails = (work: Promise<unknown>, code: string, message = /./) =>
  assert.rejects(work, (error: { code?: string; message: string }) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
const column = (name: string, type: Column["type"]): Column => ({ name, type, nullable: true });

describe("names of inputs", () => {
  const orders = native("SELECT * FROM (VALUES (1, 'DE', 10), (2, 'FR', 20)) v(id, country, amount)");
  const fx = native("SELECT * FROM (VALUES ('DE', 2), ('FR', 3)) v(country, rate)");
  const inputs = { orders, "silver.fx": fx };

  const CASES: [sql: string, expected: unknown[][]][] = [
    ["select sum(amount) from orders", [[30]]],
    ["select orders.amount * silver.fx.rate from orders join silver.fx using (country) order by 1", [[20], [60]]],
    [
      'select o.id, f.rate from ORDERS o, "silver"."fx" as f where o.country = f.country order by 1',
      [
        [1, 2],
        [2, 3],
      ],
    ],
    ["with fx as (select * from silver.fx) select count(*) from fx, orders -- done\n;", [[4]]],
    ["with orders as (select id + 100 as id from orders) select min(id) from orders", [[101]]],
    [
      "with recursive n(i) as (select min(id) from orders union all select i + 1 from n where i < 3) select max(i) from n",
      [[3]],
    ],
    [
      "(with a as (select * from orders) select id from a) union all select rate from silver.fx order by 1",
      [[1], [2], [2], [3]],
    ],
    ["((select count(*) from orders))", [[2]]],
    ["from orders select id order by id desc", [[2], [1]]],
    [
      "table orders",
      [
        [1, "DE", 10],
        [2, "FR", 20],
      ],
    ],
    ["select column_name from (summarize orders)", [["id"], ["country"], ["amount"]]],
    [
      "describe orders",
      [
        ["id", "INTEGER", "YES", null, null, null],
        ["country", "VARCHAR", "YES", null, null, null],
        ["amount", "INTEGER", "YES", null, null, null],
      ],
    ],
    [
      "select * from (pivot orders on country in ('DE', 'FR') using sum(amount) group by id) order by id",
      [
        [1, 10, null],
        [2, null, 20],
      ],
    ],
    [
      "select (select max(amount) from orders), exists (from silver.fx where rate > 2), 20 in (select amount from orders)",
      [[20, true, true]],
    ],
    ["select 'orders', \"é\".id from orders \"é\" /* orders */ where id = 1 and '-- orders' <> ''", [["orders", 1]]],
    ["select * from orders where id = $2 and amount = $1", [[2, "FR", 20]]],
    ["values (1), (2)", [[1], [2]]],
  ];
  for (const [sql, expected] of CASES) {
    test(`are found wherever a table can stand: ${sql.slice(0, 70)}`, async () => {
      assert.deepEqual(await rows(sql, inputs, sql.includes("$2") ? [20, 2] : undefined), expected);
    });
  }

  test("views compile in their turn, each input once", async () => {
    const clean: Relation = {
      kind: "view",
      statement: statement("select id, amount from orders where id > 0", { orders }),
    };
    const doubled: Relation = {
      kind: "view",
      statement: statement("with x as (from clean) select id, amount * 2 as amount from x", { clean }),
    };
    const sql = "select sum(a.amount), sum(b.amount) from gold.doubled a join silver.clean b using (id)";
    const all = { "gold.doubled": doubled, "silver.clean": clean };
    assert.deepEqual(await rows(sql, all), [[60, 30]]);
    const text = await engine.local.compile(statement(sql, all));
    assert.equal(text.match(/VALUES \(1, 'DE'/g)?.length, 1);
    assert.deepEqual(await engine.local.rows(`SELECT * FROM (${text})`), [
      { "sum(a.amount)": 60n, "sum(b.amount)": 30n },
    ]);
  });

  test("an unknown name is refused with the nearest one, whatever the engine itself may hold under it", async () => {
    await fails(rows("select * from ordrs", inputs), "TABLE_UNKNOWN", /"ordrs"; did you mean "orders"\?/);
    await fails(rows("select * from duckdb_settings", inputs), "TABLE_UNKNOWN");
    await fails(rows("select * from information_schema.tables", inputs), "TABLE_UNKNOWN");
    await fails(rows("select * from '/etc/passwd'", inputs), "TABLE_UNKNOWN");
    await fails(rows("select * from __m0, orders", inputs), "TABLE_UNKNOWN");
  });
});

describe("files as an input", () => {
  const lake = () => join(dir, "lake");
  before(async () => {
    const { mkdir } = await import("node:fs/promises");
    await mkdir(lake(), { recursive: true });
  });
  const columns = [
    column("id", { kind: "long" }),
    column("name", { kind: "string" }),
    column("s", { kind: "struct", fields: [column("a", { kind: "long" }), column("b", { kind: "string" })] }),
    column("added", { kind: "decimal", precision: 18, scale: 2 }),
  ];

  test("older files give null for columns and fields they lack, and narrower types are widened", async () => {
    const old = join(lake(), "old.parquet");
    const fresh = join(lake(), "fresh.parquet");
    await engine.local.run(`COPY (SELECT 1::INT AS id, 'x' AS name, {a: 1} AS s) TO '${old}'`);
    await engine.local.run(
      `COPY (SELECT 2.5::DECIMAL(18,2) AS added, {b: 'q', a: 2::BIGINT} AS s, 2::BIGINT AS id, 'y' AS name) TO '${fresh}'`,
    );
    const files = [old, fresh].map((path) => ({ path, partition: {} }));
    const result = await engine.query(statement("from t order by id", { t: { kind: "files", columns, files } }));
    assert.deepEqual(result.columns, columns);
    const all = [];
    for await (const batch of result.batches) all.push(...batch);
    assert.deepEqual(all, [
      [1, "x", { a: 1, b: null }, null],
      [2, "y", { a: 2, b: "q" }, "2.50"],
    ]);
  });

  test("no files are an empty relation with the same columns", async () => {
    const result = await engine.query(statement("from t", { t: { kind: "files", columns, files: [] } }));
    assert.deepEqual(result.columns, columns);
    for await (const batch of result.batches) assert.deepEqual(batch, []);
    assert.deepEqual(await rows("select count(*) from t", { t: { kind: "files", columns, files: [] } }), [[0]]);
  });

  test("no character of a path is a wildcard, and none ends the SQL", async () => {
    const names = ["a*b", "a?b", "a[1]b", "a'b", 'a"b', "a b%20é", "x=1", "a,b", "{x,y}", "semi;--"];
    for (const [index, name] of names.entries()) {
      const path = join(lake(), "odd", `${name}.parquet`);
      await engine.write(statement(`select ${index} as id`), { path: async () => path });
    }
    for (const [index, name] of names.entries()) {
      const files = [{ path: join(lake(), "odd", `${name}.parquet`), partition: {} }];
      const t: Relation = { kind: "files", columns: [column("id", { kind: "long" })], files };
      assert.deepEqual(await rows("select * from t", { t }), [[index]], name);
    }
  });

  for (const [how, count] of [
    ["few", 3],
    ["thousands of", 3000],
  ] as const) {
    test(`${how} partitions give each row its file's typed values, nulls included`, async () => {
      const path = join(lake(), "part.parquet");
      await engine.local.run(`COPY (SELECT 7 AS id) TO '${path}'`);
      const day = (i: number) => new Date(Date.UTC(2020, 0, 1 + i)).toISOString().slice(0, 10);
      const files = Array.from({ length: count }, (_, i) => ({
        path,
        partition: { day: i === 2 ? null : day(i), "odd 'name": `${i}` },
      }));
      const t: Relation = {
        kind: "files",
        columns: [
          column("day", { kind: "date" }),
          column("id", { kind: "integer" }),
          column("odd 'name", { kind: "integer" }),
        ],
        files,
      };
      const sql = `select day, id, "odd 'name" + 1 from t where "odd 'name" <= 2 order by "odd 'name"`;
      assert.deepEqual(await rows(sql, { t }), [
        ["2020-01-01", 7, 1],
        ["2020-01-02", 7, 2],
        [null, 7, 3],
      ]);
      assert.deepEqual(await rows("select count(*), count(day), count(distinct day) from t", { t }), [
        [count, count - 1, count - 1],
      ]);
      assert.deepEqual(await rows(`select id from t where day = date '${day(1)}'`, { t }), [[7]]);
    });
  }

  test("a large file is read once, and a column may be named as DuckDB names the number of a file", async () => {
    const count = 500_000;
    const path = join(lake(), "large [x]*.parquet");
    await engine.write(statement(`select range as id, 7 as file_index from range(${count})`), {
      path: async () => path,
    });
    const names = (...columns: string[]) => columns.map((name) => column(name, { kind: "long" }));
    const of = (columns: Column[], rowCount?: number): Relation => {
      return { kind: "files", columns, files: [{ path, partition: { day: "2026-01-01" }, rowCount }] };
    };
    const day = column("day", { kind: "date" });
    for (const rowCount of [undefined, count]) {
      const t = of([...names("id"), day], rowCount);
      const sql = "select count(*), count(distinct id), sum(id), min(day) from t";
      assert.deepEqual(await rows(sql, { t }), [[count, count, 124_999_750_000, "2026-01-01"]]);
      const limited = "select count(*) from t join (select id from t where id < 100) using (id)";
      assert.deepEqual(await rows(limited, { t }), [[100]]);
      const named = of([...names("id", "file_index"), day], rowCount);
      assert.deepEqual(await rows("select count(*), sum(file_index) from t", { t: named }), [[count, 7 * count]]);
      assert.deepEqual(await rows("select count(*) from t", { t: of([day], rowCount) }), [[count]]);
    }
    const small = join(lake(), "named.parquet");
    await engine.local.run(`COPY (SELECT 7::BIGINT AS file_index) TO '${small}'`);
    const files = Array.from({ length: 300 }, (_, i) => ({ path: small, partition: { p: `${i}` } }));
    const t: Relation = { kind: "files", columns: names("file_index", "p"), files };
    assert.deepEqual(await rows("select count(*), sum(file_index), max(p) from t", { t }), [[300, 2100, 299]]);
  });

  test("a table of which every column is a partition column keeps its rows", async () => {
    const path = join(lake(), "only.parquet");
    await engine.local.run(`COPY (SELECT range AS other FROM range(5)) TO '${path}'`);
    const t: Relation = {
      kind: "files",
      columns: [column("p", { kind: "string" })],
      files: [{ path, partition: { p: "x" } }],
    };
    assert.deepEqual(await rows("select p, count(*) from t group by p", { t }), [["x", 5]]);
  });
});

describe("a query", () => {
  test("is stopped when its time is up, also in the middle of its rows", async () => {
    const endless = "select count(*) from range(100000000000) a(i) where i % 7 = 3";
    const started = performance.now();
    await fails(rows(endless, {}, [], { timeoutMs: 50 }), "QUERY_TIMEOUT", /longer than 50 ms/);
    assert.ok(performance.now() - started < 2000);
    const result = await engine.query(statement("select i from range(1000000000) t(i)"), { timeoutMs: 50 });
    await fails(
      (async () => {
        for await (const _ of result.batches);
      })(),
      "QUERY_TIMEOUT",
    );
  });

  test("is stopped by its signal, before or while it runs", async () => {
    await fails(rows("select 1", {}, [], { signal: AbortSignal.abort() }), "QUERY_CANCELLED");
    const endless = "select count(*) from range(100000000000) a(i) where i % 7 = 3";
    // The signal comes at each turn of the event loop while the statement gets its connection and begins.
    for (let turns = 0; turns < 20; turns++) {
      const early = new AbortController();
      const beginning = rows(endless, {}, [], { signal: early.signal, onProgress: () => {}, timeoutMs: 20_000 });
      const checked = fails(beginning, "QUERY_CANCELLED");
      for (let i = 0; i < turns; i++) await setImmediate();
      early.abort();
      await checked;
    }
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 30);
    await fails(rows(endless, {}, [], { signal: controller.signal }), "QUERY_CANCELLED");
  });

  test("is cancelled by the end of the iteration, and the engine goes on", async () => {
    const result = await engine.query(statement("select i from range(1000000000) t(i)"));
    for await (const batch of result.batches) {
      assert.deepEqual(batch[0], [0]);
      break;
    }
    assert.deepEqual(await rows("select 1"), [[1]]);
  });

  test("that needs too much memory fails alone and says so", async () => {
    await fails(
      rows("select list(i), list(i::varchar || repeat('x', 100)) from range(10000000) t(i)"),
      "QUERY_OUT_OF_MEMORY",
    );
    assert.deepEqual(await rows("select 1"), [[1]]);
  });

  test("that fails names the reason without the engine's own names", async () => {
    const orders = native("SELECT 'abc' AS name");
    await fails(
      rows("select name::int from orders", { orders }),
      "SQL_FAILED",
      /^the SQL failed: Could not convert string 'abc' to INT32/,
    );
    // The engine's own errors look like this; text that an event brought must not pass for one.
    for (const text of ['{"exception_type":"IO","exception_message":"x"}', '{"a":1}', "{"])
      await fails(rows(`select error('${text}') from orders`, { orders }), "SQL_FAILED", /^the SQL failed: \{/);
    const error = await rows("select nam from orders", { orders }).catch((e) => e);
    assert.equal(error.code, "SQL_FAILED");
    assert.match(error.message, /"nam" not found.*"name"/);
    assert.doesNotMatch(error.message, /__m/);
    const t: Relation = {
      kind: "files",
      columns: [column("id", { kind: "long" })],
      files: [{ path: join(dir, "lake", "gone.parquet"), partition: {} }],
    };
    const gone = await rows("from t", { t }).catch((e) => e);
    assert.equal(gone.code, "ENGINE_IO");
    assert.match(gone.message, /"gone.parquet"/);
    assert.ok(!gone.message.includes(dir), gone.message);
  });

  test("makes no value larger than a real query needs: the engine's memory limit would not stop it", async () => {
    const BOMBS = [
      "repeat('x', 1000000000)",
      "repeat(repeat('x', 1000), 1000)",
      "lpad('x', 1000000000, 'y')",
      "rpad('x', 1000000000, 'y')",
      "replace(repeat('x', 100000), 'x', repeat('y', 100000))",
      "regexp_replace(repeat('x', 100000), 'x', repeat('y', 100000), 'g')",
      "range(1000000000)",
      "generate_series(1000000000)",
      "range(-1000000000, 5)",
      "range(0, 1000000000, 2)",
      "range(1000000000, 0, -2)",
      "range(timestamp '2000-01-01', timestamp '2024-01-01', interval 1 second)",
      "generate_series(date '2000-01-01', date '2024-01-01', interval 1 minute)",
      "range(timestamptz '2000-01-01', timestamptz '2024-01-01', interval 1 microsecond)",
      "list_resize([1], 1000000000)",
      "array_resize([1], 1000000000, 0)",
    ];
    for (const bomb of BOMBS) {
      await fails(rows(`select len(${bomb})`), "SQL_FAILED", /makes more than \d+ (bytes|items) in one value/);
      const perRow = bomb.replaceAll("1000000000", "(1000000000 + i)::INTEGER");
      await fails(rows(`select len(${perRow}) from range(3) t(i)`), "SQL_FAILED", /makes more than/);
    }
  });

  test("uses the bounded functions as ever", async () => {
    assert.deepEqual(
      await rows(`select repeat('ab', 3), repeat([1], 2), lpad('7', 3, '0'), rpad('7', 3, '0'), replace('aXa', 'a', 'bb'),
        regexp_replace('aaa', 'a', 'b'), regexp_replace('aaa', 'a', 'b', 'g'), range(3), range(2, 4), range(5, 0, -2),
        generate_series(1, 3), len(range(date '2024-01-01', date '2024-03-01', interval 1 month)),
        len(generate_series(timestamp '2024-01-01', timestamp '2024-01-02', interval 1 hour)),
        len(range(timestamptz '2024-01-01', timestamptz '2024-02-01', interval 1 day)), list_resize([1], 2), list_resize([1], 3, 0),
        repeat(null, 3), range(null), replace(null, 'a', 'b')`),
      [
        [
          "ababab",
          [1, 1],
          "007",
          "700",
          "bbXbb",
          "baa",
          "bbb",
          [0, 1, 2],
          [2, 3],
          [5, 3, 1],
          [1, 2, 3],
          2,
          25,
          31,
          [1, null],
          [1, 0, 0],
          null,
          null,
          null,
        ],
      ],
    );
    assert.deepEqual(await rows("select count(*) from range(1000000)"), [[1_000_000]]);
    assert.deepEqual(
      await rows("select count(*) from generate_series(date '2000-01-01', date '2024-01-01', interval 1 hour)"),
      [[210_385]],
    );
  });

  test("that fails behind its first rows fails, with its reason, and never ends as if it were whole", async () => {
    const late = "select case when i = $1 then error('late ' || i) else i end from range(1000000) t(i)";
    const result = await engine.query(statement(late, {}, [900_000]));
    let count = 0;
    const reading = (async () => {
      for await (const batch of result.batches) count += batch.length;
    })();
    await fails(reading, "SQL_FAILED", /late 900000/);
    assert.ok(count > 0 && count < 1_000_000);
    const few = "select i from range(3000000) t(i) where case when i = 2900000 then error('late') else i end > 2800000";
    await fails(rows(few), "SQL_FAILED", /late/);
  });

  test("takes parameters of every JSON kind", async () => {
    assert.deepEqual(await rows("select ?, ?, ?, ?, ?, ?", {}, [1, "é", null, true, 1.5, { a: [1] }]), [
      [1, "é", null, true, 1.5, '{"a":[1]}'],
    ]);
    await fails(rows("select ?", {}, []), "SQL_FAILED", /takes 1 parameter, got 0/);
    await fails(rows("select 1", {}, [1]), "SQL_FAILED", /takes 0 parameters, got 1/);
  });

  test("reads and writes nothing outside the allowed folders, and changes no setting", async () => {
    await writeFile(join(dir, "secret.txt"), "secret");
    await fails(
      engine.local.run(`SELECT * FROM read_text('${dir}/secret.txt')`),
      "SQL_FAILED",
      /disabled by configuration/,
    );
    await fails(
      engine.local.run(`SELECT * FROM read_text('${dir}/lake/../secret.txt')`),
      "SQL_FAILED",
      /disabled by configuration/,
    );
    await fails(engine.local.run(`COPY (SELECT 1) TO '${dir}/out.csv'`), "SQL_FAILED", /disabled by configuration/);
    await fails(engine.local.run("SET memory_limit = '100GB'"), "SQL_FAILED", /locked/);
    await fails(engine.local.run("INSTALL httpfs"), "SQL_FAILED");
    await fails(engine.local.run("LOAD httpfs"), "SQL_FAILED");
    await fails(engine.local.run(`ATTACH '${dir}/x.db'`), "SQL_FAILED");
    assert.deepEqual((await readdir(dir)).sort(), ["lake", "secret.txt", "tmp"]);
  });
});

describe("the engine", () => {
  const open = (memoryBytes: number) =>
    openDuckdbEngine({ memoryBytes, threads: 2, tempDir: join(dir, "other"), allowedDirs: [] });

  test("closes with statements under way, read or not, and takes nothing new", async () => {
    const other = await open(128 * 2 ** 20);
    const endless = statement("select count(*) from range(100000000000) t(i) where i % 7 = 3");
    const counting = other.query(endless);
    const unread = await other.query(statement("select i from range(100000000000) t(i)"));
    const local = other.local.run("CREATE TABLE x AS SELECT count(*) FROM range(100000000000) t(i) WHERE i % 7 = 3");
    const ends = [fails(counting, "QUERY_CANCELLED"), assert.rejects(local)];
    await new Promise((resolve) => setTimeout(resolve, 50));
    const started = performance.now();
    await other.close();
    assert.ok(performance.now() - started < 2000);
    await Promise.all(ends);
    await fails(
      (async () => {
        for await (const _ of unread.batches);
      })(),
      "QUERY_CANCELLED",
    );
    await fails(other.query(statement("select 1")), "SHUTTING_DOWN");
    await fails(other.local.run("SELECT 1"), "SHUTTING_DOWN");
    await other.close();
  });

  test("goes on with the disk where memory ends, and leaves nothing there", async () => {
    const other = await open(64 * 2 ** 20);
    const result = await other.query(statement("select i, md5(i::varchar) as h from range(1200000) t(i) order by h"));
    let count = 0;
    for await (const batch of result.batches) count += batch.length;
    assert.equal(count, 1_200_000);
    await other.close();
    assert.deepEqual(await readdir(join(dir, "other", "duckdb")), []);
  });

  test("runs statements side by side", async () => {
    const sums = await Promise.all(
      Array.from({ length: 20 }, (_, n) => rows(`select sum(i) + ${n} from range(100000) t(i)`)),
    );
    assert.deepEqual(
      sums.map(([row]) => row?.[0]),
      Array.from({ length: 20 }, (_, n) => 4999950000 + n),
    );
  });
});

describe("the local session", () => {
  test("gives plain values and typed columns", async () => {
    await engine.local.run(
      "CREATE SCHEMA stage; CREATE TABLE stage.t AS SELECT i AS a, i * 0.5e0 AS b, i::UBIGINT AS c, 'x' || i AS s FROM range(5000) r(i)",
    );
    assert.deepEqual(await engine.local.rows("SELECT a, b, s, null AS n FROM stage.t LIMIT 1"), [
      { a: 0n, b: 0, s: "x0", n: null },
    ]);
    const [a, b, c] = await engine.local.columns("SELECT a, b, c FROM stage.t");
    assert.ok(a instanceof BigInt64Array && b instanceof Float64Array && c instanceof BigUint64Array);
    assert.equal(a.length, 5000);
    assert.deepEqual([a[4999], b[4999], c[4999]], [4999n, 2499.5, 4999n]);
    await assert.rejects(engine.local.columns("SELECT s FROM stage.t"), /column "s" is VARCHAR/);
  });
});
