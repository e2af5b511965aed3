import { sqlFunction, stream, table, z } from "millrace";

export const orders = stream("orders", {
  schema: z.object({
    id: z.string().min(1),
    amount: z.number(),
    tags: z.array(z.string()),
    placed_at: z.iso.datetime(),
  }),
  id: ["id"],
});

export const loud = sqlFunction("loud", { takes: z.object({ text: z.string() }), gives: z.string() }, ({ text }) =>
  text.toUpperCase(),
);

export const daily = table("gold.daily", {
  sql: "select date(placed_at) as day, sum(amount) as total from silver.orders group by all",
  refresh: { by: { day: "date(placed_at)" } },
  engine: "spark",
});

export const tags = table("gold.tags", {
  sql: `select tag, count(*) as orders
    from (select unnest(tags) as tag from silver.orders) group by tag`,
  engine: "spark",
});

export const tagsForSpark = table("gold.tags_for_spark", {
  sql: "select tag, count(*) as orders from (select unnest(tags) as tag from silver.orders) group by tag",
  spark: "select tag, count(*) as orders from (select explode(tags) as tag from silver.orders) group by tag",
  engine: "spark",
});

export const elsewhere = table("gold.elsewhere", {
  sql: "select count(*) as c from silver.orders",
  spark: "select count(*) as c from silver.customers",
  engine: "spark",
});

export const called = table("gold.called", {
  sql: "select loud(id) as id, count(*) as c from silver.orders group by 1",
  engine: "spark",
});

export const bySize = table("gold.by_size", {
  sql: "select array_length(tags) as n, count(*) as c from silver.orders group by 1",
});

export const here = table("gold.here", {
  sql: "select array_length(tags) as n, count(*) as c from silver.orders group by 1",
  engine: "duckdb",
});
