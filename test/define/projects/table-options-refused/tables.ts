// @ts-nocheck
import { table } from "millrace";

const sql = "select * from orders";

export const bare = table("orders_clean", { sql });
export const upper = table("Silver.Orders", { sql });
export const bronze = table("bronze.mine", { sql });
export const system = table("system.mine", { sql });
export const catalog = table("pg_catalog.mine", { sql });
export const noOptions = table("silver.no_options");
export const noSql = table("silver.no_sql", { checks: {} });
export const blank = table("silver.blank", { sql: "  " });
export const serve = table("silver.serve", { sql, serve: "mysql" });
export const serveOptions = table("silver.serve_options", {
  sql,
  serve: {
    postgres: { key: [], indexes: ["a", ["a", "a"]], comment: 3, comments: { a: "\0" }, schema: "pg_mine", primary: 1 },
  },
});
export const servePlace = table("silver.serve_place", { sql, serve: { postgres: { schema: "millrace_serving" } } });
export const options = table("silver.options", {
  sql,
  check: {},
  partitonBy: [],
  checks: ["a > 0"],
  partitionBy: ["a + b", 5],
  refresh: "daily",
  key: "order_id",
  latest: 3,
});
export const by = table("silver.by", { sql, refresh: { by: {} } });
export const more = table("silver.more", { sql, refresh: { by: { day: "day" }, every: "1h" } });
export const keyAlone = table("silver.key_alone", { sql, key: ["order_id"] });
export const latestAlone = table("silver.latest_alone", { sql, latest: "_offset" });
export const tombstoneAlone = table("silver.tombstone_alone", { sql, tombstone: "gift" });
export const keyAndRefresh = table("silver.key_and_refresh", {
  sql,
  key: ["order_id"],
  latest: "_offset",
  refresh: "full",
});
export const twice = table("silver.twice", { sql, partitionBy: ["country", { country: "upper(country)" }] });
export const stale = table("silver.stale", { sql, freshness: "soon" });
