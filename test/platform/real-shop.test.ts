import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { LedgerAnswer } from "../../src/cli/ledger.ts";
import { temporaryFolder } from "../flow/open-flow.ts";
import { RunningPlatform } from "./running-platform.ts";

const DATA = join(import.meta.dirname, "../../../shared/data");
const RETAIL = join(DATA, "online-retail/online_retail.csv.zst");
const JOURNEY = join(DATA, "completejourney");

if (!existsSync(RETAIL)) console.log(`${RETAIL} is not here: imports of the real shop are not tested in this run`);
else {
  test("a year of a real shop is imported with its exact totals, and importing it again changes nothing", async () => {
    await using dir = await temporaryFolder();
    await using platform = await RunningPlatform.start("examples/securecart", dir.path);
    const first = await platform.command("import", "order_lines", RETAIL, "--json");
    assert.equal(first.code, 0, first.stderr);
    const facts = () =>
      platform.sql(`select count(*), sum(line_total), count(distinct invoice_no), count(distinct customer_id),
        count(*) filter (is_cancellation), count(*) filter (customer_id is null) from silver.order_lines`);
    const expected = [[541_909, "9747747.934", 25_900, 4_372, 9_288, 135_080]];
    assert.deepEqual(await facts(), expected);
    assert.deepEqual(
      await platform.sql("select sum(revenue), sum(orders) + sum(cancellations) from gold.sales_daily"),
      [["9747747.934", 25_900]],
    );
    const again = await platform.command("import", "order_lines", RETAIL, "--json");
    assert.equal(again.code, 0, again.stderr);
    assert.deepEqual(await facts(), expected);

    const till = await platform.command("import", "till_export", RETAIL, "--json");
    assert.equal(till.code, 0, till.stderr);
    assert.deepEqual(
      await platform.sql("select count(*), count(*) filter (_duplicate_of is not null) from bronze.till_export"),
      [[541_909, 5_268]],
    );
    assert.deepEqual(await platform.sql("select count(*) from silver.till_export"), [[536_641]]);
    const { body: ledger } = await platform.get<LedgerAnswer>("/v1/ledger");
    assert.equal(ledger.balanced, true);
  });

  test("the eight files of Complete Journey become joined tables", async () => {
    await using dir = await temporaryFolder();
    await using platform = await RunningPlatform.start("examples/completejourney", dir.path);
    const files: [string, string][] = [
      ["products", "products"],
      ["demographics", "demographics"],
      ["campaign_descriptions", "campaign_descriptions"],
      ["campaigns", "campaigns"],
      ["coupons", "coupons"],
      ["coupon_redemptions", "coupon_redemptions"],
      ["promotions", "promotions_sample"],
      ["transactions", "transactions_sample"],
    ];
    for (const [stream, file] of files) {
      const result = await platform.command("import", stream, join(JOURNEY, `${file}.csv.zst`), "--json");
      assert.equal(result.code, 0, `${stream}: ${result.stderr}`);
    }
    assert.deepEqual(
      await platform.sql(`select (select count(*) from silver.transactions), (select count(*) from silver.products),
        (select count(*) from silver.coupon_redemptions)`),
      [[75_000, 92_331, 2_102]],
    );
    const { body: ledger } = await platform.get<LedgerAnswer>("/v1/ledger");
    assert.equal(ledger.balanced, true);
  });
}
