import { table } from "millrace";

export const transactions = table("silver.transactions", {
  sql: `
    select
      household_id, store_id, basket_id, product_id, quantity, week,
      cast(sales_value as decimal(18, 2)) as sales_value,
      retail_disc, coupon_disc, coupon_match_disc,
      transaction_timestamp,
      date(transaction_timestamp) as day
    from transactions`,
  checks: { discounts_lower_the_price: "retail_disc >= 0 and coupon_disc >= 0 and coupon_match_disc >= 0" },
});

/** The newest row of each product, by order of arrival: an import of a newer catalogue replaces what it names. */
export const products = table("silver.products", {
  sql: `
    select product_id, manufacturer_id, department, brand, product_category, product_type, package_size
    from products`,
  key: ["product_id"],
  latest: "_offset",
});

export const demographics = table("silver.demographics", {
  sql: `
    select household_id, age, income, home_ownership, marital_status, household_size, household_comp, kids_count
    from demographics`,
  key: ["household_id"],
  latest: "_offset",
});

export const campaignDescriptions = table("silver.campaign_descriptions", {
  sql: "select campaign_id, campaign_type, start_date, end_date from campaign_descriptions",
  key: ["campaign_id"],
  latest: "_offset",
  checks: { ends_after_its_start: "end_date >= start_date" },
});

export const promotions = table("silver.promotions", {
  sql: `
    select product_id, store_id, week, display_location <> '0' as displayed, mailer_location <> '0' as mailed
    from promotions`,
  partitionBy: ["week"],
});
