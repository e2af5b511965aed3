import { table } from "millrace";

/** Sales of each day by department, with what the shop and its coupons gave away. */
export const departmentsDaily = table("gold.departments_daily", {
  sql: `
    select
      t.day,
      coalesce(p.department, 'UNKNOWN') as department,
      count(distinct t.basket_id) as baskets,
      count(*) as lines,
      sum(t.sales_value) as sales,
      sum(t.retail_disc + t.coupon_disc + t.coupon_match_disc) as discounts
    from silver.transactions t
    left join silver.products p using (product_id)
    group by 1, 2`,
  refresh: { by: { day: "day" } },
});

/** What households of each age and income buy in each department; households that never told are `unknown`. */
export const segments = table("gold.segments", {
  sql: `
    select
      coalesce(d.age, 'unknown') as age,
      coalesce(d.income, 'unknown') as income,
      coalesce(p.department, 'UNKNOWN') as department,
      count(distinct t.household_id) as households,
      count(distinct t.basket_id) as baskets,
      count(*) as lines,
      sum(t.sales_value) as sales
    from silver.transactions t
    left join silver.products p using (product_id)
    left join silver.demographics d using (household_id)
    group by 1, 2, 3`,
});

/** How each campaign did: households reached, coupons on offer, coupons redeemed and by how many of the households. */
export const campaignResults = table("gold.campaign_results", {
  sql: `
    with reached as (
      select campaign_id, count(*) as households from silver.campaigns group by campaign_id
    ),
    offered as (
      select campaign_id, count(distinct coupon_upc) as coupons, count(distinct product_id) as products
      from silver.coupons group by campaign_id
    ),
    redeemed as (
      select campaign_id, count(*) as redemptions, count(distinct household_id) as redeeming_households
      from silver.coupon_redemptions group by campaign_id
    )
    select
      c.campaign_id, c.campaign_type, c.start_date, c.end_date,
      coalesce(reached.households, 0) as households,
      coalesce(offered.coupons, 0) as coupons,
      coalesce(offered.products, 0) as products,
      coalesce(redeemed.redemptions, 0) as redemptions,
      coalesce(redeemed.redeeming_households, 0) as redeeming_households
    from silver.campaign_descriptions c
    left join reached using (campaign_id)
    left join offered using (campaign_id)
    left join redeemed using (campaign_id)`,
});

/** What a product sells in weeks with and without promotion in the same store. */
export const promotionEffect = table("gold.promotion_effect", {
  sql: `
    select
      p.department,
      coalesce(pr.displayed, false) as displayed,
      coalesce(pr.mailed, false) as mailed,
      count(*) as lines,
      avg(t.quantity) as quantity_per_line,
      sum(t.sales_value) as sales
    from silver.transactions t
    join silver.products p using (product_id)
    left join silver.promotions pr using (product_id, store_id, week)
    group by 1, 2, 3`,
});
