import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { loadBeyond, type Platform, withPlatform } from "../processes.ts";
import { percentile, rounded } from "../quantities.ts";
import { Requests } from "../requests.ts";
import type { Measurement } from "../results.ts";
import { EVENT_BYTES, TelemetryEvents } from "../telemetry.ts";

const EVENTS_PER_REQUEST = 100;
/** The first seconds of a platform are those of its compiler. */
const WARM_MS = 4_000;
const EVERY_MS = 25;

/** From the answer 202 of an event to the event that a function made of it, in the hands of who follows its stream. */
export async function measure(seconds: number): Promise<Measurement> {
  const calm = await withPlatform([], (platform) => alerts(platform, seconds, 20_000), "bench/reactions-project");
  const busy = await withPlatform([], (platform) => alerts(platform, seconds, 100_000), "bench/reactions-project");
  return {
    figures: {
      p50: { value: rounded(calm.p50), peers: { "POST of the event itself, p50": rounded(calm.postP50) } },
      p99: { value: rounded(calm.p99), peers: { "POST of the event itself, p99": rounded(calm.postP99) } },
      rate: { value: rounded(calm.rate) },
      busyP50: { value: rounded(busy.p50), peers: { "POST of the event itself, p50": rounded(busy.postP50) } },
      busyP99: { value: rounded(busy.p99), peers: { "POST of the event itself, p99": rounded(busy.postP99) } },
      busyRate: { value: rounded(busy.rate) },
    },
    conditions: {
      events: `${EVENT_BYTES} bytes, ${EVENTS_PER_REQUEST} a request, with an id; a function takes every one`,
      alerts: `${calm.count} and ${busy.count}, one every ${EVERY_MS} ms, read as server-sent events`,
      fsync: "of every request, and of what the function emits; default flushes beside it",
    },
  };
}

async function alerts(platform: Platform, seconds: number, perSecond: number) {
  const requests = new Requests(platform);
  const heard = new Map<string, number>();
  const follower = await follow(platform, (id) => heard.set(id, performance.now()));
  const coming = loadBeyond(platform, {
    ...{ connections: 8, eventsPerRequest: EVENTS_PER_REQUEST, durationMs: seconds * 1000 + WARM_MS },
    requestsPerSecond: perSecond / EVENTS_PER_REQUEST,
  });
  let over = false;
  const end = () => {
    over = true;
  };
  coming.then(end, end); // told where it is awaited
  await sleep(WARM_MS);
  const mine = new TelemetryEvents({ sender: 200, seed: 9 });
  const answered = new Map<string, number>();
  const posts: number[] = [];
  while (!over) {
    const event = JSON.parse(mine.one().toString()) as { event_id: string };
    const startedMs = performance.now();
    try {
      await requests.event(Buffer.from(JSON.stringify({ ...event, vehicle_id: "bench" })));
    } catch (error) {
      // More than this machine can store: what is refused has no alert, and the rate says so.
      if (!String(error).includes("OVERLOADED")) throw error;
      await sleep(1_000);
      continue;
    }
    answered.set(event.event_id, performance.now());
    posts.push(performance.now() - startedMs);
    await sleep(EVERY_MS);
  }
  const { eventsPerSecond: rate } = await coming;
  for (let i = 0; heard.size < answered.size; i++) {
    if (i > 600) throw new Error(`${answered.size - heard.size} alerts did not come within a minute`);
    await sleep(100);
  }
  requests.close();
  follower.destroy();
  // An alert may be there before the answer to its event has been read.
  const latencies = [...answered].map(([id, atMs]) => Math.max(0, (heard.get(id) as number) - atMs));
  const at = (values: readonly number[], share: number) => percentile([...values], share);
  return {
    ...{ p50: at(latencies, 0.5), p99: at(latencies, 0.99), postP50: at(posts, 0.5), postP99: at(posts, 0.99) },
    ...{ rate, count: latencies.length },
  };
}

/** Follows the alerts' stream; calls back with the id of the event that an alert is of. */
async function follow({ port, key }: Platform, hear: (id: string) => void) {
  const headers = { Authorization: `Bearer ${key}`, Accept: "text/event-stream" };
  const sent = request({ host: "127.0.0.1", port, path: "/v1/streams/alerts/events?from=0", headers });
  await new Promise<void>((resolve, reject) => {
    sent.on("response", (response) => {
      let rest = "";
      response.on("data", (chunk: Buffer) => {
        const lines = (rest + chunk.toString()).split("\n");
        rest = lines.pop() as string;
        for (const line of lines)
          if (line.startsWith("data: ")) hear((JSON.parse(line.slice(6)) as { event_id: string }).event_id);
      });
      response.on("error", () => undefined); // it is ended by who follows
      resolve();
    });
    sent.on("error", reject);
    sent.end();
  });
  return sent;
}
