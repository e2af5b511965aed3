/** What one does and sees at the map, the streams, the ledger and the system; and that a page which nothing happens to asks for nothing. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type ConsolePage, OpenConsole, violations } from "./open-console.ts";

let at: OpenConsole;

before(async () => {
  at = await OpenConsole.start("test/console/project");
  const { body } = await at.platform.post("orders", [
    ...Array.from({ length: 50 }, (_, i) => order(i)),
    { amount: -1 },
  ]);
  assert.deepEqual([body.accepted, body.rejected.length], [50, 1]);
  assert.equal((await at.platform.command("refresh", "gold.sales_daily")).code, 0);
});

after(() => at?.stop());

function order(i: number): Record<string, unknown> {
  return {
    order_id: `o-${i}`,
    customer_id: `c-${i % 7}`,
    country: ["DE", "FR"][i % 2],
    amount: 10 + i,
    placed_at: new Date(Date.now() - i * 3_600_000).toISOString(),
  };
}

/** With a page that is closed afterwards, and that must have complained of nothing. */
async function withPage(path: string, look: (page: ConsolePage) => Promise<void>): Promise<void> {
  const page = await at.open(path);
  try {
    await look(page);
    assert.deepEqual(page.complaints, []);
  } finally {
    await page.close();
  }
}

test("the system: processes, disk, latencies, lag and settings, with their units", async () => {
  await withPage("/system", async (page) => {
    const processes = page.getByRole("region", { name: "Processes" });
    await processes.getByText(/gateway.*serve/).waitFor();
    await processes.getByText("answers here").waitFor();
    const acks = page.getByRole("region", { name: "Acknowledging events" });
    await acks
      .getByText(/^≤ .* ms$/)
      .first()
      .waitFor();
    for (const quantile of ["p50", "p95", "p99"])
      assert.match((await acks.locator(`dt:has-text("${quantile}") + dd`).textContent()) ?? "", / m?s$/);
    assert.match((await page.locator('dt:has-text("lake") + dd').textContent()) ?? "", /[KM]iB$/);
    assert.match((await page.locator('dt:has-text("free") + dd').textContent()) ?? "", /iB of .*iB \(.* %\)/);
    const lag = page.getByRole("region", { name: "Lag and throughput" });
    await lag.getByRole("link", { name: "gold.sales_daily" }).waitFor();
    await page.getByText("adminKey", { exact: true }).waitFor();
    assert.ok(!(await page.content()).includes(at.platform.key), "a secret is on the page");
  });
  await at.inEveryLook("/system", "text=Acknowledging events");
});

test("a key is made, shown once, works, and does not after it was revoked", async () => {
  await withPage("/system", async (page) => {
    await page.getByRole("button", { name: "New key" }).click();
    const dialog = page.getByRole("dialog");
    assert.deepEqual(await violations(page), []);
    await dialog.getByLabel("Name").fill("a reader");
    await dialog.getByRole("checkbox", { name: /^ingest/ }).uncheck();
    await dialog.getByRole("checkbox", { name: /^query/ }).check();
    await dialog.getByRole("button", { name: "Create" }).click();
    const token = ((await dialog.getByRole("region", { name: "the key" }).textContent()) ?? "").trim();
    await dialog.getByRole("button", { name: "Copy the key" }).waitFor();
    const asReader = () =>
      fetch(`${at.platform.url}/v1/status`, { headers: { authorization: `Bearer ${token}` } }).then(
        ({ status }) => status,
      );
    assert.equal(await asReader(), 200);
    await dialog.getByRole("button", { name: "Done" }).click();
    await page.getByRole("button", { name: "Revoke a reader" }).click();
    await dialog.getByRole("button", { name: "Keep it" }).click();
    assert.equal(await asReader(), 200, "a key that was kept was revoked");
    await page.getByRole("button", { name: "Revoke a reader" }).click();
    await dialog.getByRole("button", { name: "Revoke it" }).click();
    await page.locator("tr", { hasText: "a reader" }).getByText("revoked").waitFor();
    assert.equal(await asReader(), 401);
    assert.ok(!(await page.content()).includes(token), "a key is shown again");
  });
});

const IDLE = [
  ["/", "/streams/orders", "/tables/silver.orders", "/runs"],
  ["/alerts", "/dead-letters", "/ledger", "/system"],
];
test("a page of an idle platform asks for nothing but the stream of what happens", async () => {
  // A browser has six connections to a host, and each page keeps one.
  for (const paths of IDLE) {
    const pages = await Promise.all(paths.map((path) => at.open(path)));
    try {
      const asked: string[] = [];
      pages.forEach((page, i) => {
        page.on("request", (request) => asked.push(`${paths[i]}: ${request.method()} ${request.url()}`));
      });
      await Promise.all(pages.map((page) => page.locator("h1").first().waitFor()));
      // Once they have what they show (how soon is the machine's business) they are silent for longer than any of them would wait.
      let quiet = false;
      for (let i = 0; i < 10 && !quiet; i++) {
        asked.length = 0;
        await sleep(6_000);
        quiet = asked.length === 0;
      }
      assert.deepEqual(asked, []);
      for (const page of pages) assert.equal(await page.evaluate("document.visibilityState"), "visible");
      assert.deepEqual(
        pages.flatMap(({ complaints }) => complaints),
        [],
      );
    } finally {
      for (const page of pages) await page.close();
    }
  }
});

