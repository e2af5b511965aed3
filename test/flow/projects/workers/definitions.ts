import { stream, table, z } from "millrace";

export const orders = stream("orders", {
  schema: z.object({
    order_id: z.string().min(1),
    customer: z.string(),
    country: z.string().length(2),
    amount: z.number(),
    note: z.string().optional(),
    seq: z.int(),
    placed_at: z.iso.datetime(),
  }),
  id: ["order_id"],
  time: "placed_at",
});

export const rates = stream("rates", {
  schema: z.object({ country: z.string(), rate: z.number() }),
  partitions: 1,
});

export const fx = table("silver.fx", { sql: "select country, rate from rates", key: ["country"], latest: "_offset" });

/** Look-up, checks, a filter and a cast that fails for some notes: every fate an event can have. */
export const enriched = table("silver.enriched", {
  sql: `select order_id, customer, o.country, amount, amount * rate as amount_eur, placed_at,
          case when note like 'n=%' then cast(substr(note, 3) as integer) end as n
        from orders o left join silver.fx using (country)
        where customer <> 'test'`,
  checks: { positive: "amount > 0", known_country: "country <> 'XX'" },
});

export const large = table("silver.large", {
  sql: "select order_id, amount, placed_at from silver.enriched where amount >= 100",
});

/** Keys that come in every partition, so that owners rewrite each other's files. */
export const customers = table("silver.customers", {
  sql: "select customer, seq, amount from orders",
  key: ["customer"],
  latest: "seq",
});

export const daily = table("gold.daily", {
  sql: `select date(placed_at) as day, country, count(*) as orders, sum(amount) as revenue
        from silver.enriched group by all`,
  refresh: { by: { day: "date(placed_at)" } },
});

export const totals = table("gold.totals", {
  sql: "select count(*) as days, sum(revenue) as revenue from gold.daily",
});
