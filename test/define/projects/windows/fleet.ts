import {
  count,
  decimal,
  first,
  hopping,
  last,
  max,
  mean,
  quantile,
  session,
  sliding,
  stream,
  sum,
  table,
  tumbling,
  window,
  z,
} from "millrace";

export const telemetry = stream("telemetry", {
  schema: z.object({
    vehicle_id: z.string(),
    sensor: z.int(),
    at: z.iso.datetime(),
    speed: z.number(),
    toll: decimal(10, 2).optional(),
    place: z.object({ lat: z.number(), lon: z.number() }).nullable(),
    tags: z.array(z.string()).optional(),
  }),
  key: "vehicle_id",
  time: "at",
  partitions: 4,
});

export const late = stream("late_telemetry", { schema: telemetry.options.schema.extend({ late_reason: z.string() }) });

export const fleet5m = window("fleet_5m", {
  on: telemetry,
  key: "vehicle_id",
  size: tumbling("5m"),
  aggregate: {
    n: count(),
    speed: mean("speed"),
    toll: sum("toll"),
    p95: quantile("speed", 0.95),
    place: last("place"),
  },
  where: (event) => event.speed > 0,
  lateness: "10m",
  late,
  early: "10s",
});

// A window over a window, defined before it in the file's order or not.
export const fleetHour = window("fleet_1h", {
  on: fleet5m,
  key: "vehicle_id",
  size: hopping("1h", { every: "15m" }),
  aggregate: { fastest: max("p95"), n: sum("n") },
});

export const trips = window("trips", {
  on: telemetry,
  key: ["vehicle_id", "sensor"],
  size: session("30m"),
  aggregate: { began: first("place"), tags: last("tags") },
  early: "1m",
});

export const recent = window("recent", {
  on: "telemetry",
  key: "vehicle_id",
  size: sliding("10m", { most: 500 }),
  aggregate: { n: count() },
});

/** Its own table instead of the one a window brings. */
export const kept = table("silver.recent", { sql: "select vehicle_id, window_end, n from recent" });

export const hot = table("gold.hot", { sql: "select vehicle_id, max(n) as n from silver.fleet_5m group by all" });
