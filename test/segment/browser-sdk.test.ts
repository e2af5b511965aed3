import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { BrowserContext, Page } from "playwright-core";
import { openChromium } from "../browser/chromium.ts";
import { SdkPlatform } from "./sdk-platform.ts";

/* Segment's own browser library, as it is published, in a real Chromium, on a page of another origin than the platform's. */
const LIBRARY = join(import.meta.dirname, "../../node_modules/@segment/analytics-next/dist/umd");

const PAGE = `<!doctype html><title>Shop</title><link rel="icon" href="data:,"><script src="/index.js"></script><script>
  const delivery = asked.batching ? { strategy: "batching", config: { size: 4, timeout: 200 } } : undefined;
  window.failures = [];
  window.ready = window.AnalyticsNext.AnalyticsBrowser.load(
    { writeKey: asked.key, cdnURL: asked.url },
    { integrations: { "Segment.io": { deliveryStrategy: delivery } } },
  ).then(([analytics]) => {
    analytics.on("error", ({ reason }) => failures.push(String(reason)));
    return (window.analytics = analytics);
  });
</script>`;

let sdk: SdkPlatform;
let site: Server;
let browser: BrowserContext;

before(async () => {
  sdk = await SdkPlatform.open();
  site = createServer(async (request, response) => {
    const [path = "/"] = (request.url ?? "/").split("?");
    if (path === "/") return response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(PAGE);
    const script = await readFile(join(LIBRARY, path)).catch(() => undefined);
    return response.writeHead(script === undefined ? 404 : 200, { "content-type": "text/javascript" }).end(script);
  });
  site.listen(0, "127.0.0.1");
  await once(site, "listening");
  browser = await openChromium(join(sdk.dir, "profile"));
});
after(async () => {
  await browser?.close();
  site?.closeAllConnections();
  site?.close();
  await sdk?.close();
});

async function open(batching = false): Promise<Page> {
  const page = await browser.newPage();
  // Not in the address: that is in every message's context.
  const asked = { key: sdk.writeKey, url: sdk.proxy.url, batching };
  await page.addInitScript(`window.asked = ${JSON.stringify(asked)}`);
  await page.goto(`http://127.0.0.1:${(site.address() as AddressInfo).port}/?utm_source=news`);
  await page.evaluate("window.ready.then((analytics) => analytics.reset())");
  return page;
}

describe("@segment/analytics-next in Chromium", () => {
  it("finds its way by the settings, sends every type, and its page, device and campaign land in columns", async () => {
    const page = await open();
    await page.evaluate(`(async () => {
      await analytics.setAnonymousId("one-anonymous");
      await analytics.page("Store", "Home", { tag: 1 });
      await analytics.identify("one-user", { plan: "pro" });
      await analytics.track("Product Viewed", { price: 9.5 });
      await analytics.screen("Basket");
      await analytics.group("one-group", { size: 3 });
      await analytics.alias("one-user2", "one-user");
    })()`);
    const arrived = await sdk.arrived("one-", 6);
    assert.deepEqual(arrived.map(({ type }) => type).sort(), ["alias", "group", "identify", "page", "screen", "track"]);
    assert.deepEqual(await page.evaluate("failures"), []);
    const rows = await sdk.platform.sql(`select event, context_page_path, context_page_title, context_campaign_source,
      context_library_name, context_user_agent like '%Chrome%', context_locale is not null, context_timezone is not null,
      abs(epoch("timestamp") - epoch(received_at)) < 60, json_extract_string(properties, '$.price')
      from app.tracks where user_id = 'one-user'`);
    assert.deepEqual(rows, [["Product Viewed", "/", "Shop", "news", "analytics.js", true, true, true, true, "9.5"]]);
    const keys = await sdk.platform.sql(`select count(*) from bronze.app where payload like '%${sdk.writeKey}%'`);
    assert.deepEqual(keys, [[0]], "no write key is stored with a message");
    await page.close();
  });

  it("sends again after 429 and 503 and lost answers, one by one and in batches, and each message is there once", async () => {
    for (const batching of [false, true]) {
      const page = await open(batching);
      sdk.proxy.troubles = [
        { status: 429, headers: { "retry-after": "1" } },
        { status: 503 },
        "cut-before",
        "cut-after",
      ];
      await page.evaluate(`(async () => {
        await analytics.setAnonymousId("again${batching}-anonymous");
        for (let n = 0; n < 12; n++) analytics.track("Event " + n, { n });
      })()`);
      const arrived = await sdk.arrived(`again${batching}-`, 12);
      assert.equal(new Set(arrived.map(({ what }) => what)).size, 12);
      assert.deepEqual(sdk.proxy.troubles, [], "every trouble was met");
      await page.close();
    }
    await sdk.nothingLost();
  });

  it("is told of a message that is refused, and does not send it again", async () => {
    const page = await open();
    const before = sdk.proxy.sent.length;
    await page.evaluate(`analytics.track("Too large", { text: "x".repeat(40000), anonymous: "big" })`);
    await page.waitForFunction("failures.length > 0");
    assert.deepEqual(await page.evaluate("failures"), ["NonRetryableError: Non-retryable error: 400"]);
    assert.equal(sdk.proxy.sent.length, before + 1);
    const letters = await sdk.platform.sql("select code from system.dead_letters");
    assert.deepEqual(letters, [["EVENT_TOO_LARGE"]]);
    await page.close();
  });
});
