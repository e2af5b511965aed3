import assert from "node:assert/strict";
import { mkdir, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { BrowserContext, Page } from "playwright-core";
import { openChromium } from "../browser/chromium.ts";
import { CutProxy } from "./cut-proxy.ts";
import { JudgingPlatform, judge, waitFor } from "./judging-platform.ts";
import { PageServer } from "./page-server.ts";

/* A real Chromium, the bundle as published, the real platform on another origin; what arrived is read from silver. */
let site: PageServer;
let judging: JudgingPlatform;
let proxy: CutProxy;
let browser: BrowserContext;

before(async () => {
  site = await PageServer.open();
  judging = await JudgingPlatform.open(["--cors-origins", site.url]);
  proxy = await CutProxy.open(() => judging.port);
  browser = await openChromium(join(judging.dir, "profile"));
});
after(async () => {
  await browser?.close();
  await proxy?.[Symbol.asyncDispose]();
  await judging?.close();
  await site?.close();
});

/** Numbers whose events the page said are stored. */
async function visit(
  context: BrowserContext,
  options: Record<string, unknown>,
  path = "/",
): Promise<{ page: Page; stored: Set<number> }> {
  const page = await context.newPage();
  const stored = new Set<number>();
  page.on("console", (message) => {
    const n = /^stored (\d+)$/.exec(message.text())?.[1];
    if (n !== undefined) stored.add(Number(n));
  });
  await page.goto(address(options, path));
  await page.waitForFunction("window.ready");
  return { page, stored };
}

const address = (options: Record<string, unknown>, path = "/"): string =>
  site.address({ url: proxy.url, key: judging.key, utm_source: "news", options: JSON.stringify(options) }, path);

const track = (page: Page, from: number, count: number): Promise<unknown> =>
  page.evaluate(`for (let n = ${from}; n < ${from + count}; n++) go(n); 0`);

const numbers = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

async function arrivedAll(from: number, count: number): Promise<void> {
  await waitFor(`${count} events`, async () => (await judging.arrived(from, from + 1_000)).length >= count);
  const got = await judging.arrived(from, from + 1_000);
  judge(got, numbers(from, count));
  assert.equal(got.length, count);
}

describe("a tracker in Chromium", () => {
  it("sends events with the page's context, and with a key that may only send", async () => {
    const { page } = await visit(browser, {}, "/reports");
    await page.evaluate("tracker.page()");
    await waitFor("the page view", async () => (await judging.platform.sql("select 1 from page_views")).length === 1);
    const fields = [
      "app_version, library, device_type, os, page_path, page_title, referrer, utm_source, utm_campaign, screen_width",
      "language, time_zone, user_agent, page_url",
    ];
    const [row = []] = await judging.platform.sql(`select ${fields.join(", ")} from page_views`);
    assert.deepEqual(row.slice(0, 9), [
      "3.2.1",
      "@millrace/tracker/0.1.0",
      "desktop",
      "Linux",
      "/reports",
      "Reports",
      null,
      "news",
      null,
    ]);
    const [width, language, timeZone, userAgent, url] = row.slice(9) as [number, string, string, string, string];
    assert.ok(width > 0 && language.length >= 2 && timeZone.length > 0);
    assert.match(userAgent, /Chrome\//);
    assert.ok(url.startsWith(`${site.url}/reports?`));
    await page.close();
  });

  it("offline keeps what is tracked and sends it when the network is back", async () => {
    const { page, stored } = await visit(browser, {});
    await browser.setOffline(true);
    await track(page, 1_000, 60);
    await waitFor("all are stored", () => stored.size === 60);
    await sleep(200);
    assert.deepEqual(await judging.arrived(1_000, 2_000), []);
    await browser.setOffline(false);
    await arrivedAll(1_000, 60);
    await page.close();
  });

  it("loses and doubles nothing over reloads, with the server out of reach or not", async () => {
    const { page, stored } = await visit(browser, {});
    for (let round = 0; round < 6; round++) {
      proxy.cut(round % 2 === 0 ? "refuse" : "swallow");
      await track(page, 2_000 + round * 50, 50);
      await waitFor("all are stored", () => stored.size === (round + 1) * 50);
      if (round % 3 === 0) proxy.mode = "through";
      await page.reload();
      await page.waitForFunction("window.ready");
    }
    proxy.mode = "through";
    await page.reload();
    await arrivedAll(2_000, 300);
    await page.close();
  });

  it("whose page is left at once after the last event sends it on the way out", async () => {
    // Nothing would be sent for a minute, and no other page of the site is opened.
    const { page } = await visit(browser, { flushIntervalMs: 60_000, flushEvents: 1_000_000 });
    await waitFor("a preflight that the browser keeps", async () => {
      await page.evaluate("go(3900); tracker.flush()");
      return (await judging.arrived(3_900, 3_901)).length === 1;
    });
    await track(page, 3_000, 40);
    await page.goto("about:blank");
    await waitFor("the events", async () => (await judging.arrived(3_000, 3_040)).length === 40);
    judge(await judging.arrived(3_000, 3_040), numbers(3_000, 40));
    await page.close();
  });

  it("whose tab is closed while the server is down is followed by the next tab, which sends what was left", async () => {
    const first = await visit(browser, {});
    proxy.cut("refuse");
    await track(first.page, 4_000, 80);
    await waitFor("all are stored", () => first.stored.size === 80);
    await first.page.close();
    proxy.mode = "through";
    const second = await visit(browser, {});
    await arrivedAll(4_000, 80);
    await second.page.close();
  });

  it("in two tabs has one sender at a time, and each tab's events once and in order", async () => {
    let underWay = 0;
    let most = 0;
    const tabs = [await visit(browser, {}), await visit(browser, {})];
    for (const { page } of tabs) {
      page.on("request", (request) => {
        if (request.method() === "POST") most = Math.max(most, ++underWay);
      });
      for (const end of ["requestfinished", "requestfailed"] as const) {
        page.on(end as "requestfinished", (request) => {
          if (request.method() === "POST") underWay--;
        });
      }
    }
    for (let round = 0; round < 10; round++) {
      await Promise.all(tabs.map(({ page }, i) => track(page, 5_000 + i * 500 + round * 20, 20)));
      await sleep(30);
    }
    await waitFor("the events", async () => (await judging.arrived(5_000, 6_000)).length >= 400);
    const got = await judging.arrived(5_000, 6_000);
    for (const from of [5_000, 5_500]) {
      judge(
        got.filter((n) => n >= from && n < from + 500),
        numbers(from, 200),
      );
    }
    assert.equal(got.length, 400);
    assert.equal(most, 1, "packets under way at once");
    const ids = await Promise.all(tabs.map(({ page }) => page.evaluate("tracker.ids()")));
    assert.deepEqual(ids[0], ids[1], "both tabs are one visitor in one session");
    for (const { page } of tabs) await page.close();
  });

  it("with a cut wire, where answers are lost or nothing goes through, goes on by itself", async () => {
    const { page, stored } = await visit(browser, {});
    for (const [round, mode] of (["swallow", "refuse", "swallow"] as const).entries()) {
      await track(page, 6_000 + round * 100, 50);
      proxy.cut(mode);
      await track(page, 6_050 + round * 100, 50);
      await sleep(200);
      proxy.mode = "through";
    }
    await waitFor("all are stored", () => stored.size === 300);
    await arrivedAll(6_000, 300);
    await page.close();
  });

  it("goes on with localStorage where there is no IndexedDB, over a reload too", async () => {
    const { page, stored } = await visit(browser, {});
    await page.addInitScript("Object.defineProperty(window, 'indexedDB', { value: undefined })");
    await page.goto(address({ name: "second" }));
    await page.waitForFunction("window.ready");
    proxy.cut("refuse");
    await track(page, 7_000, 30);
    await waitFor("all are stored", () => stored.size === 30);
    assert.equal(
      await page.evaluate("Object.keys(localStorage).filter((key) => key.includes('second.q.')).length"),
      30,
    );
    await page.reload();
    proxy.mode = "through";
    await page.reload();
    await arrivedAll(7_000, 30);
    await waitFor(
      "an empty queue",
      async () =>
        (await page.evaluate("Object.keys(localStorage).filter((key) => key.includes('second.q.')).length")) === 0,
    );
    await page.close();
  });

  it("sends from memory where the user blocks storage, and says that nothing is stored", async () => {
    const profile = join(judging.dir, "blocked");
    await mkdir(join(profile, "Default"), { recursive: true });
    const settings = { profile: { default_content_setting_values: { cookies: 2 } } };
    await writeFile(join(profile, "Default/Preferences"), JSON.stringify(settings));
    const blocked = await openChromium(profile);
    try {
      const { page } = await visit(blocked, {});
      const storage = await page.evaluate(
        "(() => { try { return String(localStorage) } catch (e) { return e.name } })()",
      );
      assert.equal(storage, "SecurityError");
      await track(page, 8_000, 30);
      await arrivedAll(8_000, 30);
      assert.equal(await page.evaluate("troubles.length > 0"), true);
    } finally {
      await blocked.close();
    }
  });

  it("stores and sends nothing before consent, and after an opt-out keeps no event and no id", async () => {
    const { page } = await visit(browser, { name: "third", consent: "required" });
    await track(page, 9_000, 20);
    await sleep(200);
    const keys = "Object.keys(localStorage).filter((key) => key.startsWith('millrace.third'))";
    const queued = `new Promise((resolve) => {
      const opening = indexedDB.open("millrace.third");
      opening.onsuccess = () => {
        const count = opening.result.transaction("q").objectStore("q").count();
        count.onsuccess = () => resolve(count.result);
      };
    })`;
    assert.deepEqual([await page.evaluate(keys), await page.evaluate(queued)], [[], 0]);
    assert.deepEqual(await judging.arrived(9_000, 10_000), []);
    await page.evaluate("tracker.consent(true)");
    await arrivedAll(9_000, 20);
    proxy.cut("refuse");
    await track(page, 9_500, 20);
    await page.evaluate("tracker.optOut()");
    proxy.mode = "through";
    await track(page, 9_600, 20);
    await page.reload();
    await page.waitForFunction("window.ready");
    await track(page, 9_700, 20);
    await page.evaluate("tracker.flush()");
    assert.equal(await page.evaluate(queued), 0);
    assert.equal(await page.evaluate("JSON.parse(localStorage.getItem('millrace.third')).c"), false);
    assert.deepEqual(await judging.arrived(9_500, 10_000), []);
    await page.close();
  });

  it("whose browser is killed in the middle loses and doubles nothing", async () => {
    const profile = join(judging.dir, "killed");
    const stored = new Set<number>();
    for (let round = 0; round < 3; round++) {
      const doomed = await openChromium(profile);
      const visited = await visit(doomed, {});
      proxy.cut(round === 1 ? "swallow" : "refuse");
      await track(visited.page, 10_000 + round * 100, 100);
      await waitFor("some are stored", () => visited.stored.size > 0);
      const gone = new Promise((resolve) => doomed.once("close", resolve));
      process.kill(Number((await readlink(join(profile, "SingletonLock"))).split("-").at(-1)), "SIGKILL");
      await gone;
      for (const n of visited.stored) stored.add(n);
    }
    proxy.mode = "through";
    const last = await openChromium(profile);
    const { page } = await visit(last, {});
    await waitFor("what was stored", async () => {
      const there = new Set(await judging.arrived(10_000, 11_000));
      return [...stored].every((n) => there.has(n));
    });
    assert.equal(await page.evaluate("tracker.flush()"), true);
    judge(await judging.arrived(10_000, 11_000), stored);
    await last.close();
  });
});