test("the map: what is wrong, where and since when, and the refused events of a stream", async () => {
  await withPage("/", async (page) => {
    const trouble = page.locator(".strip").getByRole("link", { name: /orders since/ });
    assert.equal(await trouble.getAttribute("title"), "1 dead letters");
    await page.locator(".react-flow__node", { hasText: "orders" }).getByText("1 refused").first().waitFor();
    await trouble.click();
    const detail = page.getByRole("complementary", { name: "stream orders" });
    await detail.locator('dt:has-text("open dead letters") + dd', { hasText: /^1$/ }).waitFor();
    await page.keyboard.press("Escape");
    await detail.waitFor({ state: "detached" });
  });
  await at.inEveryLook("/", ".thing");
});

test("a column's path through the map: chosen by keyboard, an address, and honest where it ends", async () => {
  await withPage("/?focus=table%3Agold.sales_daily", async (page) => {
    const detail = page.getByRole("complementary", { name: "table gold.sales_daily" });
    await detail.getByLabel("Where a column comes from").selectOption("revenue");
    await page.waitForURL("**/map?column=gold.sales_daily.revenue");
    await detail.getByRole("link", { name: "silver.orders.amount", exact: true }).waitFor();
    await page.locator(".thing:not(.dimmed)", { hasText: "gold.sales_daily" }).getByText("revenue").waitFor();
    const lit = await page.locator(".thing:not(.dimmed) .name").allTextContents();
    assert.deepEqual(lit.toSorted(), ["gold.sales_daily", "orders", "silver.orders"]);
    assert.equal(await page.locator(".edge.lit").count(), 2);
    await detail.getByRole("link", { name: "orders.amount", exact: true }).click();
    await page.getByRole("complementary", { name: "stream orders" }).getByText("it comes in as it is").waitFor();
  });
  await withPage("/map?column=silver.orders_1m.spent", (page) =>
    page
      .getByText(/the window "orders_1m" makes it of its events/)
      .first()
      .waitFor(),
  );
  await at.inEveryLook("/map?column=gold.sales_daily.revenue", ".column-lineage");
});

test("a stream: what comes by source and what is refused over time, and how to send to it", async () => {
  await withPage("/streams/orders", async (page) => {
    await page.getByRole("img", { name: /^Events of orders by source: http 5\d$/ }).waitFor();
    await page
      .getByRole("img", { name: /^Events of orders refused, by reason: .*EVENT_INVALID \(door\) 1$/ })
      .waitFor();
    await page.getByRole("link", { name: "1 week" }).click();
    await page.waitForURL("**/streams/orders?hours=168");
    await page.getByText("Each bar is 3 h.").first().waitFor();
    await at.platform.post("orders", [order(1_000)]);
    await page.getByRole("img", { name: /^Events of orders by source: http 5[1-9]$/ }).waitFor();
  });
  await withPage("/streams/orders/send", (page) =>
    page.getByRole("region", { name: "curl", exact: true }).first().waitFor(),
  );
  await withPage("/streams/app/send", async (page) => {
    for (const sdk of ["browsers", "Node", "Python", "Go", "Java", "curl"])
      await page.getByRole("heading", { name: `Segment, ${sdk}` }).waitFor();
    const curl = await page.getByRole("region", { name: "Segment, curl" }).locator("pre").first().textContent();
    assert.ok(curl?.includes(`${at.platform.url}/v1/track`), curl ?? "no snippet");
  });
  await at.inEveryLook("/streams/orders?hours=1", ".time-bars");
  await at.inEveryLook("/streams/app/send", "text=Segment, Go");
});

test("the ledger over time, by hop, as an address", async () => {
  await withPage("/ledger?hours=1", async (page) => {
    // How it stood at the start is written down soon after it: what comes from now on is in the chart for certain.
    await at.platform.post("orders", [order(2_000), order(2_001)]);
    await page
      .getByRole("img", { name: /^What became of the events of orders at bronze.orders: stored [1-9]/ })
      .waitFor();
    await page.getByRole("button", { name: "silver.orders", exact: true }).click();
    await page.getByRole("img", { name: "What became of the events of orders at silver.orders: " }).waitFor();
    await page.getByRole("link", { name: "1 day" }).click();
    await page.waitForURL("**/ledger?hours=24&hop=silver.orders");
    await page.getByRole("heading", { name: "silver.orders over time" }).waitFor();
  });
  await at.inEveryLook("/ledger?hours=1", ".time-bars");
});

test("what happens shows by itself, where one looks", async () => {
  await withPage("/ledger", async (page) => {
    const accepted = page.locator("tr", { hasText: "bronze.large_orders" }).locator("td").nth(1);
    const before = Number(await accepted.textContent()); // a function has sent some there
    await at.platform.post("large_orders", [{ order_id: "l-1", amount: 1 }]);
    await accepted.getByText(String(before + 1), { exact: true }).waitFor();
  });
  await withPage("/runs", async (page) => {
    const { run } = await at.call<{ run: { id: string } }>("POST", "/v1/workflows/nightly/runs", {});
    await page.locator(`a[href="/runs/${run.id}"]`).first().waitFor();
  });
});
