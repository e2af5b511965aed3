import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { appendColumns } from "../../src/define/append-columns.ts";
import type { SqlInspector } from "../../src/define/sql-inspector.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";

let inspector: SqlInspector;
before(async () => {
  inspector = await openDuckdbInspector();
  const long = { kind: "long" } as const;
  await inspector.declare("orders", [
    { name: "a", type: long, nullable: true },
    { name: "b", type: long, nullable: true },
    { name: "text", type: { kind: "string" }, nullable: true },
    { name: "_offset", type: long, nullable: true },
  ]);
});
after(() => inspector.close());

test("a column is added at the end of the outermost select list, whatever surrounds it", async () => {
  const statements = [
    "select a from orders",
    "SELECT a, b FROM orders WHERE a > 1;",
    "select a, b, from orders",
    "select * exclude (_offset) from orders",
    "from orders select a",
    "from orders select a, where b > 1",
    "from orders select a;  -- done",
    "(select a from orders)",
    "((select a from orders))",
    "with x as (select 1 as c from orders) select a, c from orders, x",
    "select (select max(a) from orders) as m from orders",
    "select a is distinct from b as c from orders",
    "select a is not distinct from b as c, b is distinct /* from */ from a as d from orders",
    "select extract(year from date '2024-01-01') as y, trim(both ' ' from text) as t from orders",
    "select [a, b] as l, {'from': a} as s, ' from x' as q, \"text\" as \"from\" from orders",
    "select a -- the first, from the top\n/* from /* nested */ here */ from orders",
    "select case when a > 1 then b end as c from orders where text = 'select'",
    "select a as select_ from orders",
    "select $$ from $$ as d from orders",
  ];
  for (const sql of statements) {
    const text = appendColumns(sql, [["orders", "_offset"]]);
    assert.ok(text !== undefined, sql);
    const given = await inspector.describe(sql);
    assert.deepEqual(
      (await inspector.describe(text)).map((c) => c.name),
      [...given.map((c) => c.name), "_offset"],
      text,
    );
  }
});

test("a text that shows no select list is left to others", () => {
  for (const sql of ["from orders", "table orders", "values (1)"])
    assert.equal(appendColumns(sql, [["orders", "a"]]), undefined);
});
