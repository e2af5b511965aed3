// @ts-nocheck
import { stream, table, z } from "millrace";

export const orders = stream("orders", {
  schema: z.object({ order_id: z.string(), amount: z.number(), lines: z.array(z.string()) }),
});

const sql = "select order_id, amount, lines from orders";

export const unknown = table("silver.unknown", { sql, serve: { postgres: { key: ["order_ids"] } } });
export const index = table("silver.index", {
  sql,
  serve: { postgres: { indexes: ["amount", ["order_id", "amuont"]] } },
});
export const comment = table("silver.comment", { sql, serve: { postgres: { comments: { line: "what was bought" } } } });
export const nested = table("silver.nested", { sql, serve: { postgres: { key: ["order_id", "lines"] } } });
export const system = table("silver.system", { sql: "select order_id, amount as xmin from orders", serve: "postgres" });
export const long = table("silver.long", {
  sql: `select order_id, amount as "${"ä".repeat(40)}" from orders`,
  serve: "postgres",
});
export const longName = table(`silver.${"a".repeat(64)}`, { sql, serve: "postgres" });
export const nothing = table("silver.nothing", { sql: "select _offset, _partition from orders", serve: "postgres" });
