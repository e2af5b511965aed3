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
  time: "placed_at",
});

export const rates = stream("rates", {
  schema: z.object({ country: z.string(), rate: z.number() }),
});

export const fx = table("silver.fx", {
  sql: "select country, rate from rates",
  key: ["country"],
  latest: "_offset",
});

/** A check that fails until a look-up row is there. */
export const rated = table("silver.rated", {
  sql: `select order_id, o.country, amount, coalesce(rate, -1) as rate, placed_at
        from orders o left join silver.fx using (country) where customer <> 'test'`,
  checks: { has_rate: "rate >= 0" },
  partitionBy: ["date(placed_at)"],
});

/** Tables over it, one of them keyed and with a check of its own. */
export const large = table("silver.large", {
  sql: "select order_id, amount, rate from silver.rated where amount >= 100",
  checks: { not_absurd: "rate < 1000" },
});

export const newest = table("silver.newest", {
  sql: "select country, order_id, amount from silver.rated",
  key: ["country"],
  latest: "_offset",
});
