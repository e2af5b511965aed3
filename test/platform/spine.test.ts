import assert from "node:assert/strict";
import { test } from "node:test";
import type { LedgerAnswer } from "../../src/cli/ledger.ts";
import type { PlatformStatus } from "../../src/serve/admin-route.ts";
import type { TableDetails } from "../../src/serve/catalogue.ts";
import { temporaryFolder } from "../flow/open-flow.ts";
import { millrace, RunningPlatform } from "./running-platform.ts";

const line = (id: number, more: Record<string, unknown> = {}) => ({
  invoice_no: `i${id}`,
  line_id: `l${id}`,
  stock_code: "85123A",
  quantity: 2,
  invoice_date: "2026-01-05T10:00:00Z",
  unit_price: "1.500",
  country: "Germany",
  ...more,
});

const SALES = "select day, country, orders, revenue from gold.sales_daily order by day desc, country";

test("an event posted is an event in silver and gold, at once, after a kill, and after a restart", async () => {
  await using dir = await temporaryFolder();
  {
    await using platform = await RunningPlatform.start("examples/securecart", dir.path);
    const { status, body } = await platform.post("order_lines", [
      line(1),
      line(2),
      "{broken",
      line(3, { quantity: "many" }),
    ]);
    assert.equal(status, 202);
    assert.equal(body.accepted, 2);
    assert.deepEqual(
      body.rejected.map((r) => [r.index, r.code]),
      [
        [2, "EVENT_MALFORMED_JSON"],
        [3, "EVENT_INVALID"],
      ],
    );
    assert.deepEqual(body.partitions, [{ partition: 0, from: 0, to: 1 }]);
    assert.deepEqual(await platform.sql(SALES), [["2026-01-05", "Germany", 2, "6.000"]]);
    assert.deepEqual(await platform.sql("select stage, code from system.dead_letters order by code"), [
      ["door", "EVENT_INVALID"],
      ["door", "EVENT_MALFORMED_JSON"],
    ]);
    await platform.stop("SIGKILL");
  }
  {
    await using platform = await RunningPlatform.start("examples/securecart", dir.path);
    assert.deepEqual(await platform.sql(SALES), [["2026-01-05", "Germany", 2, "6.000"]]);
    await platform.post("order_lines", [line(2), line(4, { invoice_date: "2026-01-04T00:00:00Z" })]);
    const expected = [
      ["2026-01-05", "Germany", 2, "6.000"],
      ["2026-01-04", "Germany", 1, "3.000"],
    ];
    assert.deepEqual(await platform.sql(SALES), expected);
    assert.equal(await platform.stop(), 0, "SIGTERM drains and ends with 0");
  }
  await using platform = await RunningPlatform.start("examples/securecart", dir.path);
  const { body: ledger } = await platform.get<LedgerAnswer>("/v1/ledger");
  assert.equal(ledger.balanced, true);
  const hop = ledger.hops.find((h) => h.hop === "silver.order_lines");
  assert.ok(hop);
  assert.deepEqual([hop.accepted, hop.stored, hop.duplicate, hop.pending], [4, 3, 1, 0]);
  const { body: status } = await platform.get<PlatformStatus>("/v1/status");
  assert.equal(status.ready, true, JSON.stringify(status.problems));
  const { body: table } = await platform.get<TableDetails>("/v1/tables/gold.sales_daily");
  assert.deepEqual(table.lineage.inputs, ["silver.order_lines"]);
});

test("a second process is kept out of a data folder, and a port in use is named", async () => {
  await using dir = await temporaryFolder();
  await using other = await temporaryFolder();
  await using platform = await RunningPlatform.start("examples/securecart", dir.path);
  const twice = await millrace(["start", "examples/securecart", "--data", dir.path, "--port", "0"]);
  assert.equal(twice.code, 1);
  assert.match(twice.stderr, /DATA_FOLDER_IN_USE/);
  const { port } = new URL(platform.url);
  const taken = await millrace(["start", "examples/securecart", "--data", other.path, "--port", port]);
  assert.equal(taken.code, 1);
  assert.match(taken.stderr, /PORT_IN_USE/);
  assert.ok(taken.stderr.includes(port));
});

test("a project that does not load says everything that is wrong, each with its place", async () => {
  const missing = await millrace(["start", "no/such/folder"]);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /PROJECT_NOT_FOUND/);
});
