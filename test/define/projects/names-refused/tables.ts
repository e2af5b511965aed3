import { stream, table, z } from "millrace";

export const again = stream("orders", { schema: z.object({ a: z.string() }) });
export const clean = table("silver.clean", { sql: "select * from orders" });
export const cleanAgain = table("silver.clean", { sql: "select * from rates" });
export const near = table("silver.near", {
  sql: `select *
        from oders`,
});
export const schema = table("silver.schema", { sql: "select * from gold.clean" });
export const bare = table("silver.bare", { sql: "select * from clean" });
export const far = table("silver.far", { sql: "select * from elephants" });
export const nested = table("silver.nested", {
  sql: "with x as (select * from ordrs) select *, (select max(rate) from bronze.rate) as r from x",
});
export const main = table("silver.main", { sql: "select * from main.orders" });
export const file = table("silver.file", { sql: "select * from 'orders.parquet'" });
export const reader = table("silver.reader", { sql: "select * from silver.near" });
