/** The console in a real browser against a running platform: every page, light and dark, on a desk and on a phone, and what it does when things are not well. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { BrowserContext, Page } from "playwright-core";
import { openChromium } from "../browser/chromium.ts";
import { temporaryFolder } from "../flow/open-flow.ts";
import { RunningPlatform } from "../platform/running-platform.ts";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const DESK = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };

let dir: Awaited<ReturnType<typeof temporaryFolder>>;
let platform: RunningPlatform;
let browser: BrowserContext;

before(async () => {
  dir = await temporaryFolder();
  platform = await RunningPlatform.start("test/console/project", join(dir.path, "data"), ["--flush-interval", "200ms"]);
  const events = Array.from({ length: 200 }, (_, i) => order(i));
  const { body } = await platform.post("orders", [...events, { order_id: "", amount: -1 }, '{"order_id": "torn']);
  assert.deepEqual([body.accepted, body.rejected.length], [200, 2]);
  for (const workflow of ["nightly", "failing"]) {
    const started = await fetch(`${platform.url}/v1/workflows/${workflow}/runs`, {
      method: "POST",
      headers: { authorization: `Bearer ${platform.key}` },
    });
    assert.equal(started.status, 202, await started.text());
  }
  assert.equal((await platform.command("refresh", "gold.sales_daily")).code, 0);
  browser = await openChromium(join(dir.path, "profile"));
});

after(async () => {
  await browser?.close();
  await platform?.stop();
  await dir?.[Symbol.asyncDispose]();
});

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

/** A page of somebody who is signed in. What the page complains of in its console is a failure of the test. */
async function open(
  path: string,
  look: { viewport?: typeof DESK; dark?: boolean } = {},
): Promise<Page & { complaints: string[] }> {
  const page = Object.assign(await browser.newPage(), { complaints: [] as string[] });
  page.on("console", (message) => {
    if (message.type() === "error") page.complaints.push(message.text());
  });
  page.on("response", async (response) => {
    if (response.status() >= 400) page.complaints.push(`${response.url()}: ${await response.text()}`);
  });
  page.on("pageerror", (error) => page.complaints.push(error.message));
  await page.setViewportSize(look.viewport ?? DESK);
  await page.emulateMedia({ colorScheme: look.dark ? "dark" : "light", reducedMotion: "reduce" });
  await page.goto(`${platform.url}${path}`);
  // Either is there at once: who is signed in, or the form.
  await page.locator("#key, .app").first().waitFor();
  if ((await page.locator("#key").count()) > 0) {
    await page.fill("#key", platform.key);
    await page.click("button[type=submit]");
    await page.locator(".app").waitFor();
  }
  return page;
}

async function violations(page: Page): Promise<unknown> {
  // The page's own policy keeps foreign scripts out; the browser puts this one in past it.
  const session = await page.context().newCDPSession(page);
  await session.send("Page.setBypassCSP", { enabled: true });
  await session.send("Runtime.evaluate", { expression: await readFile(AXE, "utf8") });
  return page.evaluate(`axe.run({ runOnly: { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] } }).then(
    ({ violations }) => violations.map(({ id, nodes }) => ({ id, where: nodes.slice(0, 5).map((node) => node.target + ": " + node.failureSummary) })),
  )`);
}

/** A page, and what shows that it has all it asked for. */
const PAGES: readonly (readonly [string, string])[] = [
  ["/", ".thing"],
  ["/streams", "text=large_orders"],
  ["/streams/orders", "text=EVENT_INVALID"],
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
  test(`${path}: complete, without a fault for axe, in light and dark, wide and narrow`, async () => {
    for (const look of [
      { viewport: DESK },
      { viewport: DESK, dark: true },
      { viewport: PHONE },
      { viewport: PHONE, dark: true },
    ]) {
      const page = await open(path, look);
      try {
        await page.locator(there).first().waitFor();
        assert.deepEqual(await violations(page), []);
        const wide = Number(
          await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"),
        );
        assert.ok(wide <= 0, `the page is ${wide} pixels wider than the screen`);
        assert.deepEqual(page.complaints, []);
      } finally {
        await page.close();
      }
    }
  });
}
