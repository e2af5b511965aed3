import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  appendToSelectList,
  functionsUsed,
  hasParameters,
  referenceName,
  tableReferences,
} from "../../src/define/sql-ast.ts";
import type { SqlInspector } from "../../src/define/sql-inspector.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";

let inspector: SqlInspector;
before(async () => {
  inspector = await openDuckdbInspector();
  const columns = [
    { name: "k", type: { kind: "long" }, nullable: true },
    {
      name: "s",
      type: { kind: "struct", fields: [{ name: "f", type: { kind: "long" }, nullable: true }] },
      nullable: true,
    },
  ] as const;
  for (const name of ["orders", "rates", "silver.orders", "gold.orders", "silver.fx", "r1", "r2", "r3"]) {
    await inspector.declare(name, columns);
  }
});
after(() => inspector.close());

async function names(sql: string): Promise<string[]> {
  return tableReferences(await inspector.parse(sql)).map(referenceName);
}

test("tables are found wherever a statement can read one", async () => {
  const statements: [string, string[]][] = [
    ["select * from orders", ["orders"]],
    ["from orders", ["orders"]],
    ['select * from "silver"."Orders" o', ["silver.orders"]],
    ["select * from orders, rates, silver.fx", ["orders", "rates", "silver.fx"]],
    ["select * from orders join (rates left join silver.fx on true) on true", ["orders", "rates", "silver.fx"]],
    ["select * from (select * from orders) where k in (select k from rates)", ["orders", "rates"]],
    ["select (select max(k) from rates), exists (from silver.fx) from orders", ["rates", "silver.fx", "orders"]],
    [
      "select k from orders union all select k from rates except select k from silver.fx",
      ["orders", "rates", "silver.fx"],
    ],
    [
      "select k from orders order by (select max(k) from rates) limit (select 1 from silver.fx)",
      ["orders", "rates", "silver.fx"],
    ],
    [
      "select sum(k) filter (k > (select 1 from rates)) over (order by (select 2 from silver.fx)) from orders",
      ["rates", "silver.fx", "orders"],
    ],
    ["select * from orders, lateral (select * from rates where rates.k = orders.k)", ["orders", "rates"]],
    ["select * from orders where k = any(select k from rates)", ["orders", "rates"]],
    ["select case when true then (select 1 from orders) end", ["orders"]],
    ["select list_transform([1], x -> x + (select k from orders))", ["orders"]],
    ["select * from orders pivot (max(k) for k in (1, 2))", ["orders"]],
    ["select * from memory.silver.orders", ["memory.silver.orders"]],
    ["describe silver.orders", ["silver.orders"]],
    ["values ((select 1 from orders))", ["orders"]],
    ['select \'from rates\' as text, \'{"type":"BASE_TABLE","table_name":"x"}\' as tree from orders', ["orders"]],
    ["select 1", []],
  ];
  for (const [sql, expected] of statements) assert.deepEqual(await names(sql), expected, sql);
});

test("a CTE hides a table of its name exactly where SQL says it does", async () => {
  const statements: [string, string[]][] = [
    ["with rates as (select 1 as k) select * from rates", []],
    ["with RATES as (select 1 as k) select * from Rates", []],
    // The body of a CTE that is not recursive still means the table.
    ["with orders as (select * from orders) select * from orders", ["orders"]],
    ["with recursive orders as (select * from orders) select * from orders", ["orders"]],
    // Of a recursive one, the first half does, the second half does not.
    [
      "with recursive orders as (select k from orders union all select k - 1 from orders where k > 0) from orders",
      ["orders"],
    ],
    ["with a as (select * from orders), orders as (select 1 as k) select * from a, orders", ["orders"]],
    ["with orders as (select 1 as k), a as (select * from orders) select * from a", []],
    // A name in scope stays so in subqueries, and ends with its query.
    ["with orders as (select 1 as k) select (select max(k) from orders) from (select * from orders) q", []],
    ["select * from (with orders as (select 1 as k) select * from orders) q, orders", ["orders"]],
    ["(with orders as (select 1 as k) select k from orders) union all select k from orders", ["orders"]],
    ["with orders as (select 1 as k) select k from orders union all select k from orders", []],
    // A CTE has no schema.
    ["with orders as (select 1 as k) select * from silver.orders, orders", ["silver.orders"]],
    ["with q as (with orders as (select 1 as k) select * from orders) select * from q, orders", ["orders"]],
  ];
  for (const [sql, expected] of statements) assert.deepEqual(await names(sql), expected, sql);
});

test("a reference knows its alias, its place and the older state it asks for", async () => {
  const sql = "select *\nfrom orders o join silver.fx at (version => 3) on true";
  const [orders, fx] = tableReferences(await inspector.parse(sql));
  assert.equal(orders!.alias, "o");
  assert.equal(orders!.position, sql.indexOf("orders"));
  assert.equal(fx!.alias, undefined);
  assert.equal(fx!.at!.unit, "VERSION");
  assert.equal(orders!.at, undefined);
});

test("every function is named with its kind, hidden ones among them", async () => {
  const sql = `select Upper(k), getenv('HOME'), sum(k) over (), count(*), main.lower('A')
    from read_csv('x'), unnest([1]) where k + 1 > (select max(k) from glob('*')) order by random()`;
  const uses = functionsUsed(await inspector.parse(sql));
  const of = (kind: string) => uses.filter((use) => use.kind === kind).map((use) => use.name);
  assert.deepEqual(of("table").sort(), ["glob", "read_csv", "unnest"]);
  assert.deepEqual(of("window"), ["sum"]);
  for (const name of ["upper", "getenv", "count_star", "lower", "max", "random", "+"]) {
    assert.ok(of("plain").includes(name), name);
  }
  assert.equal(uses.find((use) => use.name === "lower")!.schema, "main");
});

test("parameters are seen wherever they stand", async () => {
  for (const sql of ["select ?", "select * from orders where k > $1", "select (select $name)", "select 1 limit ?"]) {
    assert.ok(hasParameters(await inspector.parse(sql)), sql);
  }
  assert.ok(!hasParameters(await inspector.parse("select '?', '$1' from orders")));
});

test("columns are added to the outermost select list only", async () => {
  const ast = await inspector.parse("select o.k from orders o join (select k from rates) r using (k)");
  const text = await inspector.format(appendToSelectList(ast, [["o", "s"]]));
  assert.deepEqual(
    (await inspector.describe(text)).map((c) => c.name),
    ["k", "s"],
  );
  const union = await inspector.parse("select 1 as a union select 2 as a");
  assert.throws(() => appendToSelectList(union, [["a"]]), /select list/);
});
