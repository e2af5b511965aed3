import { decimal, stream, table, z } from "millrace";

export const accounts = stream("accounts", {
  schema: z.object({
    id: z.int(),
    name: z.string().nullable(),
    balance: decimal(12, 2).optional(),
    gone: z.boolean().optional(),
  }),
});

export const sales = stream("sales", {
  schema: z.object({ day: z.iso.date(), country: z.string(), amount: decimal(12, 2) }),
});

/** Whatever a value needs is in the text of `v`, which the SQL casts. */
export const values = stream("values", { schema: z.object({ id: z.int(), v: z.string(), j: z.json().optional() }) });

/** The newest row per key: only what changed is published. */
export const current = table("silver.accounts", {
  sql: "select id, name, balance, gone from accounts",
  key: ["id"],
  latest: "_offset",
  tombstone: "gone",
  serve: "postgres",
});

/** `served`, changed: a column more, the indexes gone. */
export const daily = table("gold.daily", {
  sql: `select day, country, count(*) as orders, sum(amount)::decimal(18, 2) as revenue, max(amount) as last from sales group by all`,
  refresh: { by: { day: "day" } },
  serve: { postgres: { key: ["day", "country"] } },
});

/** No key: written anew each time. */
export const totals = table("gold.totals", {
  sql: "select country, count(*) as orders, sum(amount)::decimal(18, 2) as revenue from sales group by all",
  serve: { postgres: { schema: "reports" } },
});

export const kinds = table("gold.kinds", {
  sql: `select id, v as "Text, quoted ""so""",
      try_cast(v as tinyint)::smallint as small, try_cast(v as integer) as whole, try_cast(v as bigint) as "long",
      try_cast(v as float) as single, try_cast(v as double) as twice, try_cast(v as decimal(38, 10)) as exact,
      try_cast(v as boolean) as truth, try_cast(v as timestamptz) as moment, try_cast(v as date) as day, encode(v) as bytes,
      j, {'a': v, 'b': [id, null]} as nested, [v, null, 'x"y\\{}'] as texts, [try_cast(v as timestamptz)] as moments,
      [[id]] as deep, map {'k': try_cast(v as decimal(20, 2))} as by_name
    from "values" group by all`,
  serve: { postgres: { key: ["id"] } },
});
