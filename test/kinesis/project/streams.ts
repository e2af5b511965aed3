import { stream, z } from "millrace";

/** Readings of vehicles, as agents and SDKs put them. */
export const readings = stream("readings", {
  schema: z.object({ id: z.string().min(1), vehicle: z.string().min(1), speed: z.number().min(0) }),
  id: ["id"],
  key: "vehicle",
  partitions: 3,
});

/** Anything, with neither id nor key. */
export const lines = stream("lines", { schema: z.object({ line: z.string() }), partitions: 3 });
