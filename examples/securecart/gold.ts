import { table } from "millrace";

/** What was sold, by day and country. Cancellations are counted apart, and their negative amounts lower the revenue. */
export const salesDaily = table("gold.sales_daily", {
  sql: `
    select
      day,
      country,
      count(distinct invoice_no) filter (not is_cancellation) as orders,
      count(distinct invoice_no) filter (is_cancellation) as cancellations,
      count(*) as lines,
      cast(sum(quantity) as bigint) as units,
      sum(line_total) as revenue
    from silver.order_lines
    group by day, country`,
  refresh: { by: { day: "day" } },
});

/** What each product brought in and what is left of it. Its name comes from sold lines: others carry notes such as "damaged". */
export const productRevenue = table("gold.product_revenue", {
  sql: `
    with sold as (
      select
        stock_code,
        min(description) filter (quantity > 0 and unit_price > 0) as description,
        count(distinct invoice_no) filter (not is_cancellation) as orders,
        cast(sum(quantity) as bigint) as units,
        sum(line_total) as revenue,
        max(day) as last_sold
      from silver.order_lines
      group by stock_code
    )
    select sold.*, i.on_hand, i.counted_at
    from sold
    left join silver.inventory i using (stock_code)`,
});

/** Recency, frequency and monetary value of each known customer, with scores from 1 to 5. Recency counts from the newest day sold. */
export const customersRfm = table("gold.customers_rfm", {
  sql: `
    with customers as (
      select
        customer_id,
        max(country) as country,
        max(day) as last_day,
        count(distinct invoice_no) filter (not is_cancellation) as frequency,
        sum(line_total) as monetary
      from silver.order_lines
      where customer_id is not null
      group by customer_id
    ),
    measured as (
      select customers.*, date_diff('day', last_day, (select max(day) from silver.order_lines)) as recency_days
      from customers
    )
    select
      measured.*,
      ntile(5) over (order by recency_days desc, customer_id) as recency_score,
      ntile(5) over (order by frequency, customer_id) as frequency_score,
      ntile(5) over (order by monetary, customer_id) as monetary_score
    from measured`,
});

/**
 * Products bought together: the 50 commonest pairs of each day. Two cuts keep the pairs few: baskets of more than 50 products are
 * wholesale orders that say little about taste, and what is in one basket only has no pair to count.
 */
export const productPairs = table("gold.product_pairs", {
  sql: `
    with bought as (
      select distinct day, invoice_no, stock_code
      from silver.order_lines
      where quantity > 0 and unit_price > 0
    ),
    baskets as (
      select day, invoice_no, stock_code
      from bought
      qualify count(*) over (partition by day, invoice_no) <= 50
        and count(*) over (partition by day, stock_code) > 1
    ),
    pairs as (
      select a.day, a.stock_code as product, b.stock_code as bought_with, count(*) as baskets
      from baskets a
      join baskets b on a.day = b.day and a.invoice_no = b.invoice_no and a.stock_code < b.stock_code
      group by a.day, a.stock_code, b.stock_code
      having count(*) > 1
    )
    select day, product, bought_with, baskets
    from pairs
    qualify row_number() over (partition by day order by baskets desc, product, bought_with) <= 50`,
  refresh: { by: { day: "day" } },
});

/** How far the visits of a day came. */
export const funnelDaily = table("gold.funnel_daily", {
  sql: `
    select
      day,
      count(distinct session_id) as sessions,
      count(distinct session_id) filter (page = 'product') as saw_product,
      count(distinct session_id) filter (page = 'cart') as filled_cart,
      count(distinct session_id) filter (page = 'checkout') as reached_checkout,
      count(distinct session_id) filter (page = 'thanks') as bought
    from silver.clicks
    group by day`,
  refresh: { by: { day: "day" } },
});

/** Cards used more than five times within an hour of the day: a stolen card being tried out looks like this. */
export const cardBursts = table("gold.card_bursts", {
  sql: `
    select
      day,
      card_hash,
      date_trunc('hour', paid_at) as hour,
      count(*) as payments,
      count(*) filter (status = 'declined') as declined,
      count(*) filter (is_foreign) as from_abroad,
      sum(amount) as amount
    from silver.payments
    group by day, card_hash, hour
    having count(*) > 5`,
  refresh: { by: { day: "day" } },
});
