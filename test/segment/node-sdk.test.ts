import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Analytics } from "@segment/analytics-node";
import { SdkPlatform } from "./sdk-platform.ts";

/* Segment's own library for Node against the real platform. */
let sdk: SdkPlatform;

before(async () => {
  sdk = await SdkPlatform.open();
});
after(() => sdk?.close());

const analyticsOf = (options: object = {}) =>
  new Analytics({ writeKey: sdk.writeKey, host: sdk.proxy.url, flushInterval: 50, ...options });

describe("@segment/analytics-node", () => {
  it("sends messages of every type, and each is in silver once and in the table of its type", async () => {
    const analytics = analyticsOf();
    analytics.identify({ userId: "all-1", traits: { email: "a@b.example" } });
    analytics.track({ userId: "all-1", event: "Signed Up", properties: { plan: "pro" }, timestamp: new Date(0) });
    analytics.page({ anonymousId: "all-2", name: "Home", properties: { url: "https://x.example/?q=ü" } });
    analytics.screen({ anonymousId: "all-2", name: "Inbox" });
    analytics.group({ userId: "all-1", groupId: "g1", traits: { name: "Initech" } });
    analytics.alias({ userId: "all-1", previousId: "all-0" });
    await analytics.closeAndFlush();
    const arrived = await sdk.arrived("all-", 6);
    assert.deepEqual(
      arrived.map(({ type, what, library }) => [type, what, library]),
      [
        ["identify", "", "@segment/analytics-node"],
        ["track", "Signed Up", "@segment/analytics-node"],
        ["page", "Home", "@segment/analytics-node"],
        ["screen", "Inbox", "@segment/analytics-node"],
        ["group", "g1", "@segment/analytics-node"],
        ["alias", "all-0", "@segment/analytics-node"],
      ],
    );
    assert.deepEqual(arrived[0]?.data, { email: "a@b.example" });
    assert.deepEqual(arrived[2]?.data, { url: "https://x.example/?q=ü" });
    for (const [table, id] of [
      ["identifies", 0],
      ["tracks", 1],
      ["pages", 2],
      ["screens", 3],
      ["groups", 4],
      ["aliases", 5],
    ] as const) {
      const rows = await sdk.platform.sql(
        `select id from app.${table} where coalesce(user_id, anonymous_id) like 'all-%'`,
      );
      assert.deepEqual(rows, [[arrived[id]?.id]], table);
    }
  });

  it("loses and doubles nothing through 429, 503, a cut before and a cut after the platform has stored", async () => {
    sdk.proxy.troubles = [{ status: 429, headers: { "retry-after": "1" } }, { status: 503 }, "cut-before", "cut-after"];
    const analytics = analyticsOf({ maxEventsInBatch: 10, maxRetries: 10 });
    const outcomes: (number | undefined)[] = [];
    analytics.on("http_response", ({ status }) => outcomes.push(status));
    for (let n = 0; n < 40; n++) analytics.track({ userId: "cut-1", event: `Event ${n}`, properties: { n } });
    await analytics.closeAndFlush({ timeout: 30_000 });
    const arrived = await sdk.arrived("cut-", 40);
    assert.equal(new Set(arrived.map(({ what }) => what)).size, 40);
    assert.deepEqual(sdk.proxy.troubles, [], "every trouble was met");
    assert.ok(outcomes.includes(429) && outcomes.includes(503));
    const [[repeated]] = (await sdk.platform.sql(
      "select count(*) from bronze.app where _duplicate_of is not null",
    )) as [[number]];
    assert.equal(repeated, 10, "what was stored before its answer was lost came twice, and bronze says so");
    await sdk.nothingLost();
  });

  it("is told of a wrong write key, and does not send again", async () => {
    const analytics = new Analytics({ writeKey: "nobodys", host: sdk.proxy.url, flushInterval: 20 });
    const failed: unknown[] = [];
    analytics.on("error", ({ reason }) => failed.push(String(reason)));
    const before = sdk.proxy.sent.length;
    analytics.track({ userId: "wrong-1", event: "Never" });
    await analytics.closeAndFlush();
    assert.deepEqual(failed, ["Error: [401] Unauthorized"]);
    assert.equal(sdk.proxy.sent.length, before + 1);
    await sdk.arrived("wrong-", 0);
  });
});
