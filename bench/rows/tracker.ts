import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { browserBundle } from "../../packages/tracker/build.ts";
import { openChromium } from "../../test/browser/chromium.ts";
import { withFolder, withPlatform } from "../processes.ts";
import { percentile, rounded } from "../quantities.ts";
import type { Measurement } from "../results.ts";
import { EVENT_BYTES, TelemetryEvents } from "../telemetry.ts";

const EVENTS_PER_SECOND = 200;

/** What a page's main thread spends on events, in a real browser against a real platform: everything from the call to the acknowledgement. */
export async function measure(seconds: number): Promise<Measurement> {
  const bundle = await browserBundle();
  const site = createServer((request, response) => {
    const isScript = request.url === "/tracker.js";
    response.writeHead(200, { "Content-Type": isScript ? "text/javascript" : "text/html" });
    response.end(isScript ? bundle : '<!doctype html><link rel="icon" href="data:,">');
  });
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
  const count = Math.round(seconds * EVENTS_PER_SECOND);
  const maker = new TelemetryEvents();
  const texts = Array.from({ length: 2 * count }, () => maker.one().toString());
  try {
    return await withFolder((dir) =>
      withPlatform(["--cors-origins", origin], async (platform) => {
        const browser = await openChromium(join(dir, "profile"));
        try {
          const page = await browser.newPage();
          const devtools = await browser.newCDPSession(page);
          // CPU time of the thread: a busy machine makes the clock on the wall run on without it.
          await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
          /** Seconds in which the main thread had something to do, since the page began. */
          const busy = async (): Promise<number> => {
            const { metrics } = await devtools.send("Performance.getMetrics");
            return metrics.find(({ name }) => name === "TaskDuration")?.value ?? Number.NaN;
          };
          /** Milliseconds of the main thread per event of `perEvent`, and what each call took. */
          const run = async (perEvent: string, events: readonly string[], end = "") => {
            await page.goto(origin);
            await page.evaluate(PREPARE);
            await page.evaluate(`start(${JSON.stringify({ url: platform.url, key: platform.key })})`);
            await page.evaluate(`window.events = ${JSON.stringify(events)}.map((text) => JSON.parse(text)); 0`);
            const before = await busy();
            const calls = (await page.evaluate(
              `pace((event) => { ${perEvent} }, ${1_000 / EVENTS_PER_SECOND}).then(async (calls) => { ${end}; return calls })`,
            )) as number[];
            return { perEventMs: ((await busy()) - before) * (1_000 / events.length), calls };
          };
          const idle = await run("", texts.slice(0, count));
          const tracked = await run(
            'tracker.track("telemetry", event)',
            texts.slice(0, count),
            "if (!(await tracker.flush()) || dropped) throw new Error('not all were accepted')",
          );
          const bare = await run("post(event)", texts.slice(count), "await Promise.all(posts)");
          const peer = "a fetch per event, nothing stored";
          return {
            figures: {
              busy: {
                value: rounded(tracked.perEventMs - idle.perEventMs),
                peers: { [peer]: rounded(bare.perEventMs - idle.perEventMs) },
              },
              call: {
                value: rounded(percentile(tracked.calls, 0.99)),
                peers: { [peer]: rounded(percentile(bare.calls, 0.99)) },
              },
            },
            conditions: {
              events: `${count} of ${EVENT_BYTES} bytes, ${EVENTS_PER_SECOND} a second`,
              batch: "packets of 20 events or more, as the tracker makes them",
              fsync: "IndexedDB as the browser commits it; fdatasync on the platform before every answer",
              browser: `${browser.browser()?.version() ?? "Chromium"}, headless; the time of an idle page is subtracted`,
            },
          };
        } finally {
          await browser.close();
        }
      }),
    );
  } finally {
    site.close();
    site.closeAllConnections();
  }
}

/** In the page: `start` makes the tracker and the peer, `pace` hands out one event after the other and times each call. */
const PREPARE = `
  window.start = async ({ url, key }) => {
    const { createTracker } = await import("/tracker.js");
    window.dropped = 0;
    window.tracker = createTracker({ endpoints: url, key, onDrop: () => window.dropped++ });
    window.posts = [];
    window.post = (event) => posts.push(fetch(url + "/v1/streams/telemetry/events", {
      method: "POST",
      headers: { Authorization: "Bearer " + key, "Content-Type": "application/json" },
      body: JSON.stringify(event),
    }).then((response) => response.text()));
  };
  window.pace = (work, everyMs) => new Promise((resolve) => {
    const calls = [];
    const timer = setInterval(() => {
      const event = events[calls.length];
      const from = performance.now();
      work(event);
      calls.push(performance.now() - from);
      if (calls.length === events.length) { clearInterval(timer); resolve(calls); }
    }, everyMs);
  });
  0
`;
