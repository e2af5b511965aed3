import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import fc from "fast-check";
import type { Column } from "../../src/define/project.ts";
import { replaceTables } from "../../src/define/replace-tables.ts";
import { referenceName } from "../../src/define/sql-ast.ts";
import type { SqlInspector } from "../../src/define/sql-inspector.ts";
import { type ColumnPredicate, conjunctivePredicates, predicatesByTable } from "../../src/define/sql-predicates.ts";
import { quoteIdentifier, quoteLiteral } from "../../src/define/sql-text.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";

const kinds = {
  k: "long",
  n: "integer",
  name: "string",
  day: "date",
  ts: "timestamp",
  flag: "boolean",
  x: "double",
} as const;
const columns: readonly Column[] = Object.entries(kinds).map(([name, kind]) => ({
  name,
  type: { kind },
  nullable: true,
}));
const only = (name: string): readonly Column[] => columns.filter((c) => c.name === "k" || c.name === name);
const tables = new Map<string, readonly Column[]>([
  ["orders", columns],
  ["silver.fx", only("name")],
  ["wide", columns],
]);

let inspector: SqlInspector;
let instance: DuckDBInstance;
let db: DuckDBConnection;
before(async () => {
  inspector = await openDuckdbInspector();
  instance = await DuckDBInstance.create(":memory:");
  db = await instance.connect();
  await db.run("set TimeZone = 'UTC'; create schema silver");
  const row = `case when i % 7 = 0 then null else i % 10 end as k, i % 5 as n, chr(97 + (i % 4)::int) as name,
    date '2024-01-01' + (i % 6)::int as day, timestamptz '2024-01-01 00:00:00+00' + i * interval '3 hours' as ts, i % 3 = 0 as flag, i / 4 as x`;
  await db.run(`create table orders as select ${row} from range(40) t(i)`);
  await db.run(`create table wide as select ${row} from range(20, 60) t(i)`);
  await db.run("create table silver.fx as select k, name from orders where k < 6");
});
after(() => {
  inspector.close();
  db.closeSync();
  instance.closeSync();
});

async function predicates(sql: string): Promise<Record<string, readonly ColumnPredicate[]>> {
  const mentions = conjunctivePredicates(await inspector.parse(sql), (name) => tables.get(name));
  return Object.fromEntries(predicatesByTable(mentions));
}

test("comparisons with constants that AND joins become predicates in the table's own terms", async () => {
  const sql = `select * from orders o where o.k > 5 and 3 >= n and name = 'a' and day between '2024-01-02' and date '2024-01-05'
    and ts >= timestamptz '2024-01-01 10:30:00.5+02' and name in ('a', 'b') and flag = true and k is not null and x is null
    and ts < '2024-03-01'`;
  assert.deepEqual(await predicates(sql), {
    orders: [
      { column: "k", op: ">", value: 5 },
      { column: "n", op: "<=", value: 3 },
      { column: "name", op: "=", value: "a" },
      { column: "day", op: ">=", value: "2024-01-02" },
      { column: "day", op: "<=", value: "2024-01-05" },
      { column: "ts", op: ">=", value: "2024-01-01T08:30:00.500000Z" },
      { column: "name", op: "in", values: ["a", "b"] },
      { column: "flag", op: "=", value: true },
      { column: "k", op: "is not null" },
      { column: "x", op: "is null" },
      { column: "ts", op: "<", value: "2024-03-01T00:00:00.000000Z" },
    ],
  });
});

test("what is not surely such a condition gives none", async () => {
  const where = [
    "k > 5 or n = 1",
    "not (k > 5 and n = 1)",
    "k <> 5",
    "k not in (1, 2)",
    "k + 1 > 5",
    "k > n",
    "k > null",
    "name = 5",
    "k = '5'",
    "day = timestamp '2024-01-02 00:00:00'",
    "x > 1.5",
    "name like 'a%'",
    "k in (select k from silver.fx)",
    "k > (select 5)",
    "ts > now()",
    "ts > 'yesterday'",
    "ts >= '2024-01-01 10:30:00'::date",
    "k is distinct from 5",
    "orders.flag",
  ];
  for (const condition of where) {
    const found = await predicates(`select * from orders where ${condition}`);
    assert.deepEqual(found.orders, [], condition);
  }
});

test("a table that a join makes optional, or whose other rows a join looks at, keeps all its rows", async () => {
  const keeps: [string, string][] = [
    ["orders o left join silver.fx f on true", "f"],
    ["silver.fx f right join orders o on true", "f"],
    ["orders o full join silver.fx f on true", "f"],
    ["orders o full join silver.fx f on true", "o"],
    ["orders o asof join silver.fx f on o.k >= f.k", "f"],
    ["orders o positional join silver.fx f", "f"],
    ["orders o positional join silver.fx f", "o"],
    ["orders o tablesample 50%", "o"],
  ];
  for (const [from, alias] of keeps) {
    const found = await predicates(`select 1 as one from ${from} where ${alias}.k > 5`);
    assert.deepEqual(Object.values(found).flat(), [], from);
  }
  assert.deepEqual(await predicates("select 1 as one from orders o left join silver.fx f on true where o.k > 5"), {
    orders: [{ column: "k", op: ">", value: 5 }],
    "silver.fx": [],
  });
});

