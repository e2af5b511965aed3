// @ts-nocheck
import { stream, z } from "millrace";

const schema = z.object({
  order_id: z.string(),
  placed_at: z.iso.datetime(),
  note: z.json(),
  address: z.object({ city: z.string() }),
});

export const badName = stream("Bad-Name", { schema });
export const noOptions = stream("no_options");
export const noSchema = stream("no_schema", { id: ["order_id"] });
export const notAnObject = stream("not_an_object", { schema: z.string() });
export const notZod = stream("not_zod", { schema: { order_id: "string" } });
export const options = stream("options", {
  schema,
  ids: ["order_id"],
  partition: 3,
  zzz: 1,
  horizon: "a week",
  partitions: 0,
  id: "order_id",
  key: ["order_id"],
  time: 5,
});
export const fields = stream("fields", { schema, id: ["order_idd", "note"], key: "address", time: "order_id" });
export const unlike = stream("unlike", { schema, key: "something_else" });
