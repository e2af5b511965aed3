/** Tables with everything that a table's page can show: checks, partitions, a freshness, and readers of every kind. */
import { alert, commit, lookup, on, stream, table, workflow, z } from "millrace";

export const orders = stream("orders", {
  schema: z.object({ order_id: z.string(), country: z.string(), amount: z.number() }),
  id: ["order_id"],
});

export const checked = table("silver.checked", {
  sql: "select order_id, country, amount from orders",
  checks: { positive: "amount > 0", known_country: "country in ('DE', 'FR', 'GB')" },
  partitionBy: ["country"],
  freshness: "1h",
});

/** Overdue as soon as it has rows. */
export const totals = table("gold.totals", {
  sql: "select country, count(*) as orders, sum(amount) as revenue from silver.checked group by all",
  freshness: "1ms",
});

export const look = on(
  orders,
  { name: "look", lookups: { rows: lookup<{ amount: number }>("silver.checked", { key: "order_id" }) } },
  ({ order_id }, { lookups }) => {
    lookups.rows.get(order_id);
  },
);

export const many = alert("many_orders", {
  sql: "select country as key, count(*) as orders from silver.checked group by all having count(*) > 1000000",
});

export const after = workflow("after_commit", { on: [commit("silver.checked")] }, async (run) => {
  run.log("there are new rows");
});
