import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { replaceTables } from "../../src/define/replace-tables.ts";
import { referenceName, tableReferences } from "../../src/define/sql-ast.ts";
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

test("a statement whose tables are renamed reads only the new names and gives the same columns", async () => {
  const rename = new Map([
    ["orders", "r1"],
    ["silver.orders", "r2"],
    ["silver.fx", "r3"],
  ]);
  const statements = [
    "select orders.k, orders.s.f as f from orders",
    "select silver.orders.k, silver.orders.s.f as f, orders.s as s from silver.orders",
    "select o.k as a, silver.fx.k as b from silver.orders o, silver.fx where o.k = silver.fx.k",
    "select orders.*, fx.s as t from silver.orders join silver.fx using (k)",
    "select k from orders silver",
    "select silver.s as fx from orders silver, silver.fx",
    "with orders as (select * from orders) select orders.k, (select max(silver.fx.k) from silver.fx) as m from orders",
    "select silver.orders.k as a, gold.orders.k as b from silver.orders join gold.orders on silver.orders.k = gold.orders.k",
    "select k from orders union all select k from silver.orders order by k",
    "select * from orders o(a, b) where o.a > 1",
    "select orders.k from silver.orders union all select orders.k from gold.orders",
    "select orders.k, (select max(silver.orders.k) from silver.orders join gold.orders using (k)) as m from silver.orders",
    "select silver.orders.k from silver.orders where exists (select 1 from rates where rates.k = silver.orders.k)",
    "select a.k as x, b.k as y from orders a, orders b",
  ];
  for (const sql of statements) {
    const text = replaceTables(sql, await inspector.parse(sql), (reference) => rename.get(referenceName(reference)));
    const read = await names(text);
    assert.ok(
      read.every((name) => ["r1", "r2", "r3", "gold.orders", "rates"].includes(name)),
      `${text} reads ${read}`,
    );
    assert.deepEqual(await inspector.describe(text), await inspector.describe(sql), text);
  }
});

test("tables of one name in two schemas stay apart when both are renamed", async () => {
  const sql =
    "select silver.orders.k as a, gold.orders.k as b from silver.orders join gold.orders on silver.orders.k = gold.orders.k";
  const text = replaceTables(sql, await inspector.parse(sql), ({ schema }) => (schema === "silver" ? "r1" : "r2"));
  assert.deepEqual((await names(text)).sort(), ["r1", "r2"]);
  assert.deepEqual(await inspector.describe(text), await inspector.describe(sql), text);
});
