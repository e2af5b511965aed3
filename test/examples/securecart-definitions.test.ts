import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { after, before, test } from "node:test";
import { traffic } from "../../examples/securecart/simulator/traffic.ts";
import type { SentEvent } from "../../examples/simulation/sent-event.ts";
import type { AppendTable, Project, RefreshTable, Stream } from "../../src/define/project.ts";
import { EventJudge } from "../../src/gateway/event-judge.ts";
import { load, ProjectTables } from "./project-tables.ts";

const CSV = resolve(import.meta.dirname, "../../../shared/data/online-retail/online_retail.csv.zst");
const HAVE_CSV = existsSync(CSV);
const LIMITS = { maxEventBytes: 1 << 20, maxNesting: 64 };

let project: Project;
let tables: ProjectTables;

before(async () => {
  project = await load(resolve(import.meta.dirname, "../../examples/securecart"));
  tables = await ProjectTables.compute(project, HAVE_CSV ? { order_lines: CSV, till_export: CSV } : {});
});

after(() => tables?.close());

test("the project loads: rows follow their events, upserts keep the newest, sums are refreshed by day where they can be", () => {
  assert.equal(project.name, "securecart");
  const append = [...project.tables.values()].filter((t) => t.mode === "append") as AppendTable[];
  assert.deepEqual(Object.fromEntries(append.map((t) => [t.name, [t.stream, ...t.key]])), {
    "silver.countries": ["countries", "country"],
    "silver.order_lines": ["order_lines"],
    "silver.till_export": ["till_export"],
    "silver.clicks": ["clicks"],
    "silver.payments": ["payments"],
    "silver.inventory": ["inventory", "stock_code"],
  });
  const refresh = [...project.tables.values()].filter((t) => t.mode === "refresh") as RefreshTable[];
  assert.deepEqual(Object.fromEntries(refresh.map((t) => [t.name, Object.keys(t.by).join()])), {
    "gold.sales_daily": "day",
    "gold.product_revenue": "",
    "gold.customers_rfm": "",
    "gold.product_pairs": "day",
    "gold.funnel_daily": "day",
    "gold.card_bursts": "day",
  });
  assert.equal(project.tables.get("gold.sales_daily")?.columns[0]?.name, "day");
});

test("money stays exact: no amount passes through a float", () => {
  for (const [table, column] of [
    ["silver.order_lines", "line_total"],
    ["silver.payments", "amount"],
    ["gold.sales_daily", "revenue"],
    ["gold.product_revenue", "revenue"],
    ["gold.customers_rfm", "monetary"],
  ] as const) {
    assert.equal(
      project.tables.get(table)?.columns.find((c) => c.name === column)?.type.kind,
      "decimal",
      `${table}.${column}`,
    );
  }
});

test("the door takes every event the simulator means well and refuses every malformed one", () => {
  const judges = new Map([...project.streams.values()].map((stream) => [stream.name, new EventJudge(stream, LIMITS)]));
  const { opening, events } = traffic({ seed: 9, rate: 1_000, nowMs: Date.UTC(2026, 0, 15, 14) });
  const refusal = (event: SentEvent) => {
    const bytes = Buffer.from(event.line);
    return (judges.get(event.stream) as EventJudge).judge(bytes, 0, bytes.length);
  };
  let malformed = 0;
  for (const event of [...opening, ...events.take(40_000)]) {
    const refused = refusal(event);
    if (event.kind === "malformed") {
      malformed++;
      assert.ok(refused, `taken: ${event.line}`);
    } else {
      assert.equal(refused, undefined, `${event.kind} refused (${refused?.message}): ${event.line}`);
    }
  }
  assert.ok(malformed > 100);
});

test("the contract takes the rows of the real shop, and no check drops one", async (t) => {
  if (!HAVE_CSV) return t.diagnostic(`the Online Retail corpus is not there (${CSV})`);
  const judge = new EventJudge(project.streams.get("order_lines") as Stream, LIMITS);
  const events = await tables.events("order_lines");
  assert.equal(events.length, 541_909);
  // Every tenth row, and every other odd one: without a customer, without or with a negative price, with tenths of a penny, taken back.
  const isOdd = (event: string) => /"customer_id":null|"unit_price":(-|0\.0)|"quantity":-/.test(event);
  for (const event of events.filter((text, i) => i % 10 === 0 || (i % 2 === 0 && isOdd(text)))) {
    const bytes = Buffer.from(event);
    const refused = judge.judge(bytes, 0, bytes.length);
    assert.equal(refused, undefined, `${refused?.message}: ${event}`);
  }
  assert.deepEqual(
    [...tables.failed].filter(([, rows]) => rows > 0),
    [],
  );
});

test("silver and gold give the exact facts of the real shop", async (t) => {
  if (!HAVE_CSV) return t.diagnostic(`the Online Retail corpus is not there (${CSV})`);
  assert.equal(tables.duplicates.get("order_lines"), 0);
  assert.deepEqual(
    await tables.row(`
      select count(*), sum(line_total), count(distinct invoice_no), count(distinct customer_id),
        count(*) filter (is_cancellation), count(*) filter (customer_id is null)
      from silver.order_lines`),
    ["541909", "9747747.934", "25900", "4372", "9288", "135080"],
  );
  assert.deepEqual(
    await tables.row(
      "select sum(revenue), sum(orders) + sum(cancellations), sum(cancellations), sum(lines), count(distinct day) from gold.sales_daily",
    ),
    ["9747747.934", "25900", "3836", "541909", "305"],
  );
  assert.deepEqual(await tables.row("select count(*), sum(revenue) from gold.product_revenue"), [
    "4070",
    "9747747.934",
  ]);
  assert.deepEqual(await tables.row("select count(*), sum(monetary), max(recency_days) from gold.customers_rfm"), [
    "4372",
    "8300065.814",
    "373",
  ]);
  assert.deepEqual(
    await tables.row(
      "select count(distinct day), max(pairs) from (select day, count(*) as pairs from gold.product_pairs group by day)",
    ),
    ["305", "50"],
  );
});

test("where all columns together are the id, the real shop's equal rows are duplicates", async (t) => {
  if (!HAVE_CSV) return t.diagnostic(`the Online Retail corpus is not there (${CSV})`);
  assert.equal(tables.duplicates.get("till_export"), 5_268);
  assert.deepEqual(
    await tables.row("select count(*), count(distinct invoice_no), sum(quantity * unit_price) from silver.till_export"),
    ["536641", "25900", "9726006.954"],
  );
});
