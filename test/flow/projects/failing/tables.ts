import { stream, table, z } from "millrace";

export const readings = stream("readings", {
  schema: z.object({ sensor: z.string(), value: z.string(), seen: z.iso.datetime() }),
});

/** Keeps the newest row per sensor, and fails on values that are no numbers. */
export const latest = table("silver.latest", {
  sql: "select sensor, cast(value as integer) as value, seen from readings",
  key: ["sensor"],
  latest: "seen",
});

/** Fails for the days that hold such a value. */
export const daily = table("gold.daily", {
  sql: "select date(seen) as day, count(*) as readings, sum(cast(value as integer))::bigint as total from readings group by all",
  refresh: { by: { day: "date(seen)" } },
});

/** Fails as a whole. */
export const total = table("gold.total", {
  sql: "select sum(cast(value as integer))::bigint as total from readings",
});

/** Reads a table that fails. */
export const days = table("gold.days", { sql: "select count(*) as days, sum(total)::bigint as total from gold.daily" });
