/** One of each thing that the console shows. */
import {
  alert,
  count,
  on,
  segment,
  stream,
  sum,
  table,
  threshold,
  toStream,
  tumbling,
  window,
  workflow,
  z,
} from "millrace";

export const orders = stream("orders", {
  schema: z.object({
    order_id: z.string().min(1),
    customer_id: z.string(),
    country: z.enum(["DE", "FR", "GB"]),
    amount: z.number().positive(),
    placed_at: z.iso.datetime(),
  }),
  id: ["order_id"],
  key: "customer_id",
  time: "placed_at",
});

export const large = stream("large_orders", {
  schema: z.object({ order_id: z.string(), amount: z.number() }),
  id: ["order_id"],
});

export const silver = table("silver.orders", {
  sql: "select order_id, customer_id, country, amount, placed_at from orders where country <> 'GB'",
  checks: { affordable: "amount < 100000" },
});

export const daily = table("gold.sales_daily", {
  sql: `select date(placed_at) as day, country, count(*) as orders, sum(amount) as revenue
        from silver.orders group by all`,
  refresh: { by: { day: "date(placed_at)" } },
});

export const perMinute = window("orders_1m", {
  on: orders,
  key: "customer_id",
  size: tumbling("1m"),
  aggregate: { orders: count(), spent: sum("amount") },
});

export const forward = on(orders, { emits: [large] }, ({ order_id, amount }, { emit }) => {
  if (amount > 500) emit(large, { order_id, amount });
});

export const feed = stream("alert_feed", { schema: z.object({ name: z.string(), state: z.string() }) });
export const team = toStream("team", feed, { event: ({ name, state }) => ({ name, state }) });

export const expensive = alert("expensive_order", {
  on: orders,
  key: "customer_id",
  when: threshold("amount", { above: 900 }),
  severity: "critical",
  summary: "{customer_id}: {reason}",
  to: [team],
});

export const nightly = workflow("nightly", {}, async (run) => {
  const days = await run.sql("select count(*)::int as n from gold.sales_daily");
  run.log("counted the days", { days });
  await run.step("celebrate", () => "done");
  return { days };
});

export const failing = workflow("failing", {}, async (run) => {
  await run.step("breaks", () => {
    throw new Error("the supplier does not answer");
  });
});

export const app = segment("app");
