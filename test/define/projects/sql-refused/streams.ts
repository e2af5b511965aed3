import { decimal, stream, z } from "millrace";

export const orders = stream("orders", {
  schema: z.object({
    order_id: z.string(),
    customer: z.string(),
    country: z.string(),
    amount: decimal(12, 2),
    gift: z.boolean().optional(),
    note: z.json(),
    items: z.array(z.object({ sku: z.string(), quantity: z.int32() })),
    placed_at: z.iso.datetime(),
  }),
  id: ["order_id"],
  key: "customer",
  time: "placed_at",
});

export const rates = stream("rates", {
  schema: z.object({ country: z.string(), rate: z.number() }),
});
