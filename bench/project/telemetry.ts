import { stream } from "millrace";
import { telemetrySchema } from "../telemetry.ts";

/** One reading of a vehicle; every benchmark uses it. */
export const telemetry = stream("telemetry", {
  schema: telemetrySchema,
  id: ["event_id"],
  key: "vehicle_id",
  time: "recorded_at",
});

/** The same events by another name, for what one stream does to another. */
export const neighbours = stream("neighbours", {
  schema: telemetrySchema,
  id: ["event_id"],
  key: "vehicle_id",
  time: "recorded_at",
});
