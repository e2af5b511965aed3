/** The console in a real browser against a running platform: every page, light and dark, on a desk and on a phone, and what it does when things are not well. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { OpenConsole } from "./open-console.ts";

let at: OpenConsole;

before(async () => {
  at = await OpenConsole.start("test/console/project");
  const events = Array.from({ length: 200 }, (_, i) => order(i));
  const { body } = await at.platform.post("orders", [...events, { order_id: "", amount: -1 }, '{"order_id": "torn']);
  assert.deepEqual([body.accepted, body.rejected.length], [200, 2]);
  for (const workflow of ["nightly", "failing"]) await at.call("POST", `/v1/workflows/${workflow}/runs`);
  assert.equal((await at.platform.command("refresh", "gold.sales_daily")).code, 0);
});

after(() => at?.stop());

function order(i: number): Record<string, unknown> {
  const countries = ["DE", "FR", "GB"];
  return {
    order_id: `o-${i}`,
    customer_id: `c-${i % 7}`,
    country: countries[i % 3],
    amount: i === 199 ? 950 : 10 + i,
    placed_at: new Date(Date.now() - i * 3_600_000).toISOString(),
  };
}

/** A page, and what shows that it has all it asked for. */
const PAGES: readonly (readonly [string, string])[] = [
  ["/", ".thing"],
  ["/streams", "text=large_orders"],
  ["/streams/orders", "td >> text=EVENT_INVALID"],
  ["/streams/orders/contract", "text=event time"],
  ["/streams/orders/send", "text=curl"],
  ["/tables", "text=gold.sales_daily"],
  ["/tables/silver.orders", "text=Definition"],
  ["/tables/silver.orders/sample", "[role=gridcell]"],
  ["/tables/silver.orders/profile", "text=distinct"],
  ["/tables/silver.orders/history", "text=flush"],
  ["/tables/silver.orders/files", "text=.parquet"],
  ["/sql?sql=select+country,+count(*)+as+n+from+orders+group+by+all", "[role=gridcell]"],
  ["/runs", ".bars"],
  ["/alerts", "text=expensive_order"],
  ["/dead-letters?stream=orders&stage=door&code=EVENT_INVALID", "text=Retry all"],
  ["/ledger", "text=every event is accounted for"],
  ["/system", "text=flushIntervalMs"],
];

for (const [path, there] of PAGES) {
  test(`${path}: complete, without a fault for axe, in light and dark, wide and narrow`, () =>
    at.inEveryLook(path, there));
}
