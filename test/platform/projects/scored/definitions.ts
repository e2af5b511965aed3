import { decimal, sqlFunction, stream, table, z } from "millrace";

export const trips = stream("trips", {
  schema: z.object({
    trip_id: z.string(),
    speed: z.number().nullish(),
    limit: z.int(),
    fee: decimal(10, 2).nullish(),
    started_at: z.iso.datetime(),
    notes: z.json().nullish(),
  }),
  id: ["trip_id"],
});

/** Gives each kind of value, and what it was given as text. */
export const seen = sqlFunction(
  "seen",
  {
    takes: z.object({
      speed: z.number().nullable(),
      fee: decimal(10, 2).nullable(),
      started_at: z.iso.datetime(),
      notes: z.json().nullable(),
    }),
    gives: z.string(),
  },
  (values) => JSON.stringify(values),
);

export const risk = sqlFunction(
  "risk",
  { takes: z.object({ speed: z.number(), limit: z.int() }), gives: z.int() },
  ({ speed, limit }) => {
    if (speed > 500) throw new Error(`nobody drives ${speed} km/h`);
    return Math.max(0, Math.round(speed - limit));
  },
);

export const nextDay = sqlFunction(
  "next_day",
  { takes: z.object({ at: z.iso.datetime() }), gives: z.iso.datetime() },
  ({ at }) => new Date(Date.parse(at) + 86_400_000).toISOString(),
);

export const wrong = sqlFunction("wrong", { takes: z.object({ n: z.number() }), gives: z.boolean() }, () => 1 as never);

export const scored = table("silver.scored", {
  sql: `select trip_id, risk(speed, "limit") as risk, next_day(started_at) as due, seen(speed, fee, started_at, notes) as seen from trips`,
});
