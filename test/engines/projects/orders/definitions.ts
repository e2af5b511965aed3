import { decimal, stream, table, z } from "millrace";

export const orders = stream("orders", {
  schema: z.object({
    order_id: z.string(),
    country: z.string().length(2),
    amount: decimal(12, 2),
    placed_at: z.iso.datetime(),
  }),
  id: ["order_id"],
  time: "placed_at",
});

export const countries = stream("countries", {
  schema: z.object({ country: z.string().length(2), name: z.string(), changed_at: z.iso.datetime() }),
});

export const named = table("silver.countries", {
  sql: "select country, name, changed_at from countries",
  key: ["country"],
  latest: "changed_at",
});

export const clean = table("silver.orders", {
  sql: `select order_id, country, coalesce(name, 'unknown') as name, amount, placed_at
        from orders left join silver.countries using (country)`,
  checks: { positive: "amount > 0" },
});

export const daily = table("gold.daily", {
  sql: `select date(placed_at) as day, country, count(*) as orders, sum(amount) as revenue
        from silver.orders group by all`,
  refresh: { by: { day: "date(placed_at)" } },
});
