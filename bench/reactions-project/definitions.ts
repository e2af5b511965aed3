import { on, stream, z } from "millrace";
import { telemetrySchema } from "../telemetry.ts";

export const telemetry = stream("telemetry", {
  schema: telemetrySchema,
  id: ["event_id"],
  key: "vehicle_id",
  time: "recorded_at",
});

export const alerts = stream("alerts", {
  schema: z.object({ alert_id: z.string(), event_id: z.string(), speed_kmh: z.number() }),
  id: ["alert_id"],
});

/** Looks at every event, and tells of those of one vehicle. */
export const braking = on(
  telemetry,
  { emits: [alerts], from: "beginning" },
  ({ vehicle_id, event_id, speed_kmh }, ctx) => {
    if (vehicle_id === "bench") ctx.emit(alerts, { alert_id: ctx.id, event_id, speed_kmh });
  },
);
