/** A small shop in which an event can meet every fate there is: stored, repeated, filtered, failing a check or a cast, upserted, reacted to. */
import { alert, count, decimal, feature, last, on, stream, sum, table, toStream, tumbling, window, z } from "millrace";
import { LARGE_CENTS, unechoed } from "../traffic.ts";

/** `n` counts each lane's orders from 0 without a gap: whoever sees some of a lane knows what it should see. */
export const orders = stream("orders", {
  schema: z.object({
    order_id: z.string().min(1),
    lane: z.string(),
    n: z.int(),
    customer: z.string(),
    country: z.string().length(2),
    amount: decimal(12, 2),
    note: z.string().optional(),
    placed_at: z.iso.datetime(),
  }),
  id: ["order_id"],
  key: "lane",
  time: "placed_at",
});

/** Has no table of its own. */
export const payments = stream("payments", {
  schema: z.object({
    payment_id: z.string().min(1),
    lane: z.string(),
    n: z.int(),
    amount: decimal(12, 2),
    details: z.record(z.string(), z.string()).optional(),
    paid_at: z.iso.datetime(),
  }),
  id: ["payment_id"],
  key: "lane",
  time: "paid_at",
});

export const stock_levels = stream("stock_levels", {
  schema: z.object({ change_id: z.string().min(1), lane: z.string(), n: z.int(), sku: z.string(), level: z.int() }),
  id: ["change_id"],
  key: "sku",
});

export const rates = stream("rates", {
  schema: z.object({ rate_id: z.string(), country: z.string().length(2), rate: decimal(6, 3) }),
  id: ["rate_id"],
});

export const fx = table("silver.fx", {
  sql: "select country, rate from rates",
  key: ["country"],
  latest: "_offset",
});

export const stock = table("silver.stock", {
  sql: "select sku, n, level from stock_levels",
  key: ["sku"],
  latest: "_offset",
});

export const enriched = table("silver.enriched", {
  sql: `select order_id, lane, n, country, amount, amount * rate as amount_eur, placed_at,
          case when note like 'n=%' then cast(substr(note, 3) as integer) end as number
        from orders left join silver.fx using (country)
        where customer <> 'test'`,
  checks: { positive: "amount > 0", known_country: "amount_eur is not null" },
});

export const daily = table("gold.daily", {
  sql: `select date(placed_at) as day, country, count(*) as orders, sum(amount) as revenue
        from silver.enriched group by all`,
  refresh: { by: { day: "date(placed_at)" } },
});

export const totals = table("gold.totals", {
  sql: "select count(*) as orders, sum(amount) as revenue, max(n) as newest from silver.enriched",
});

const STEP_MS = 10 * 60_000;

/**
 * What the function makes of orders. It has no id, so that each order has one echo is the reactor's doing alone. Time goes on by ten minutes with
 * each of a lane's orders.
 */
export const echoes = stream("echoes", {
  schema: z.object({
    order_id: z.string(),
    lane: z.string(),
    n: z.int(),
    seen: z.int(),
    recent: z.int(),
    at: z.iso.datetime(),
  }),
  key: "lane",
  time: "at",
});

export const recent = feature("recent_orders", {
  on: orders,
  key: "lane",
  window: "1d",
  aggregate: count(),
  lateness: "30d",
});

/** Counts what it has seen of each lane, and says what the feature says at each order. Where it throws, nothing of that may be kept. */
export const counting = on(
  orders,
  {
    state: z.object({ seen: z.int() }),
    from: "beginning",
    emits: [echoes],
    features: [recent],
    retry: { attempts: 2, delay: "10ms" },
  },
  (order, ctx) => {
    const seen = (ctx.state.get()?.seen ?? 0) + 1;
    ctx.state.set({ seen });
    const at = new Date(Date.UTC(2026, 0, 1) + order.n * STEP_MS).toISOString();
    const { order_id, lane, n } = order;
    ctx.emit(echoes, { order_id, lane, n, seen, recent: Number(ctx.feature(recent)), at });
    if (unechoed(n)) throw new Error("an order that is not echoed");
  },
);

export const echo_hours = window("echo_hours", {
  on: echoes,
  key: "lane",
  size: tumbling("1h"),
  aggregate: { orders: count(), seen: sum("seen"), newest: last("order_id") },
  lateness: "2h",
  early: "1s",
});

/** Where alerts are told. It has no id either. */
export const large_orders = stream("large_orders", { schema: z.object({ key: z.string(), state: z.string() }) });

export const tellers = toStream("tellers", large_orders, { event: ({ key, state }) => ({ key, state }) });

/** One for each large order. */
export const large = alert("large", {
  on: orders,
  key: ["lane", "order_id"],
  when: (order: { amount: string | number }) => Number(order.amount) * 100 > LARGE_CENTS,
  to: [tellers],
});
