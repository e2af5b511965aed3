import { count, feature, max, mean, stddev, stream } from "millrace";
import { telemetrySchema } from "../telemetry.ts";

export const telemetry = stream("telemetry", {
  schema: telemetrySchema,
  id: ["event_id"],
  key: "vehicle_id",
  time: "recorded_at",
});

const of = { on: telemetry, key: "vehicle_id" } as const;

export const readings = feature("readings_10m", { ...of, window: "10m", aggregate: count() });
export const speed = feature("speed_10m", { ...of, window: "10m", aggregate: mean("speed_kmh") });
export const hot = feature("coolant_1h", { ...of, window: "1h", aggregate: max("coolant_c") });
export const revs = feature("revs_1m", { ...of, window: "1m", aggregate: stddev("rpm"), where: "ignition" });
