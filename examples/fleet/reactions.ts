import { alert, count, feature, lookup, max, mean, on, stddev, stream, threshold, tumbling, window, z } from "millrace";
import { telemetry } from "./streams.ts";

/** What a driver hears of at once, on the display beside the wheel. */
export const driverAlerts = stream("driver_alerts", {
  schema: z.object({
    alert_id: z.string().min(1),
    vehicle_id: z.string().min(1),
    driver_id: z.string().nullish(),
    recorded_at: z.iso.datetime(),
    braking_g: z.number(),
    speed_kmh: z.number().nullish(),
    /** Of the last hour, this one included. */
    hard_brakes_1h: z.int(),
    /** How many kilometres the vehicle is past its service. */
    past_service_km: z.number().nullish(),
    message: z.string(),
  }),
  id: ["alert_id"],
  key: "vehicle_id",
  time: "recorded_at",
});

/** Records that come when their five minutes are long over: from a drawer, or from a clock that is years ahead. */
export const lateTelemetry = stream("late_telemetry", {
  schema: telemetry.options.schema.extend({ late_reason: z.string() }),
  id: ["vehicle_id", "recorded_at"],
  key: "vehicle_id",
  time: "recorded_at",
});

/** How each vehicle did in each five minutes; tunnels may keep records for a minute and a half. */
export const vehicle5m = window("vehicle_5m", {
  on: telemetry,
  key: "vehicle_id",
  size: tumbling("5m"),
  aggregate: {
    records: count(),
    speed: mean("speed_kmh"),
    top_speed: max("speed_kmh"),
    hottest: max("coolant_c"),
    rpm_spread: stddev("rpm"),
  },
  lateness: "2m",
  late: lateTelemetry,
  early: "10s",
});

/** What a model of breakdowns and of accidents looks at: the same numbers when it is asked and when it is trained. */
export const hardBrakes1h = feature("hard_brakes_1h", {
  on: telemetry,
  key: "vehicle_id",
  window: "1h",
  aggregate: count(),
  where: "acceleration_g < -0.5",
});

/** Records of one braking come within seconds of each other. */
const ONE_BRAKING_MS = 5_000;

/** One alert for each hard braking, however many records it takes. */
export const braking = on(
  telemetry,
  {
    from: "beginning",
    state: z.object({ braked_at: z.iso.datetime() }),
    ttl: "1d",
    emits: [driverAlerts],
    features: [hardBrakes1h],
    lookups: { service: lookup<{ next_service_km: number }>("silver.last_service", { key: "vehicle_id" }) },
  },
  (event, ctx) => {
    const g = -(event.acceleration_g ?? 0);
    if (g <= 0.5) return;
    const last = ctx.state.get()?.braked_at;
    ctx.state.set({ braked_at: event.recorded_at });
    if (last !== undefined && Math.abs(Date.parse(event.recorded_at) - Date.parse(last)) < ONE_BRAKING_MS) return;
    const { vehicle_id, driver_id, recorded_at, speed_kmh, odometer_km } = event;
    const past =
      (odometer_km ?? 0) - (ctx.lookups.service.get(vehicle_id)?.next_service_km ?? Number.POSITIVE_INFINITY);
    ctx.emit(driverAlerts, {
      ...{ alert_id: ctx.id, vehicle_id, driver_id, recorded_at, speed_kmh, braking_g: g },
      hard_brakes_1h: Number(ctx.feature(hardBrakes1h)),
      past_service_km: past > 0 ? Math.round(past) : null,
      message: `You braked with ${g.toFixed(2)} g`,
    });
  },
);

export const speed10m = feature("speed_10m", {
  on: telemetry,
  key: "vehicle_id",
  window: "10m",
  aggregate: mean("speed_kmh"),
});

export const hottest10m = feature("hottest_10m", {
  on: telemetry,
  key: "vehicle_id",
  window: "10m",
  aggregate: max("coolant_c"),
});

export const overheated = alert("overheated", {
  on: telemetry,
  key: "vehicle_id",
  when: threshold("coolant_c", { above: 120 }),
  until: threshold("coolant_c", { below: 110 }),
  severity: "critical",
  summary: "The engine of {key} is at {value} °C",
  coolDown: "10m",
});

export const lowFuel = alert("low_fuel", {
  on: telemetry,
  key: "vehicle_id",
  when: threshold("fuel_pct", { below: 15 }),
  until: threshold("fuel_pct", { above: 20 }),
  summary: "{key} has {value} % of its fuel left",
});

export const maintenanceDue = alert("maintenance_due", {
  sql: "select vehicle_id as key, past_km from gold.maintenance_due where due",
  severity: "info",
  summary: "{key} is {past_km} km past its service",
});
