/** The project of the data folders kept here. It must stay as it is: the folders hold its tables. */
import { decimal, stream, table, z } from "millrace";

export const orders = stream("orders", {
  schema: z.object({
    order_id: z.string().min(1),
    customer: z.string(),
    amount: decimal(12, 2),
    note: z.string().optional(),
    placed_at: z.iso.datetime(),
  }),
  id: ["order_id"],
  key: "customer",
  time: "placed_at",
  // The folders grow old, and what they hold must still be known.
  horizon: "36500d",
});

export const clean = table("silver.orders", {
  sql: "select * from orders where customer <> 'test'",
  checks: { positive: "amount > 0" },
});

export const daily = table("gold.daily", {
  sql: "select date(placed_at) as day, count(*) as orders, sum(amount) as revenue from silver.orders group by all",
  refresh: { by: { day: "date(placed_at)" } },
});
