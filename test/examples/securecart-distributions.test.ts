import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { EventClock } from "../../examples/securecart/simulator/event-clock.ts";
import { Shop } from "../../examples/securecart/simulator/shop.ts";

/*
 * Holds the simulated shop against the real one it is modelled on (Online Retail, Chen 2015). Where the data set is not there, the
 * shares measured from it stand in.
 */
const REAL_CSV = resolve(import.meta.dirname, "../../../shared/data/online-retail/online_retail.csv.zst");

/** Measure -> value in the real data, tolerance. */
const MEASURES: Record<string, { sql: string; real: number; tolerance: number }> = {
  "share of rows that cancel": {
    sql: "(select avg((invoice_no like 'C%')::int) from lines)",
    real: 0.0171,
    tolerance: 0.005,
  },
  "share of invoices that cancel": {
    sql: "(select avg((invoice_no like 'C%')::int) from invoices)",
    real: 0.1481,
    tolerance: 0.015,
  },
  "lines per invoice, mean": { sql: "(select avg(lines) from invoices)", real: 20.92, tolerance: 2 },
  "lines per invoice, median": { sql: "(select median(lines) from invoices)", real: 10, tolerance: 2 },
  "lines per invoice, 90th percentile": {
    sql: "(select quantile_cont(lines, 0.9) from invoices)",
    real: 47,
    tolerance: 5,
  },
  "share of rows without customer": {
    sql: "(select avg((customer_id is null)::int) from lines)",
    real: 0.2493,
    tolerance: 0.03,
  },
  "share of invoices from the United Kingdom": {
    sql: "(select avg((country = 'United Kingdom')::int) from invoices)",
    real: 0.9071,
    tolerance: 0.015,
  },
  "share of invoices from Germany": {
    sql: "(select avg((country = 'Germany')::int) from invoices)",
    real: 0.0233,
    tolerance: 0.01,
  },
  "share of rows with negative quantity": {
    sql: "(select avg((quantity < 0)::int) from lines)",
    real: 0.0196,
    tolerance: 0.005,
  },
  "share of rows without a price": {
    sql: "(select avg((unit_price = 0)::int) from lines)",
    real: 0.0046,
    tolerance: 0.002,
  },
  "share of single pieces": { sql: "(select avg((quantity = 1)::int) from lines)", real: 0.2735, tolerance: 0.02 },
  "unit price, median": {
    sql: "(select median(unit_price) from lines where quantity > 0)",
    real: 2.08,
    tolerance: 0.3,
  },
  "unit price, 90th percentile": {
    sql: "(select quantile_cont(unit_price, 0.9) from lines where quantity > 0)",
    real: 7.95,
    tolerance: 1,
  },
  "share of rows of the ten best sellers": {
    sql: "(select sum(lines) filter (rank <= 10) / sum(lines) from products)",
    real: 0.0318,
    tolerance: 0.008,
  },
  "share of rows of the hundred best sellers": {
    sql: "(select sum(lines) filter (rank <= 100) / sum(lines) from products)",
    real: 0.1882,
    tolerance: 0.02,
  },
  "orders per customer among 8,000 orders": { sql: "(select avg(orders) from customers)", real: 2.83, tolerance: 0.3 },
  "share of orders from customers with five or more": {
    sql: "(select sum(orders) filter (orders >= 5) / sum(orders) from customers)",
    real: 0.4816,
    tolerance: 0.03,
  },
  "share of invoices from 10 to 16 h": {
    sql: "(select avg((hour(placed_at) between 10 and 15)::int) from invoices)",
    real: 0.7592,
    tolerance: 0.02,
  },
};

const LINE_COLUMNS =
  "{invoice_no: 'varchar', stock_code: 'varchar', quantity: 'int', unit_price: 'double', customer_id: 'varchar', country: 'varchar', invoice_date: 'timestamp'}";

let dir: string;
let instance: DuckDBInstance;
let connection: DuckDBConnection;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "securecart-"));
  const path = join(dir, "lines.ndjson");
  await writeFile(path, simulatedLines(12_000));
  instance = await DuckDBInstance.create();
  connection = await instance.connect();
  await connection.run(`create view simulated as select * from read_json('${path}', columns = ${LINE_COLUMNS})`);
});

after(async () => {
  connection.closeSync();
  instance.closeSync();
  await rm(dir, { recursive: true, force: true });
});

test("the simulated shop's shares and sizes lie within the stated tolerances of the real shop's", async () => {
  const simulated = await measure("simulated");
  for (const [name, { real, tolerance }] of Object.entries(MEASURES)) {
    const value = simulated[name] as number;
    assert.ok(Math.abs(value - real) <= tolerance, `${name}: ${value}, expected ${real} ± ${tolerance}`);
  }
});

test("the figures the simulator is held to are those of the real data", async (t) => {
  if (!existsSync(REAL_CSV)) {
    t.diagnostic(`the Online Retail corpus is not there (${REAL_CSV}); the simulator was held to its recorded figures`);
    return;
  }
  await connection.run(`
    create view real as
    select InvoiceNo as invoice_no, StockCode as stock_code, Quantity::int as quantity, UnitPrice::double as unit_price,
      CustomerID as customer_id, Country as country, InvoiceDate::timestamp as invoice_date
    from read_csv('${REAL_CSV}', all_varchar = true)`);
  const real = await measure("real");
  for (const [name, { real: recorded, tolerance }] of Object.entries(MEASURES)) {
    const value = real[name] as number;
    assert.ok(Math.abs(value - recorded) <= tolerance / 20, `${name}: ${value}, recorded ${recorded}`);
  }
});

function simulatedLines(invoiceCount: number): string {
  const shop = new Shop(7);
  const clock = new EventClock(Date.UTC(2026, 0, 15), 300, 1);
  const invoices = new Set<unknown>();
  const lines: string[] = [];
  // 12,000 invoices are about 29,000 visits, orders and returns.
  for (let happenings = 0; invoices.size < invoiceCount; happenings++) {
    for (const { stream, fields } of shop.next(clock.at(happenings / 40_000))) {
      if (stream !== "order_lines") continue;
      invoices.add(fields.invoice_no);
      lines.push(JSON.stringify(fields));
    }
  }
  return lines.join("\n");
}

async function measure(relation: string): Promise<Record<string, unknown>> {
  const list = Object.entries(MEASURES).map(([name, { sql }]) => `cast(${sql} as double) as "${name}"`);
  const reader = await connection.runAndReadAll(`
    with lines as (from ${relation}),
    invoices as (
      select invoice_no, count(*) as lines, any_value(country) as country, any_value(customer_id) as customer_id, min(invoice_date) as placed_at
      from lines group by invoice_no
    ),
    products as (
      select count(*) as lines, row_number() over (order by count(*) desc) as rank from lines group by stock_code
    ),
    customers as (
      select count(*) as orders from (
        select customer_id from invoices where customer_id is not null and invoice_no not like 'C%' order by placed_at, invoice_no limit 8000
      ) group by customer_id
    )
    select ${list.join(", ")}`);
  return reader.getRowObjectsJson()[0] as Record<string, unknown>;
}
