import { stream, z } from "millrace";

/**
 * What vehicles say of themselves, about once a second. Without a vehicle and a time a record is of no use, and the door refuses it; sensors
 * report in turn, so any of the others may be missing.
 *
 * A vehicle says one thing at a time, so the same vehicle and time is the same record, however often it is sent.
 */
export const telemetry = stream("telemetry", {
  schema: z.object({
    vehicle_id: z.string().min(1),
    recorded_at: z.iso.datetime(),
    driver_id: z.string().min(1).nullish(),
    latitude: z.number().min(-90).max(90).nullish(),
    longitude: z.number().min(-180).max(180).nullish(),
    speed_kmh: z.number().min(0).nullish(),
    rpm: z.number().nullish(),
    /** Of a full tank, in percent. */
    fuel_pct: z.number().min(0).max(100).nullish(),
    odometer_km: z.number().min(0).nullish(),
    coolant_c: z.number().nullish(),
    /** Along the vehicle, in g; negative when it brakes. */
    acceleration_g: z.number().nullish(),
  }),
  id: ["vehicle_id", "recorded_at"],
  key: "vehicle_id",
  time: "recorded_at",
});

/** The workshop's log: what was done, and at which odometer the next service is due. It comes as CSV. */
export const maintenance = stream("maintenance", {
  schema: z.object({
    vehicle_id: z.string().min(1),
    serviced_at: z.iso.datetime(),
    service: z.enum(["inspection", "oil", "brakes", "tyres"]),
    odometer_km: z.number().min(0),
    next_service_km: z.number().min(0),
    workshop: z.string().nullish(),
  }),
  id: ["vehicle_id", "serviced_at"],
  key: "vehicle_id",
  time: "serviced_at",
});

/** How traffic moves, by cells of a hundredth of a degree: `50.11/8.68`. */
export const traffic = stream("traffic", {
  schema: z.object({
    cell: z.string().min(1),
    observed_at: z.iso.datetime(),
    level: z.enum(["free", "dense", "jam"]),
    speed_kmh: z.number().min(0),
  }),
  id: ["cell", "observed_at"],
  key: "cell",
  time: "observed_at",
});
