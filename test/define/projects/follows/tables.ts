import { table } from "millrace";

const cases: Record<string, string> = {
  a_projection: "select order_id, amount from orders",
  a_filter: "select * from orders where amount > 10",
  a_quoted: 'select "orders".order_id as "order id" from "orders"',
  a_lookup: "select order_id, rate from orders left join silver.fx using (country)",
  a_lookup_first: "select order_id, rate from silver.fx f right join orders o on o.country = f.country",
  a_subquery_lookup: "select order_id, (select max(rate) from silver.fx) as top from orders",
  a_cte_lookup:
    "with f as (select country, max(rate) as rate from silver.fx group by 1) select o.order_id, f.rate from orders o left join f using (country)",
  a_cte_named_like_a_stream: "with rates as (select 1 as one) select order_id, one from orders, rates",
  a_unnest_select: "select order_id, unnest(items) as item from orders",
  a_unnest_from: "select order_id, item.sku from orders, unnest(items) as t(item)",
  a_chain: "select order_id, placed_at from silver.orders where gift",
  a_exclude: "select * exclude (_offset) from orders",
  a_own_offset: "select _offset, order_id from orders",
  a_scalar_aggregate: "select order_id, list_sum([1, 2]) as three from orders",
  a_semi_join: "select order_id from orders semi join silver.fx using (country)",
  a_asof:
    "select order_id, rate from orders asof left join silver.fx on orders.country = fx.country and orders.amount >= fx.rate",
  r_aggregate: "select count(*) as n from orders",
  r_group: "select country from orders group by country",
  r_group_all: "select country, sum(amount) as s from orders group by all",
  r_window: "select order_id, row_number() over () as n from orders",
  r_qualify: "select order_id from orders qualify row_number() over (partition by customer order by placed_at) = 1",
  r_distinct: "select distinct country from orders",
  r_order: "select order_id from orders order by placed_at",
  r_limit: "select order_id from orders limit 5",
  r_union: "select order_id from orders union all select order_id from silver.orders",
  r_sample: "select order_id from orders using sample 10%",
  r_optional: "select country, order_id from silver.fx left join orders using (country)",
  r_anti_side: "select country from silver.fx anti join orders using (country)",
  r_positional: "select order_id from orders positional join silver.fx",
  r_self_join: "select a.order_id as a, b.order_id as b from orders a join orders b using (customer)",
  r_two_append: "select o.order_id from silver.orders o join silver.a_chain c using (order_id)",
  r_within_cte: "with o as (select * from orders) select order_id from o",
  r_within_subquery: "select order_id from (select * from orders)",
  r_exists: "select country from silver.fx where exists (select 1 from orders)",
  r_keyed: "select country, rate * 2 as twice from silver.fx",
  r_bronze: "select payload from bronze.orders",
  r_constant: "select 1 as one",
};

export const tables = Object.entries(cases).map(([name, sql]) => table(`silver.${name}`, { sql }));
export const fx = table("silver.fx", { sql: "select country, rate from rates", key: ["country"], latest: "rate" });
export const joined = table("silver.r_streams_asked", {
  sql: "select order_id, rate from orders join rates using (country)",
  refresh: "full",
});
