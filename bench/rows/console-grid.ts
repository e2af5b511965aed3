import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Page } from "playwright-core";
import { openChromium } from "../../test/browser/chromium.ts";
import { withPlatform } from "../processes.ts";
import { median, percentile, rounded } from "../quantities.ts";
import type { Measurement } from "../results.ts";

const ROWS = 10_000;
const COLUMNS = 12;
const LOADS = 5;
const SCREEN = { width: 1440, height: 900 };

/**
 * The console as a person meets it: how long until the first page can be used and how much comes for it, in a browser that has nothing yet; and a result of 10,000 rows under the
 * mouse wheel, row by row and screen by screen.
 */
export async function measure(seconds: number): Promise<Measurement> {
  return withPlatform([], async ({ url, key, dir }) => {
    const browser = await openChromium(join(dir, "profile"));
    try {
      const page = await browser.newPage();
      await page.setViewportSize(SCREEN);
      await page.goto(url);
      await page.fill("#key", key);
      await page.click("button[type=submit]");
      await page.locator(".thing").first().waitFor();
      const loads: { interactiveMs: number; kilobytes: number }[] = [];
      for (let i = 0; i < LOADS; i++) loads.push(await load(page, url));
      const sql = `select i as n, ${Array.from({ length: COLUMNS - 1 }, (_, c) => `'value ' || (i * ${c + 7} % 997) as c${c}`).join(", ")} from range(${ROWS}) r(i)`;
      await page.goto(`${url}/sql?${new URLSearchParams({ sql, view: "grid" })}`);
      await page.locator("[role=gridcell]").first().waitFor();
      const grid = await page.locator(".grid").boundingBox();
      if (grid === null) throw new Error("there is no grid");
      const middle = { x: grid.x + grid.width / 2, y: grid.y + Math.min(grid.height, 400) / 2 };
      const rows = await frames(page, seconds, middle, 30);
      const screens = await frames(page, seconds, middle, 600);
      const reached = Number(await page.evaluate("document.querySelector('.grid').scrollTop"));
      if (reached === 0) throw new Error("the grid did not move");
      await page.goto(`${url}/healthz`);
      const still = await frames(page, seconds, middle, 30);
      const peers = { "an empty page, the wheel turned the same way": rounded(still.perSecond) };
      return {
        figures: {
          rows: { value: rounded(rows.perSecond), peers },
          rowsP99: { value: rounded(rows.p99Ms), peers: { "an empty page": rounded(still.p99Ms) } },
          screens: { value: rounded(screens.perSecond), peers },
          screensP99: { value: rounded(screens.p99Ms), peers: { "an empty page": rounded(still.p99Ms) } },
          rowsWork: { value: rounded(rows.workMs), peers: { "an empty page": rounded(still.workMs) } },
          screensWork: { value: rounded(screens.workMs), peers: { "an empty page": rounded(still.workMs) } },
          interactive: { value: rounded(median(loads.map(({ interactiveMs }) => interactiveMs))) },
          firstLoad: { value: rounded(median(loads.map(({ kilobytes }) => kilobytes))) },
        },
        conditions: {
          page: `${ROWS} rows of ${COLUMNS} columns in the SQL page of a running platform, rows of 30 pixels; 30 and 600 pixels per turn of the wheel`,
          load: `the map's page, ${LOADS} loads without a cache, the median; interactive is when the map's first node can be pressed; what comes is all scripts, styles and answers as they were sent`,
          browser: `${browser.browser()?.version() ?? "Chromium"}, headless, ${SCREEN.width} × ${SCREEN.height}, drawn by the processor`,
        },
      };
    } finally {
      await browser.close();
    }
  });
}

/** The map's page in a browser that has nothing of it. */
async function load(page: Page, url: string): Promise<{ interactiveMs: number; kilobytes: number }> {
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  await session.send("Network.setCacheDisabled", { cacheDisabled: true });
  let bytes = 0;
  session.on("Network.loadingFinished", ({ encodedDataLength }) => {
    bytes += encodedDataLength;
  });
  await page.goto(url);
  await page.locator(".thing").first().waitFor();
  const interactiveMs = Number(await page.evaluate("performance.now()"));
  await sleep(200);
  await session.detach();
  return { interactiveMs, kilobytes: bytes / 1_000 };
}

/** Frames that the page got while the wheel was turned down and up again, and the time of a processor that its main thread took for one. */
async function frames(
  page: Page,
  seconds: number,
  at: { x: number; y: number },
  step: number,
): Promise<{ perSecond: number; p99Ms: number; workMs: number }> {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  const workS = async () => {
    const { metrics } = await session.send("Performance.getMetrics");
    return metrics.find(({ name }) => name === "TaskDuration")?.value ?? Number.NaN;
  };
  const before = await workS();
  await page.mouse.move(at.x, at.y);
  await page.evaluate(`
    window.frames_ = [];
    window.counting_ = true;
    requestAnimationFrame(function next(at) { window.frames_.push(at); if (window.counting_) requestAnimationFrame(next); });
  `);
  const until = performance.now() + seconds * 1_000;
  for (let i = 0; performance.now() < until; i++) await page.mouse.wheel(0, i % 400 < 300 ? step : -step);
  const moments = (await page.evaluate("window.counting_ = false, window.frames_")) as number[];
  const workMs = ((await workS()) - before) * 1_000;
  await session.detach();
  const gaps = moments.slice(1).map((moment, i) => moment - (moments[i] as number));
  const spanMs = (moments.at(-1) ?? 0) - (moments[0] ?? 0);
  return { perSecond: (gaps.length * 1_000) / spanMs, p99Ms: percentile(gaps, 0.99), workMs: workMs / gaps.length };
}
