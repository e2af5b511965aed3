import { table } from "millrace";

/** What each vehicle did in each hour. Records that come a month late belong to the hour they were made in. */
export const vehicleHours = table("gold.vehicle_hours", {
  sql: `
    select
      vehicle_id,
      hour,
      avg(rpm) as average_rpm,
      min(fuel_pct) as lowest_fuel_pct,
      max(odometer_km) as highest_odometer_km,
      count(*) as records,
      coalesce(min(fuel_pct) < 15, false) as low_fuel,
      count(*) filter (hard_brake) as hard_brakes,
      count(*) filter (overheated) as overheated
    from silver.telemetry
    group by vehicle_id, hour`,
  refresh: { by: { hour: "hour" } },
});

/** Which vehicles are due: past the odometer of the next service, in a record made after the last one. */
export const maintenanceDue = table("gold.maintenance_due", {
  sql: `
    select
      s.vehicle_id,
      s.service as last_service,
      s.serviced_at,
      s.next_service_km,
      max(t.odometer_km) as odometer_km,
      max(t.odometer_km) - s.next_service_km as past_km,
      coalesce(max(t.odometer_km) > s.next_service_km, false) as due,
      min(t.recorded_at) filter (t.odometer_km > s.next_service_km) as due_since
    from silver.last_service s
    left join silver.telemetry t on t.vehicle_id = s.vehicle_id and t.recorded_at > s.serviced_at
    group by s.vehicle_id, s.service, s.serviced_at, s.next_service_km`,
});

/** How drivers drive, by day. From 100 points five go for each hard brake in 100 km, and two for each overheated minute. */
export const driverDays = table("gold.driver_days", {
  sql: `
    with driven as (
      select
        driver_id,
        day,
        vehicle_id,
        max(odometer_km) - min(odometer_km) as km,
        count(*) filter (hard_brake) as hard_brakes,
        count(distinct date_trunc('minute', recorded_at)) filter (overheated) as overheated_minutes,
        max(speed_kmh) as top_kmh
      from silver.telemetry
      where driver_id is not null
      group by driver_id, day, vehicle_id
    )
    select
      driver_id,
      day,
      sum(km) as km,
      cast(sum(hard_brakes) as bigint) as hard_brakes,
      cast(sum(overheated_minutes) as bigint) as overheated_minutes,
      max(top_kmh) as top_kmh,
      round(greatest(0, 100 - 5 * sum(hard_brakes) / greatest(sum(km) / 100, 1) - 2 * sum(overheated_minutes)), 1) as score
    from driven
    group by driver_id, day`,
  refresh: { by: { day: "day" } },
});

/** The wall screen: every vehicle with where it is, how it is, and what it needs. */
export const fleetNow = table("gold.fleet_now", {
  sql: `
    select
      v.vehicle_id,
      v.driver_id,
      v.recorded_at as last_seen,
      v.latitude,
      v.longitude,
      v.speed_kmh,
      v.fuel_pct,
      v.coolant_c,
      coalesce(v.fuel_pct < 15, false) as low_fuel,
      coalesce(v.coolant_c > 120, false) as overheated,
      coalesce(v.odometer_km > s.next_service_km and v.recorded_at > s.serviced_at, false) as maintenance_due
    from silver.vehicles v
    left join silver.last_service s on s.vehicle_id = v.vehicle_id`,
  serve: { postgres: { key: ["vehicle_id"] } },
});
