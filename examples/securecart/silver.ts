import { table } from "millrace";

/** The newest row of every country, for look-ups. */
export const countries = table("silver.countries", {
  sql: "select country, code, region, updated_at from countries",
  key: ["country"],
  latest: "updated_at",
});

/**
 * Every order line, cleaned. Nothing real is thrown away: returns are negative, stock corrections have no price, guests no customer.
 * A spreadsheet on the way turned customer 17850 into `17850.0`; the total is as wide as quantity times price can get.
 */
export const orderLines = table("silver.order_lines", {
  sql: `
    select
      invoice_no,
      starts_with(invoice_no, 'C') as is_cancellation,
      stock_code,
      trim(description) as description,
      quantity,
      unit_price,
      cast(quantity as decimal(10, 0)) * unit_price as line_total,
      regexp_replace(customer_id, '\\.0$', '') as customer_id,
      country,
      coalesce(c.region, 'Unassigned') as region,
      invoice_date,
      date(invoice_date) as day
    from order_lines
    left join silver.countries c using (country)`,
  checks: {
    counted: "quantity <> 0",
    cancellation_takes_back: "not is_cancellation or quantity < 0",
  },
});

export const clicks = table("silver.clicks", {
  sql: `
    select click_id, session_id, customer_id, page, stock_code, device, clicked_at, date(clicked_at) as day
    from clicks`,
  checks: { product_page_shows_a_product: "page <> 'product' or stock_code is not null" },
});

export const payments = table("silver.payments", {
  sql: `
    select
      payment_id, invoice_no, card_hash, card_country, ip, ip_country, amount, status, paid_at,
      card_country <> ip_country as is_foreign,
      date(paid_at) as day
    from payments`,
  checks: { positive: "amount > 0" },
});

/** The newest count of every product still sold. */
export const inventory = table("silver.inventory", {
  sql: "select stock_code, on_hand, discontinued, counted_at from inventory",
  key: ["stock_code"],
  latest: "counted_at",
  tombstone: "discontinued",
});
