/** A table's page: how its checks went commit by commit, how old it may be, who reads it, and how its partitions are filled. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { trendsOf } from "../../packages/console/src/pages/tables/check-trends.ts";
import { OpenConsole, PHONE, tooWide, violations } from "./open-console.ts";

let c: OpenConsole;
before(async () => {
  c = await OpenConsole.start("test/console/tables-project");
  const order = (i: number, more: object = {}) => ({ order_id: `o-${i}`, country: "DE", amount: 10, ...more });
  await c.platform.post("orders", [order(1), order(2, { country: "FR" }), order(3)]);
  await stored();
  await c.platform.post("orders", [
    order(4, { amount: -1 }),
    order(5, { country: "XX" }),
    order(6, { amount: 0 }),
    order(7),
  ]);
  await stored();
  await c.platform.post("orders", [order(8)]);
  await stored();
  assert.equal((await c.platform.command("refresh", "gold.totals")).code, 0);
});
after(() => c?.stop());

async function stored(): Promise<void> {
  for (;;) {
    const { hops } = await c.call<{ hops: { pending: number }[] }>("GET", "/v1/ledger");
    if (hops.every(({ pending }) => pending === 0)) return;
  }
}

test("checks: what failed is counted in the commit whose events it was", async () => {
  const page = await c.open("/tables/silver.checked/checks");
  try {
    const row = (name: string) => page.getByRole("row").filter({ hasText: name });
    await row("positive")
      .getByRole("img", { name: /^positive: rows failed in 1 of \d+ commits$/ })
      .waitFor();
    assert.match((await row("positive").textContent()) ?? "", /passes.*amount > 0.*2/);
    await row("known_country")
      .getByRole("img", { name: /^known_country: rows failed in 1 of \d+ commits$/ })
      .waitFor();
    assert.deepEqual(await violations(page), []);
    await page.setViewportSize(PHONE);
    await page.emulateMedia({ colorScheme: "dark" });
    assert.deepEqual(await violations(page), []);
    assert.ok((await tooWide(page)) <= 0);
    await row("positive").getByRole("link", { name: "2" }).click();
    await page
      .getByText(/check "positive" is not met/)
      .first()
      .waitFor();
    assert.deepEqual(page.complaints, []);
  } finally {
    await page.close();
  }
});

test("overview: fresh against its objective, and everything that reads it", async () => {
  const page = await c.open("/tables/silver.checked");
  try {
    await page.getByText("within 1 h").waitFor();
    const readers = page.getByRole("list", { name: "Is read by" });
    for (const reader of ["gold.totals", "look", "many_orders", "after_commit"])
      await readers.getByRole("link", { name: reader }).waitFor();
    assert.deepEqual(await violations(page), []);
    await page.goto(`${c.platform.url}/tables/gold.totals`);
    await page.getByText(/^over /).waitFor();
    await page.getByText("it has had no new rows for longer than its freshness allows").waitFor();
    assert.deepEqual(await violations(page), []);
  } finally {
    await page.close();
  }
  const metrics = await (await fetch(`${c.platform.url}/metrics`)).text();
  assert.match(metrics, /^millrace_table_overdue_seconds\{table="silver\.checked"\} 0$/m);
  assert.match(metrics, /^millrace_table_overdue_seconds\{table="gold\.totals"\} [1-9\d.e-]+$/m);
});

test("files: rows and bytes of each partition", async () => {
  const page = await c.open("/tables/silver.checked/files");
  try {
    const partitions = page.getByRole("region", { name: "2 partitions by country" });
    assert.match((await partitions.getByRole("row").filter({ hasText: "country = DE" }).textContent()) ?? "", /DE\d4/);
    assert.match((await partitions.getByRole("row").filter({ hasText: "country = FR" }).textContent()) ?? "", /FR11/);
    assert.deepEqual(await violations(page), []);
  } finally {
    await page.close();
  }
});

test("a failure belongs to the commit that has its offset in its partition, and upkeep is no commit of events", () => {
  const flush = (version: number, partition: number, from: number, to: number, stored: number) => ({
    ...{ version, timestampMs: version * 1000, operation: "FLUSH", addedFiles: 1, removedFiles: 0, addedRows: stored },
    info: { millrace: { stream: "s", partition, from, to, stored, duplicate: 0, filtered: 0, dead: 0 } },
  });
  const upkeep = { ...flush(3, 0, 0, 0, 0), operation: "OPTIMIZE", info: {} };
  const [trend] = trendsOf(
    { positive: "a > 0" },
    [flush(4, 1, 0, 9, 8), upkeep, flush(2, 0, 10, 19, 9), flush(1, 0, 0, 9, 10)],
    [
      [1, 3, "positive", "2026-01-01T00:00:03Z"],
      [0, 12, "positive", "2026-01-01T00:00:02Z"],
      [1, 3, "another", "2026-01-01T00:00:01Z"],
    ],
  );
  assert.deepEqual(
    trend?.commits.map(({ version, passed, failed }) => [version, passed, failed]),
    [
      [1, 10, 0],
      [2, 9, 1],
      [4, 8, 1],
    ],
  );
  assert.deepEqual([trend?.failed, trend?.lastAt], [2, "2026-01-01T00:00:03Z"]);
});
