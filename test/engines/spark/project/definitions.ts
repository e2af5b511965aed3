import { stream, table, z } from "millrace";

export const orders = stream("orders", {
  schema: z.object({ order_id: z.string(), country: z.string() }),
  id: ["order_id"],
});

export const clean = table("silver.orders", { sql: "select order_id, country from orders" });

/** Spark takes a second for each row, so that there is a middle of it. */
export const counted = table("gold.counted", {
  sql: "select country, count(*) as orders from silver.orders group by country",
  spark: `select country, count(*) as orders from silver.orders
    where java_method('java.lang.Thread', 'sleep', cast(1000 as bigint)) = 'null' group by country`,
  engine: "spark",
});
