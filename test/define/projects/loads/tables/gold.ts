import { table } from "millrace";

/** Tables made by a function and exported as a list. */
export const perCountry = ["de", "fr"].map((country) =>
  table(`gold.sales_${country}`, {
    sql: `select date(placed_at) as day, sum(amount) as revenue from silver.orders where country = '${country}' group by all`,
    refresh: { by: { day: "date(placed_at)" } },
    partitionBy: { month: "date_trunc('month', day)" },
  }),
);

export const raw = table("audit.raw", {
  sql: "select _partition, _offset, payload from bronze.orders where _duplicate_of is null",
});
