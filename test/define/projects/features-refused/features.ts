import { count, decimal, feature, max, on, quantile, stream, sum, z } from "millrace";

export const payments = stream("payments", {
  schema: z.object({
    card_id: z.string(),
    merchant: z.object({ name: z.string() }),
    amount: decimal(12, 2),
    score: z.number(),
    status: z.string(),
    captured: z.boolean(),
    paid_at: z.iso.datetime(),
  }),
  key: "card_id",
  time: "paid_at",
});
export const spread = stream("spread", {
  schema: z.object({ shop: z.string(), card: z.string() }),
  key: "card",
  partitions: 4,
});

const of = { on: payments, key: "card_id", window: "10m", aggregate: count() } as const;
const loose = feature as (name: string, options: unknown) => unknown;

export const name = feature("Bad-Name", of);
export const nothing = loose("nothing", undefined);
export const windowless = loose("windowless", { ...of, window: undefined });
export const windowZero = feature("window_zero", { ...of, window: "0s" });
export const windowLong = feature("window_long", { ...of, window: "400d" });
export const later = feature("later", { ...of, lateness: "-1s", idle: "soon" });
export const noStream = loose("no_stream", { ...of, on: "payments" });
export const elsewhere = feature("elsewhere", {
  ...of,
  on: stream("others", { schema: z.object({ card_id: z.string() }) }),
});
export const keyless = loose("keyless", { ...of, key: "card" });
export const keyUnfit = feature("key_unfit", { ...of, key: "score" });
export const keyElsewhere = feature("key_elsewhere", { ...of, on: spread, key: "shop" });
export const sketch = feature("sketch", { ...of, aggregate: quantile("score", 0.5) });
export const nested = feature("nested", { ...of, aggregate: max("merchant") });
export const own = feature("paid_at", of);
export const extra = loose("extra", { ...of, widnow: "1h" });
export const fallback = feature("fallback", { ...of, default: 0 });
export const fallbackUnfit = feature("fallback_unfit", { ...of, aggregate: sum("amount"), default: "0.001" });
const where = (text: string, condition: unknown) => loose(text, { ...of, where: condition });
export const where1 = where("where_syntax", "status = = 'x'");
export const where2 = where("where_function", "lower(status) = 'x'");
export const where3 = where("where_unknown", "statuss = 'x'");
export const where4 = where("where_order", "status > 'x'");
export const where5 = where("where_type", "amount = '12'");
export const where6 = where("where_decimals", "amount > 1.005");
export const where7 = where("where_subquery", "amount > (select 1)");
export const where8 = where("where_more", "captured from payments");
export const where9 = where("where_aggregate", "count(*) > 1");
export const where10 = where("where_no_condition", "status");
export const where11 = where("where_arithmetic", "amount * 2 > 10");
export const where12 = where("where_function_in_ts", () => true);
export const where13 = where("where_time", "paid_at > '2026-01-01'");

export const taken = feature("taken", of);
export const reacts = on(payments, { name: "taken" }, () => undefined);
