import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { DuckDBConnection } from "@duckdb/node-api";
import type { SqlInspector } from "../../src/define/sql-inspector.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";

let inspector: SqlInspector;
before(async () => {
  inspector = await openDuckdbInspector();
});
after(() => inspector.close());

const throws = (work: Promise<unknown>, code: string, message: RegExp) =>
  assert.rejects(work, (error: { code?: string; message: string }) => {
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });

describe("parsing", () => {
  test("a faulty text is refused with line and column in characters", async () => {
    await throws(
      inspector.parse("select 'é',\n 1 frm x y z"),
      "SQL_SYNTAX",
      /syntax error at or near "x".* \(line 2, column 7\)/,
    );
  });

  test("anything but one SELECT is refused by what it is", async () => {
    await throws(inspector.parse("select 1; select 2"), "SQL_NOT_A_QUERY", /got 2 statements/);
    await throws(inspector.parse("  -- nothing"), "SQL_NOT_A_QUERY", /got an empty text/);
    await throws(inspector.parse("/* x */ create table a (i int)"), "SQL_NOT_A_QUERY", /begins with "create"/);
    await throws(inspector.parse("copy (select 1) to 'x'"), "SQL_NOT_A_QUERY", /begins with "copy"/);
  });

  test("a trailing semicolon and comments are no second statement", async () => {
    assert.equal(await inspector.format(await inspector.parse("select 1; -- done\n")), "SELECT 1");
  });
});

describe("formatting", () => {
  let connection: DuckDBConnection;
  before(async () => {
    connection = await DuckDBConnection.create();
  });
  after(() => connection.closeSync());
  const rows = async (sql: string) => (await connection.runAndReadAll(sql)).getRowsJson();

  /** One statement per construct that a rewriting of the tree must survive. */
  const STATEMENTS = [
    "select 9007199254740993, -9223372036854775808, 170141183460469231731687303715884105727, 1.10, 1234567890123456789012.34",
    "select 1e400, -1e400 as small, 'Infinity', 1e300, 0.1e0, '\"value\":Infinity}'",
    "select 'it''s', e'tab\\t', 'ünï \u{1f600}', '\"query_location\":18446744073709551615,', ''",
    "select date '2020-01-01', timestamp '2020-01-01 10:00', interval 3 days, interval '1 month', time '10:00:01.5'",
    "select {'a': 1, 'b c': [1, 2]}, map {'k': 1}, [x * 2 for x in [1, 2, 3] if x > 1], [1, 2, 3][2:], ({'a': {'b': 5}}).a.b",
    "select list_transform([1, 2], lambda x : x + 1), case 1 when 1 then 'a' else 'b' end, 1 between 0 and 2, 5 // 2, 2 ** 3, 7 % 4",
    "select 'a' like 'A', 'a' ilike 'A', 'a' not like 'b', 'a' similar to 'a', 'abc' ~ 'b', null is null, 1 is distinct from null, not true",
    "select try_cast('x' as int), '5'::int::varchar, cast('{\"a\":1}' as json) -> 'a', '{\"a\":1}'::json ->> '$.a', coalesce(null, 1), nullif(1, 1)",
    "select count(*), count(distinct i), sum(i) filter (where i > 2), string_agg(i, ',' order by i desc) from range(5) t(i)",
    "select i, sum(i) over (partition by i % 2 order by i rows between 1 preceding and current row exclude ties) from range(5) t(i) order by all",
    "select i, rank() over w, lag(i, 1, 0) over w from range(5) t(i) window w as (order by i desc nulls last) order by i",
    "select i % 2 as k, i % 3 as l, count(*), grouping(k) from range(9) t(i) group by grouping sets ((k), (k, l), ()) order by all nulls first",
    "select i % 2 as k, i % 3 as l, count(*) from range(9) t(i) group by cube (k, l) order by all nulls first",
    "select i from range(9) t(i) qualify row_number() over (partition by i % 2 order by i) = 1 order by i",
    "select i % 2 as k, count(*) as n from range(9) t(i) group by all having n > 4 order by k limit 3 offset 0",
    "select * exclude (i) replace (j + 1 as j), t.* rename (i as z) from (select 1 as i, 2 as j) t",
    "select columns(c -> c like 'a%') + 1, * like 'b%' from (select 1 as aa, 2 as ab, 3 as bb)",
    "select min(columns(*)) from (select 1 as a, 2 as b)",
    "with recursive f(n, v) as (select 1, 1 union all select n + 1, v * (n + 1) from f where n < 5) select * from f order by n",
    "with a as materialized (select 1 as i), b as not materialized (select 2 as i) select * from a, b",
    "select * from (values (1, 'x'), (2, null)) v(a, b) left join (select 1 as a, 9 as c) w using (a) order by a",
    "select * from (select 1 as a) x full join (select 2 as a) y on x.a = y.a order by all nulls first",
    "select * from (select 1 as a) x semi join (select 1 as a) y using (a)",
    "select * from (select 1 as a) x anti join (select 1 as a) y using (a)",
    "select * from (select 5 as t) x asof join (select 3 as t, 'q' as v) y on x.t >= y.t",
    "select * from range(2) a(i) cross join range(2) b(j) positional join range(4) c(k) order by all",
    "select * from range(2) a(i) cross join range(2) b(j) left join range(3) c(k) on c.k = a.i + b.j order by all",
    "select * from range(2) a(i), range(2) b(j) left join range(3) c(k) on c.k = b.j order by all",
    "select * from range(2) a(i) join (range(2) b(j) left join range(3) c(k) on c.k = b.j + 1) on a.i = b.j order by all",
    "select * from (select [1, 2] as l, 'x' as s) t, unnest(t.l) u(v)",
    'select typeof(0.1e0), typeof(1.0e0 * 1.1) as a, typeof(1.1), \'{"class":"CONSTANT"}\' as "al "" ias"',
    "select * from range(3) t(i), lateral (select i * 2 as j) u order by i",
    "select 1 union select 2 union all select 2 order by 1",
    "(select 1 as a, 2 as b) union all by name (select 3 as b, 4 as a) order by a",
    "select 1 except select 2",
    "select 1 intersect all select 1",
    "select (select max(i) from range(3) t(i)), exists (select 1), 3 in (select i from range(5) t(i)), 1 = any (select 1)",
    "select unnest([1, 2]), unnest({'a': 1, 'b': 2})",
    "select * from unnest([3, 4]) with ordinality as u(v, o)",
    "from (select 1 as a, 2 as b) select b, a",
    "select * from (pivot (values ('x', 1), ('y', 2)) t(k, v) on k in ('x', 'y') using sum(v))",
    "select * from (unpivot (select 1 as a, 2 as b) on a, b into name n value v) order by n",
    "select distinct on (a) a, b from (values (1, 2), (1, 3)) v(a, b) order by a, b",
    "select * from range(10) t(i) using sample 100%",
    "select i from range(10) t(i) order by i desc limit 20%",
    "select 100.0, 1e0, 1e2, 5.0e0, -0e0, 1e21, 123456789012345680e0, cast(1 as double)",
    "select 'a' collate nocase = 'A', 'x' || 'y', 'abc'[1], extract(year from date '2020-02-03'), position('b' in 'abc')",
    "select substring('hello' from 2 for 3), trim(both 'x' from 'xax'), timestamptz '2020-01-01 00:00:00+02' at time zone 'UTC'",
    'select "order" as "a ""b""" from (select 1 as "order") "t x"',
    "select -(-1), - 5, +3, ~5, 1 << 2, 6 & 3, 6 | 1, @(-3), 5!",
    "select distinct i % 2 from range(4) t(i) order by 1",
    "select * from (select 1 as a union all select 2) where a in (1, 2, 3) and (a = 1 or a = 2) and not a = 7 order by a",
    "select first(i order by i desc), last(i order by i), list(i order by i), arg_max(i, -i) from range(5) t(i)",
    "select struct_pack(a := 1), list_value(1, 2), array_value(1, 2), [1, 2]::int[2], 'a'::enum('a', 'b')",
  ];

  for (const sql of STATEMENTS) {
    test(`means the same after parse and format: ${sql.slice(0, 60)}`, async () => {
      const formatted = await inspector.format(await inspector.parse(sql));
      const types = async (text: string) => (await inspector.describe(text)).map((column) => column.type);
      assert.deepEqual(await types(formatted), await types(sql));
      assert.deepEqual(await rows(formatted), await rows(sql));
    });
  }
});

