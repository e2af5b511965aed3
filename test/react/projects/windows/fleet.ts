import {
  count,
  distinct,
  max,
  mean,
  on,
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
    reading_id: z.string(),
    vehicle_id: z.string(),
    at: z.iso.datetime(),
    speed: z.number(),
    gear: z.int().nullable(),
  }),
  id: ["reading_id"],
  key: "vehicle_id",
  time: "at",
});

export const minutes = window("fleet_1m", {
  on: telemetry,
  key: "vehicle_id",
  size: tumbling("1m"),
  lateness: "30s",
  aggregate: {
    n: count(),
    speed: mean("speed"),
    top: max("speed"),
    p90: quantile("speed", 0.9),
    gears: distinct("gear"),
  },
  where: (event) => event.speed >= 0,
});

export const hours = window("fleet_1h", {
  on: minutes,
  key: "vehicle_id",
  size: tumbling("1h"),
  lateness: "0s",
  aggregate: { n: sum("n"), top: max("top") },
});

export const trips = window("trips", {
  on: telemetry,
  key: "vehicle_id",
  size: session("2m"),
  lateness: "10m",
  aggregate: { n: count() },
  early: "200ms",
});

export const last30s = window("last_30s", {
  on: telemetry,
  key: "vehicle_id",
  size: sliding("30s"),
  lateness: "30s",
  aggregate: { n: count(), speed: mean("speed") },
});

export const fast = stream("fast", {
  schema: z.object({ alert_id: z.string(), vehicle_id: z.string(), top: z.number() }),
  id: ["alert_id"],
});

export const warn = on(minutes, { emits: [fast] }, (row, ctx) => {
  if (row.final && row.top !== null && row.top > 100) {
    ctx.emit(fast, { alert_id: ctx.id, vehicle_id: row.vehicle_id, top: row.top });
  }
});

export const perVehicle = table("gold.per_vehicle", {
  sql: "select vehicle_id, sum(n) as n, count(*) as minutes from silver.fleet_1m group by all",
});
