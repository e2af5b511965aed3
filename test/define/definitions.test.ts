import assert from "node:assert/strict";
import { test } from "node:test";
import { definitionKind } from "../../src/define/definition.ts";
import { defineConfig, stream, table, z } from "../../src/index.ts";

const schema = z.object({ order_id: z.string(), placed_at: z.iso.datetime().optional() });

test("a definition holds what was written and where, and judges nothing", () => {
  const orders = stream("Not a name", { schema, id: ["order_id"] });
  assert.equal(definitionKind(orders), "stream");
  assert.deepEqual(orders.options.id, ["order_id"]);
  assert.match(orders.place!.file, /definitions\.test\.ts$/);
  assert.ok(orders.place!.line > 5);
  assert.equal(definitionKind(table("x", { sql: "" })), "table");
  assert.equal(definitionKind(defineConfig({ name: "shop", port: 9000 })), "config");
  for (const other of [undefined, null, 5, "stream", {}, [], schema]) assert.equal(definitionKind(other), undefined);
});

test("the types hold id, key and time to the fields of the schema, and options to those there are", () => {
  stream("orders", { schema, id: ["order_id"], key: "order_id", time: "placed_at", horizon: "36h", partitions: 2 });
  // @ts-expect-error no such field
  stream("orders", { schema, id: ["order"] });
  // @ts-expect-error no such field
  stream("orders", { schema, key: "customer" });
  // @ts-expect-error no such field
  stream("orders", { schema, time: "at" });
  // @ts-expect-error no such option
  stream("orders", { schema, ids: ["order_id"] });
  // @ts-expect-error an event is an object
  stream("orders", { schema: z.string() });
  table("gold.t", { sql: "select 1 as a", refresh: { by: { day: "day" } }, partitionBy: ["a", { day: "date(a)" }] });
  table("gold.t", {
    sql: "select 1 as a",
    partitionBy: { day: "date(a)" },
    key: ["a"],
    latest: "_offset",
    tombstone: "b",
  });
  // @ts-expect-error no such option
  table("gold.t", { sql: "select 1 as a", check: {} });
  // @ts-expect-error no such way to refresh
  table("gold.t", { sql: "select 1 as a", refresh: "daily" });
  // @ts-expect-error a table needs its SQL
  const unfinished = table("gold.t", {});
  assert.equal(definitionKind(unfinished), "table");
});
