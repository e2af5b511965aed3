import { table } from "millrace";

const sql = "select order_id, customer, country, amount, gift, note, items, placed_at from orders";

export const checks = table("silver.checks", {
  sql,
  checks: {
    fine: "amount > 0 -- and a comment",
    column: "amuont > 0",
    type: "amount + 1",
    syntax: "amount >",
    aggregate: "sum(amount) > 0",
    window: "row_number() over () = 1",
    subquery: "amount > (select max(rate) from rates)",
    more: "amount > 0) as a, (true",
    smuggled: "true) from rates --",
  },
});
export const partitions = table("silver.partitions", {
  sql,
  partitionBy: [
    "countri",
    "date(placed)",
    "note",
    { taken: "date(placed_at)" },
    { country: "upper(country)" },
    { _day: "1" },
  ],
});
export const everything = table("silver.everything", {
  sql: "select country from silver.fx",
  partitionBy: ["country"],
});
export const keys = table("silver.keys", {
  sql,
  key: ["order", "items"],
  latest: "note",
  tombstone: "amount",
});
export const keyNotAppend = table("silver.key_not_append", {
  sql: "select country, count(*) as n from orders group by country",
  key: ["country"],
  latest: "n",
});
export const by = table("gold.by", {
  sql: "select date(placed_at) as day, count(*) as n from silver.checked group by all",
  refresh: { by: { dya: "date(placed_at)" } },
});
export const byInput = table("gold.by_input", {
  sql: "select date(placed_at) as day, count(*) as n from silver.checked group by all",
  refresh: { by: { day: "date(placed)" } },
});
export const byType = table("gold.by_type", {
  sql: "select strftime(placed_at, '%Y-%m-%d') as day, count(*) as n from silver.checked group by all",
  refresh: { by: { day: "date(placed_at)" } },
});
export const byAggregate = table("gold.by_aggregate", {
  sql: "select max(amount) as top, count(*) as n from silver.checked",
  refresh: { by: { top: "max(amount)" } },
});
export const checked = table("silver.checked", { sql });
export const fx = table("silver.fx", { sql: "select country, rate from rates", key: ["country"], latest: "_offset" });
