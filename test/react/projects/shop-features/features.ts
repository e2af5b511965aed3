import { count, decimal, distinct, feature, last, max, stream, sum, z } from "millrace";

/** Lines of orders of a real shop; a row without a customer has no key. */
export const lines = stream("lines", {
  schema: z.object({
    line_no: z.int(),
    invoice: z.string(),
    stock_code: z.string(),
    quantity: z.int(),
    amount: decimal(14, 3),
    customer_id: z.string().nullish(),
    country: z.string(),
    ordered_at: z.iso.datetime(),
  }),
  id: ["line_no"],
  key: "customer_id",
  time: "ordered_at",
  horizon: "30d",
  partitions: 2,
});

/** What the test reads the value of each feature at each event from. */
export const values = stream("values", {
  schema: z.object({ feature: z.string(), partition: z.int(), offset: z.int(), value: z.json() }),
});

export const spend = feature("spend_1d", {
  ...{ on: lines, key: "customer_id", window: "1d", aggregate: sum("amount"), where: "quantity > 0", default: 0 },
});
export const pieces = feature("returned_30d", {
  ...{ on: lines, key: "customer_id", window: "30d", lateness: "2d", aggregate: count(), where: "quantity < 0" },
});
export const stock = feature("stock_codes_1h", {
  ...{ on: lines, key: "customer_id", window: "1h", aggregate: distinct("stock_code") },
});
export const dearest = feature("dearest_7d", {
  ...{ on: lines, key: "customer_id", window: "7d", lateness: "36h", aggregate: max("amount") },
});
export const country = feature("country_12h", {
  ...{ on: lines, key: "customer_id", window: "12h", lateness: "12h", aggregate: last("country") },
});
