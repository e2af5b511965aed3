import { count, decimal, distinct, feature, mean, stream, sum, z } from "millrace";

export const payments = stream("payments", {
  schema: z.object({
    payment_id: z.string(),
    card_id: z.string(),
    merchant: z.string(),
    amount: decimal(12, 2),
    status: z.enum(["captured", "declined"]),
    paid_at: z.iso.datetime(),
  }),
  id: ["payment_id"],
  key: "card_id",
  time: "paid_at",
});

export const cardSpend = feature("card_spend_10m", {
  on: payments,
  key: "card_id",
  window: "10m",
  aggregate: sum("amount"),
  where: "status = 'captured'",
  default: 0,
});

export const cardMerchants = feature("card_merchants_1h", {
  on: payments,
  key: "card_id",
  window: "1h",
  aggregate: distinct("merchant"),
});

export const merchantDeclines = feature("merchant_declines_1h", {
  on: payments,
  key: "merchant",
  window: "1h",
  aggregate: count(),
  where: "status = 'declined'",
});

export const merchantMean = feature("merchant_mean_1d", {
  on: payments,
  key: "merchant",
  window: "1d",
  aggregate: mean("amount"),
});

/** What a model learns from: a row per payment that was disputed or not. */
export const disputes = stream("disputes", {
  schema: z.object({ card: z.string(), asked_at: z.iso.datetime(), disputed: z.boolean() }),
});
