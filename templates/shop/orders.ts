import { decimal, stream, table, z } from "millrace";

/** Orders as the shop sends them. The same order_id within seven days is one order, however often it is sent. */
export const orders = stream("orders", {
  schema: z.object({
    order_id: z.string().min(1),
    customer_id: z.string().min(1),
    country: z.string().length(2),
    amount: decimal(18, 2),
    placed_at: z.iso.datetime(),
  }),
  id: ["order_id"],
  key: "customer_id",
  time: "placed_at",
});

/** Every order, checked: one without a positive amount becomes a dead letter with the check's name. */
export const clean = table("silver.orders", {
  sql: `
    select order_id, customer_id, upper(country) as country, amount, placed_at, date(placed_at) as day
    from orders`,
  checks: { positive: "amount > 0" },
});

/** What was sold, by day and country. Only the days that new orders touch are computed again. */
export const salesDaily = table("gold.sales_daily", {
  sql: `
    select day, country, count(*) as orders, sum(amount) as revenue
    from silver.orders
    group by day, country`,
  refresh: { by: { day: "day" } },
});
