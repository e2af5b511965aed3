import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { columnLineage } from "../../src/define/column-lineage.ts";
import { type DuckdbInspector, openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";

const TABLES: Readonly<Record<string, readonly string[]>> = {
  orders: ["id", "customer", "amount", "tags", "address"],
  "silver.customers": ["customer", "name", "country"],
  fx: ["country", "rate"],
};

let inspector: DuckdbInspector;
before(async () => {
  inspector = await openDuckdbInspector();
});
after(() => inspector.close());

/** `name <- table.column, …` of each column; what is not known is told behind `?`. */
async function traced(sql: string): Promise<string[]> {
  const { columns, open } = columnLineage(await inspector.parse(sql), (name) => TABLES[name]);
  const lines = columns.map(({ name, from, unknown }) => {
    const sources = from.map((one) => `${one.table}.${one.column}`).toSorted();
    return `${name} <- ${sources.join(", ")}${unknown === undefined ? "" : `? ${unknown}`}`;
  });
  return open === undefined ? lines : [...lines, `* ? ${open}`];
}

const CASES: readonly (readonly [string, string, readonly string[]])[] = [
  [
    "expressions, and nothing of what only chooses rows",
    "select id, round(amount * 2) as double, 1 as one from orders where customer = 'a' group by all",
    ["id <- orders.id", "double <- orders.amount", "one <- "],
  ],
  [
    "joins: by alias, by schema, and one column of USING that is either's",
    "select o.amount / fx.rate as eur, silver.customers.name, customer from orders o join silver.customers using (customer) join fx on fx.country = silver.customers.country",
    [
      "eur <- fx.rate, orders.amount",
      "name <- silver.customers.name",
      "customer <- orders.customer, silver.customers.customer",
    ],
  ],
  [
    "* with EXCLUDE and REPLACE, joined columns once",
    "select * exclude (tags, address) replace (amount + id as amount) from orders join silver.customers using (customer)",
    [
      "id <- orders.id",
      "customer <- orders.customer, silver.customers.customer",
      "amount <- orders.amount, orders.id",
      "name <- silver.customers.name",
      "country <- silver.customers.country",
    ],
  ],
  [
    "common tables with names of their own, and subqueries in FROM",
    "with c(who, total) as (select customer, sum(amount) filter (id > 3) from orders group by 1) select who, total + extra as t from c, (select max(rate) as extra from fx)",
    ["who <- orders.customer", "t <- fx.rate, orders.amount, orders.id"],
  ],
  [
    "windows of rows and scalar subqueries, correlated too",
    "select row_number() over (partition by customer order by amount) as n, (select max(rate) from fx where fx.country = o.customer) as r from orders o",
    ["n <- orders.amount, orders.customer", "r <- fx.rate"],
  ],
  [
    "unions by place and by name; what is taken away gives nothing",
    "(select id, amount from orders union all select customer, name from silver.customers) except select country, rate from fx",
    ["id <- orders.id, silver.customers.customer", "amount <- orders.amount, silver.customers.name"],
  ],
  [
    "by name",
    "select id as a, amount as b from orders union all by name select rate as b from fx",
    ["a <- orders.id", "b <- fx.rate, orders.amount"],
  ],
  [
    "a recursion takes in what it reads on its way",
    "with recursive r(n, m) as (select id, amount from orders union all select m, rate from r, fx) select n from r",
    ["n <- fx.rate, orders.amount, orders.id"],
  ],
  [
    "fields of structs, lambdas, unnest, and names that the list itself gives",
    "select address.city as city, list_transform(tags, lambda x: x || name) as ts, t, amount as a, a + 1 as b from orders, unnest(tags) as u(t), silver.customers",
    [
      "city <- orders.address",
      "ts <- orders.tags, silver.customers.name",
      "t <- orders.tags",
      "a <- orders.amount",
      "b <- orders.amount",
    ],
  ],
  [
    "what cannot be told is said and not made up",
    "select id, nothing_known from orders",
    ["id <- orders.id", 'nothing_known <- ? "nothing_known" is no column of an input that is known'],
  ],
  ["columns(…)", "select id, columns('a.*') from orders", ["id <- orders.id", "* ? columns(…) is not followed"]],
  [
    "a table that nobody knows",
    "select x.a, id from orders, elsewhere x",
    ['a <- ? the columns of "elsewhere" are not known', "id <- orders.id"],
  ],
];

for (const [what, sql, expected] of CASES) {
  test(`lineage of columns: ${what}`, async () => assert.deepEqual(await traced(sql), expected));
}

test("lineage of columns: behind * of something unknown no place is certain", async () => {
  assert.deepEqual(await traced("select *, id from elsewhere, orders"), [
    ...["id", "customer", "amount", "tags", "address"].map((name) => `${name} <- orders.${name}`),
    "id <- orders.id",
    '* ? the columns of "elsewhere" are not known',
  ]);
});
