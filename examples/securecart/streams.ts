import { decimal, stream, z } from "millrace";

const orderLine = z.object({
  invoice_no: z.string().min(1),
  line_id: z.string().min(1).nullish(),
  stock_code: z.string().min(1),
  description: z.string().nullish(),
  quantity: z.int32(),
  invoice_date: z.iso.datetime(),
  unit_price: decimal(18, 3),
  customer_id: z.string().min(1).nullish(),
  country: z.string().min(1),
});

/**
 * One event per line of an order, the grain in which tills and shop systems export their sales. A cancellation is an invoice of its
 * own (`C…`) with negative quantities.
 *
 * The live shop numbers its lines, so a line that is sent twice is one event. Old exports know no line number: each of
 * their rows is its own event, and two equal rows of one invoice are two sold lines, as in the books.
 */
export const orderLines = stream("order_lines", {
  schema: orderLine,
  id: ["line_id"],
  key: "invoice_no",
  time: "invoice_date",
});

/**
 * The same lines from a source that repeats itself: a till that sends its whole day again after every outage. All columns together are the
 * id, so a row seen before counts as a duplicate of it.
 */
export const tillExport = stream("till_export", {
  schema: orderLine.omit({ line_id: true }),
  id: ["invoice_no", "stock_code", "description", "quantity", "invoice_date", "unit_price", "customer_id", "country"],
  key: "invoice_no",
  time: "invoice_date",
});

/** What visitors do on the pages of the shop. */
export const clicks = stream("clicks", {
  schema: z.object({
    click_id: z.string().min(1),
    session_id: z.string().min(1),
    customer_id: z.string().nullish(),
    page: z.enum(["home", "search", "product", "cart", "checkout", "thanks"]),
    stock_code: z.string().nullish(),
    device: z.enum(["desktop", "mobile", "tablet"]),
    clicked_at: z.iso.datetime(),
  }),
  id: ["click_id"],
  key: "session_id",
  time: "clicked_at",
});

/** What the payment provider's webhooks say about a card payment. Cards are known by their hash only. */
export const payments = stream("payments", {
  schema: z.object({
    payment_id: z.string().min(1),
    invoice_no: z.string().min(1),
    card_hash: z.string().length(16),
    card_country: z.string().length(2),
    ip: z.ipv4(),
    ip_country: z.string().length(2),
    amount: decimal(18, 2),
    status: z.enum(["captured", "declined", "refunded"]),
    paid_at: z.iso.datetime(),
  }),
  id: ["payment_id"],
  key: "card_hash",
  time: "paid_at",
});

/** A count of one product's stock; `discontinued` takes the product off the shelf. */
export const inventory = stream("inventory", {
  schema: z.object({
    stock_code: z.string().min(1),
    on_hand: z.int32().min(0),
    discontinued: z.boolean(),
    counted_at: z.iso.datetime(),
  }),
  id: ["stock_code", "counted_at"],
  key: "stock_code",
  time: "counted_at",
});

/** Where the shop sells, and which region's team answers for it. */
export const countries = stream("countries", {
  schema: z.object({
    country: z.string().min(1),
    code: z.string().length(2),
    region: z.string().min(1),
    updated_at: z.iso.datetime(),
  }),
  id: ["country", "updated_at"],
  key: "country",
  time: "updated_at",
});
