import { segment, stream } from "millrace";
import { telemetrySchema } from "../telemetry.ts";

/** What Segment's SDKs send. */
export const app = segment("app");

/** The plain door's events, for the ratio. */
export const telemetry = stream("telemetry", {
  schema: telemetrySchema,
  id: ["event_id"],
  key: "vehicle_id",
  time: "recorded_at",
});