test("a column that may be another table's gives no predicate; one that only one table has does", async () => {
  assert.deepEqual(await predicates("select 1 as one from orders, silver.fx where k > 5 and n = 1"), {
    orders: [{ column: "n", op: "=", value: 1 }],
    "silver.fx": [],
  });
  assert.deepEqual(await predicates("select 1 as one from orders, unknown where n = 1"), { orders: [], unknown: [] });
  assert.deepEqual(await predicates("select 1 as one from orders, (select 1 as n) q where n = 1"), { orders: [] });
  assert.deepEqual(await predicates("select 1 as one from orders as o(n, k) where n = 1"), { orders: [] });
  assert.deepEqual(await predicates("select 1 as one from silver.fx where silver.fx.k = 1 and fx.name = 'a'"), {
    "silver.fx": [
      { column: "k", op: "=", value: 1 },
      { column: "name", op: "=", value: "a" },
    ],
  });
  // A column of the outer query is not the inner table's.
  assert.deepEqual(await predicates("select (select max(k) from silver.fx where n = 1) as m from orders"), {
    "silver.fx": [],
    orders: [],
  });
});

test("conditions inside CTEs and subqueries count for the tables in them, and mentions of one table share what all say", async () => {
  assert.deepEqual(await predicates("with q as (select * from orders where k > 5) select * from q where n = 1"), {
    orders: [{ column: "k", op: ">", value: 5 }],
  });
  assert.deepEqual(
    await predicates("select k from orders where k > 5 and n = 1 union all select k from orders where n = 1 and k > 6"),
    { orders: [{ column: "n", op: "=", value: 1 }] },
  );
  assert.deepEqual(await predicates("select * from orders where k > 5 and k < (select max(k) from orders)"), {
    orders: [],
  });
});

test("an older state of a table is left alone", async () => {
  assert.deepEqual(await predicates("select * from orders at (version => 3) where k > 5"), { orders: [] });
});

test("law: leaving out the rows that the predicates exclude never changes a result", async () => {
  const condition = (alias: string) =>
    fc.oneof(
      fc
        .tuple(fc.constantFrom("k", "n"), fc.constantFrom("=", "<", "<=", ">", ">=", "<>"), fc.nat(9))
        .map(([c, op, v]) => `${alias}${c} ${op} ${v}`),
      fc.tuple(fc.nat(9), fc.nat(9)).map(([a, b]) => `${alias}k between ${a} and ${b}`),
      fc.constantFrom("a", "b", "c").map((v) => `${alias}name = '${v}'`),
      fc.constantFrom("is null", "is not null", "in (1, 2, 3)", "not in (1, 2)").map((op) => `${alias}k ${op}`),
      fc.nat(6).map((d) => `${alias}day >= '2024-01-0${d + 1}'`),
      fc.nat(5).map((d) => `${alias}ts < timestamptz '2024-01-0${d + 1} 07:00:00+02'`),
      fc.constant(`(${alias}k > 3 or ${alias}n = 1)`),
      fc.constant(`not ${alias}k < 4`),
    );
  const join = fc.constantFrom(
    "join",
    "left join",
    "right join",
    "full join",
    "semi join",
    "anti join",
    "asof join",
    "positional join",
    "cross join",
  );
  const statement = fc
    .tuple(join, fc.array(condition("o."), { maxLength: 3 }), fc.array(condition("w."), { maxLength: 2 }))
    .map(([kind, left, right]) => {
      const on =
        kind === "asof join" ? "on o.n = w.n and o.ts >= w.ts" : /positional|cross/.test(kind) ? "" : "on o.k = w.k";
      const halved = /semi|anti/.test(kind) ? left : [...left, ...right];
      const where = halved.length > 0 ? `where ${halved.join(" and ")}` : "";
      return `select count(*) as n, sum(o.n) as s, max(o.ts) as a from orders o ${kind} wide w ${on} ${where}`;
    });
  await fc.assert(
    fc.asyncProperty(statement, async (sql) => {
      const ast = await inspector.parse(sql);
      const mentions = conjunctivePredicates(ast, (name) => tables.get(name));
      const pruned = replaceTables(sql, ast, (reference) => `pruned_${referenceName(reference)}`);
      for (const [name, list] of predicatesByTable(mentions)) {
        await db.run(`create or replace temp view pruned_${name} as select * from ${name} where ${asSql(list)}`);
      }
      const [whole, part] = [await rows(sql), await rows(pruned)];
      assert.deepEqual(part, whole, sql);
    }),
    { numRuns: 150 },
  );
});

async function rows(sql: string): Promise<unknown> {
  return (await db.runAndReadAll(sql)).getRowsJson();
}

function asSql(list: readonly ColumnPredicate[]): string {
  const literal = (value: unknown) => (typeof value === "string" ? quoteLiteral(value) : String(value));
  const parts = list.map((p) => {
    const column = quoteIdentifier(p.column);
    if (p.op === "in") return `${column} in (${p.values.map(literal).join(", ")})`;
    return "value" in p ? `${column} ${p.op} ${literal(p.value)}` : `${column} ${p.op}`;
  });
  return ["true", ...parts].join(" and ");
}
