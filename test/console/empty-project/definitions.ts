/** The least that a platform starts with: a stream, and nothing in it. */
import { stream, z } from "millrace";

export const orders = stream("orders", {
  schema: z.object({ order_id: z.string(), amount: z.number() }),
  id: ["order_id"],
});
