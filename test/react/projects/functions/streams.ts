import { stream, z } from "millrace";

export const readings = stream("readings", {
  schema: z.object({ id: z.string(), sensor: z.string(), n: z.int(), mode: z.string().optional() }),
  id: ["id"],
  key: "sensor",
});

export const totals = stream("totals", {
  schema: z.object({ total_id: z.string(), sensor: z.string(), n: z.int(), sum: z.int() }),
  id: ["total_id"],
  key: "sensor",
});

/** Nobody could tell a repeated note from a new one: it has no id. */
export const notes = stream("notes", { schema: z.object({ sensor: z.string(), n: z.int() }), key: "sensor" });
