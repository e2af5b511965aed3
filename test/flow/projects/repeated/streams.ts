import { stream, z } from "millrace";

export const scans = stream("scans", {
  schema: z.object({ vehicle: z.string().nullish(), at: z.iso.datetime().nullish(), n: z.int() }),
  id: ["vehicle", "at"],
  horizon: "10s",
});

/** Only the engine writes such ids as the tables have them. */
export const readings = stream("readings", {
  schema: z.object({ value: z.number().nullish(), n: z.int() }),
  id: ["value"],
  horizon: "10s",
});