describe("binding", () => {
  before(async () => {
    await inspector.declare("orders", [
      { name: "order_id", type: { kind: "string" }, nullable: false },
      { name: "amount", type: { kind: "decimal", precision: 18, scale: 2 }, nullable: true },
      { name: "placed_at", type: { kind: "timestamp" }, nullable: true },
      { name: "extra", type: { kind: "array", element: { kind: "json" }, elementNullable: true }, nullable: true },
      { name: 'odd "name', type: { kind: "long" }, nullable: true },
    ]);
    await inspector.declare("silver.fx", [
      { name: "country", type: { kind: "string" }, nullable: true },
      { name: "rate", type: { kind: "double" }, nullable: true },
    ]);
  });

  test("the columns of a statement come with the platform's types", async () => {
    const columns = await inspector.describe(
      "select *, rate * 2 as r2, date(placed_at) as day, count(*) over () as n from orders, silver.fx -- all\n;",
    );
    assert.deepEqual(
      columns.map((column) => [column.name, column.type.kind]),
      [
        ["order_id", "string"],
        ["amount", "decimal"],
        ["placed_at", "timestamp"],
        ["extra", "array"],
        ['odd "name', "long"],
        ["country", "string"],
        ["rate", "double"],
        ["r2", "double"],
        ["day", "date"],
        ["n", "long"],
      ],
    );
    assert.deepEqual(columns[3]?.type, { kind: "array", element: { kind: "json" }, elementNullable: true });
  });

  test("an unknown column is refused with its place and the nearest name", async () => {
    const failure = await inspector.describe("select 1,\n ordr_id from orders").catch((error) => error);
    assert.equal(failure.code, "SQL_BIND");
    assert.match(failure.message, /"ordr_id" not found.*order_id.*\(line 2, column 2\)/);
    assert.deepEqual(failure.details, {
      line: 2,
      column: 2,
      name: "ordr_id",
      candidates: ["order_id", 'odd "name', "placed_at"],
    });
  });

  test("declaring a name again replaces its columns", async () => {
    await inspector.declare("silver.again", [{ name: "a", type: { kind: "long" }, nullable: true }]);
    await inspector.declare("silver.again", [{ name: "b", type: { kind: "date" }, nullable: true }]);
    assert.deepEqual(await inspector.describe("from silver.again"), [
      { name: "b", type: { kind: "date" }, nullable: true },
    ]);
  });

  test("a statement that would read a file is refused without opening it", async () => {
    await throws(inspector.describe("from read_text('/etc/hostname')"), "SQL_BIND", /disabled by configuration/);
    await throws(inspector.describe("from '/etc/hostname.csv'"), "SQL_BIND", /disabled by configuration/);
  });
});
