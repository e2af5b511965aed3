import { alert, env, stream, threshold, toStream, webhook, z } from "millrace";

export const orders = stream("orders", {
  schema: z.object({ order_id: z.string(), amount: z.number() }),
  id: ["order_id"],
});

/** What the shop's own screens show of what went wrong. */
export const notices = stream("notices", {
  schema: z.object({ notice_id: z.string(), alert: z.string(), text: z.string(), state: z.string() }),
  id: ["notice_id"],
  key: "alert",
});

export const ops = webhook("ops", { url: env("OPS_URL"), secret: env("OPS_SECRET"), giveUpAfter: "1h" });

export const log = toStream("log", notices, {
  event: ({ event_id, alert_id, summary, state }) => ({ notice_id: event_id, alert: alert_id, text: summary, state }),
});

/** Says itself where it goes, so no route is asked. */
export const big = alert("big", {
  on: orders,
  key: "order_id",
  when: threshold("amount", { above: 1000 }),
  severity: "critical",
  to: [ops],
});
