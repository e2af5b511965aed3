import { env, slack, stream, toStream, webhook, z } from "millrace";

export const orders = stream("orders", { schema: z.object({ order_id: z.string() }) });

export const ops = webhook("ops", { url: env("OPS_URL") });

export const again = slack("ops", { url: env("SLACK_URL") });

export const nowhere = toStream("nowhere", "order");

export const broken = webhook("broken", { url: "example.com" });

/** A destination may have the name of a stream. */
export const named = toStream("orders", orders);
