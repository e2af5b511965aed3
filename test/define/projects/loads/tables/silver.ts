import { table } from "millrace";

export const fx = table("silver.fx", {
  sql: "select country, rate from rates",
  key: ["country"],
  latest: "_offset",
});

export const orders = table("silver.orders", {
  sql: `select o.*, amount * f.rate as amount_eur from ORDERS o left join Silver.FX f using (country)`,
  checks: { positive: "amount > 0", "has customer": "customer <> ''" },
  partitionBy: ["country", "date(placed_at)", { hour: "date_trunc('hour', placed_at)" }],
});
