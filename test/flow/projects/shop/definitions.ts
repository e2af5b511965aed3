import { decimal, stream, table, z } from "millrace";

export const orders = stream("orders", {
  schema: z.object({
    order_id: z.string().min(1),
    customer: z.string(),
    country: z.string().length(2),
    amount: decimal(12, 2),
    note: z.string().optional(),
    placed_at: z.iso.datetime(),
  }),
  id: ["order_id"],
  key: "customer",
  time: "placed_at",
});

export const rates = stream("rates", {
  schema: z.object({ country: z.string(), rate: z.number(), gone: z.boolean().optional() }),
});

/** Newest rate per country. */
export const fx = table("silver.fx", {
  sql: "select country, rate, gone from rates",
  key: ["country"],
  latest: "_offset",
  tombstone: "gone",
});

/** Look-up, check, a filter and a cast that fails for some notes: every fate an event can have. */
export const enriched = table("silver.enriched", {
  sql: `select order_id, customer, o.country, amount, amount * rate as amount_eur, placed_at,
          case when note like 'n=%' then cast(substr(note, 3) as integer) end as n
        from orders o left join silver.fx using (country)
        where customer <> 'test'`,
  checks: { positive: "amount > 0", known_country: "country <> 'XX'" },
});

/** A table over a table. */
export const large = table("silver.large", {
  sql: "select order_id, amount, placed_at from silver.enriched where amount >= 100",
});

export const daily = table("gold.daily", {
  sql: `select date(placed_at) as day, country, count(*) as orders, sum(amount) as revenue
        from silver.enriched group by all`,
  refresh: { by: { day: "date(placed_at)" } },
});

export const totals = table("gold.totals", {
  sql: "select count(*) as days, sum(revenue) as revenue from gold.daily",
});

/** Reads a stream by its own name and a look-up that does not carry the `by` expression. */
export const rated = table("gold.rated", {
  sql: `select date(placed_at) as day, count(*) as orders, max(rate) as rate
        from orders left join silver.fx using (country) group by all`,
  refresh: { by: { day: "date(placed_at)" } },
});
