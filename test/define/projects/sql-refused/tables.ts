import { table } from "millrace";

const statements: Record<string, string> = {
  syntax: "select * form orders",
  not_a_query: "delete from orders",
  two: "select 1 as a; select 2 as b",
  copy: "copy orders to 'x.csv'",
  column: "select order_id, amuont from orders",
  function: "select uper(country) as c from orders",
  lookup_meta: "select o.order_id, f._offset as f_offset from orders o left join silver.fx f using (country)",
  system: "select * from system.ledger",
  time_travel: "select * from silver.fx at (version => 3)",
  file_reader: "select * from read_csv('x.csv')",
  dynamic: "select * from query_table('orders')",
  settings: "select * from duckdb_settings()",
  show: "show tables",
  describe: "describe orders",
  parameter: "select * from orders where amount > $1",
  streams: "select order_id, rate from orders join rates using (country)",
  duplicate: "select order_id, country as ORDER_ID from orders",
  star_twice: "select * from orders o join silver.fx f on o.country = f.country",
  reserved: "select order_id, amount as _amount from orders",
  disguised: "select order_id, 5 as _offset from orders",
  smuggled: "with l as (select 1 as _secret) select order_id, _secret from orders, l",
  other_offset: "with l as (select 1 as _offset) select o.order_id, l._offset from orders o, l",
  unnamed: "select order_id, amount * 2 from orders",
  unnamed_beside_star: "select *, upper(country) from orders",
  unnamed_union: "select count(*) from orders union all select 1 as n",
  untyped: "select row(1, 'a') as pair, order_id from orders",
};

export const tables = Object.entries(statements).map(([name, sql]) => table(`silver.${name}`, { sql }));
export const fx = table("silver.fx", { sql: "select country, rate from rates", key: ["country"], latest: "_offset" });
