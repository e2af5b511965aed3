import { env, kafkaTopic, stream, table, z } from "millrace";

/** No id: what is read twice is there twice. */
export const payments = stream("payments", {
  schema: z.object({
    number: z.int(),
    customer: z.string(),
    amount: z.number().positive(),
    sent_at: z.iso.datetime().optional(),
    trace: z.string().optional(),
  }),
  key: "customer",
  time: "sent_at",
  partitions: 2,
  from: kafkaTopic(process.env["TEST_TOPIC"] ?? "", {
    brokers: env("TEST_BROKERS"),
    fields: { sent_at: "timestamp", trace: "header:trace" },
  }),
});

export const totals = table("gold.totals", {
  sql: "select customer, count(*) as payments, sum(amount) as amount from payments group by all",
});
