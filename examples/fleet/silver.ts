import { table } from "millrace";

/** The newest observation of every cell, for look-ups. */
export const traffic = table("silver.traffic", {
  sql: "select cell, level, speed_kmh, observed_at from traffic",
  key: ["cell"],
  latest: "observed_at",
});

/**
 * Every record once, checked and with the traffic around it. A record without a position, or where nobody observes, has no traffic and
 * stays. A faulty sensor's records are dead letters with the check's name, and their vehicle's others go on.
 */
export const telemetry = table("silver.telemetry", {
  sql: `
    select
      vehicle_id,
      driver_id,
      recorded_at,
      _received_at as received_at,
      date_trunc('hour', recorded_at) as hour,
      date(recorded_at) as day,
      latitude,
      longitude,
      e.speed_kmh,
      rpm,
      fuel_pct,
      odometer_km,
      coolant_c,
      acceleration_g,
      coalesce(coolant_c > 120, false) as overheated,
      coalesce(acceleration_g < -0.5, false) as hard_brake,
      t.level as traffic,
      t.speed_kmh as traffic_kmh
    from telemetry e
    left join silver.traffic t on t.cell = printf('%.2f/%.2f', latitude, longitude)`,
  checks: {
    rpm_within_0_and_8000: "rpm is null or rpm between 0 and 8000",
    not_from_the_future: "recorded_at < received_at + interval 1 day",
  },
  partitionBy: ["day"],
});

/** Each vehicle as it was when it last said something. */
export const vehicles = table("silver.vehicles", {
  sql: `
    select vehicle_id, driver_id, recorded_at, _received_at as received_at, latitude, longitude, speed_kmh, fuel_pct, odometer_km, coolant_c
    from telemetry`,
  key: ["vehicle_id"],
  latest: "recorded_at",
  checks: { not_from_the_future: "recorded_at < received_at + interval 1 day" },
});

/** Every service in the log, and the newest of each vehicle. */
export const maintenance = table("silver.maintenance", {
  sql: "select vehicle_id, serviced_at, service, odometer_km, next_service_km, workshop from maintenance",
  checks: { next_is_ahead: "next_service_km > odometer_km" },
});

export const lastService = table("silver.last_service", {
  sql: "select vehicle_id, serviced_at, service, odometer_km, next_service_km from maintenance",
  key: ["vehicle_id"],
  latest: "serviced_at",
  checks: { next_is_ahead: "next_service_km > odometer_km" },
});
