import { alert, count, env, stream, table, threshold, tumbling, webhook, window, z } from "millrace";

export const all = webhook("all", { url: env("ALERTS_URL") });

export const telemetry = stream("telemetry", {
  schema: z.object({ id: z.string(), vehicle: z.string(), temp: z.number(), at: z.iso.datetime() }),
  id: ["id"],
  key: "vehicle",
  time: "at",
});

export const overheat = alert("overheat", {
  on: telemetry,
  when: (event) => event.temp > 120,
  until: threshold("temp", { below: 110 }),
  severity: (event) => (event.temp > 150 ? "critical" : "warning"),
  summary: "{vehicle} is at {temp} °C",
});

export const notes = stream("notes", {
  schema: z.object({ vehicle: z.string(), number: z.string(), open: z.boolean() }),
});

export const newest = table("silver.newest_notes", {
  sql: "select vehicle, number, open, _offset as place from notes",
  key: ["vehicle"],
  latest: "place",
});

/** Fails while the newest number of a vehicle is none. */
export const open = alert("open_note", {
  sql: "select vehicle as key, 'note ' || number::integer || ' is open' as summary from silver.newest_notes where open",
  severity: "info",
});

export const unbalanced = alert("unbalanced", {
  sql: "select stream || '/' || hop as key, imbalance from system.ledger where not balanced",
});

export const ticks = stream("ticks", { schema: z.object({ at: z.iso.datetime() }), time: "at" });

export const perMinute = window("per_minute", {
  on: ticks,
  size: tumbling("1m"),
  lateness: "1s",
  aggregate: { n: count() },
});

export const busy = alert("busy", {
  on: perMinute,
  when: threshold("n", { above: 2 }),
  summary: "{n} ticks in a minute",
});
