import { setTimeout as sleep } from "node:timers/promises";
import { load, withPlatform } from "../processes.ts";
import { median, percentile, rounded } from "../quantities.ts";
import { Requests } from "../requests.ts";
import type { Figure, Measurement } from "../results.ts";
import { EVENT_BYTES } from "../telemetry.ts";

const QUERIES = {
  count: "select count(*), max(recorded_at) from silver.telemetry",
  group: `select vehicle_id, count(*) as readings, avg(speed_kmh) as speed, max(odometer_km) - min(odometer_km) as driven
    from silver.telemetry group by vehicle_id order by readings desc limit 10`,
};
const EVENTS_PER_SECOND = 50_000;
const EVENTS_PER_REQUEST = 100;
/** Across two flushes, and with enough queries for the slowest of a hundred to mean something. */
const LEAST_SECONDS = 12;

/**
 * Queries a table at rest, then while events come in, with the default flushes. What a query takes longer than the median at
 * rest is the cost of the tail, of the events it comes with, and of a table that grows meanwhile.
 */
export async function measure(given: number): Promise<Measurement> {
  const seconds = Math.max(given, LEAST_SECONDS);
  return withPlatform([], async (platform) => {
    const requests = new Requests(platform);
    await load(platform, { durationMs: 1_000, eventsPerRequest: 500, sender: 1 });
    await flushed(requests);
    const atRest = await queried(requests, performance.now() + (seconds * 1000) / 4);
    const [[stored]] = (await requests.sql("select count(*) from silver.telemetry")) as [[number]];
    const incoming = load(platform, {
      durationMs: seconds * 1000,
      eventsPerRequest: EVENTS_PER_REQUEST,
      requestsPerSecond: EVENTS_PER_SECOND / EVENTS_PER_REQUEST,
      sender: 100,
    });
    await sleep(1_000); // as long as the generator warms up
    const busy = await queried(requests, performance.now() + (seconds - 0.5) * 1000);
    const loaded = await incoming;
    requests.close();
    return {
      figures: {
        ...extra("count", busy.count, atRest.count),
        ...extra("group", busy.group, atRest.group),
      },
      conditions: {
        events: `${EVENT_BYTES} bytes, ${rounded(loaded.eventsPerSecond)} a second acknowledged`,
        batch: `${EVENTS_PER_REQUEST} events a request`,
        fsync: "fdatasync before every answer",
        load: `one query after the other over a table of ${rounded(Number(stored))} rows and growing; ${busy.count.length} of each`,
        generator: `${loaded.generatorCores} cores for the load generator, on the same machine`,
        peer: "the same query at rest, so the ratio is that of the whole query's time",
      },
    };
  });
}

type Times = Record<keyof typeof QUERIES, number[]>;

async function queried(requests: Requests, untilMs: number): Promise<Times> {
  const times: Times = { count: [], group: [] };
  do {
    for (const name of ["count", "group"] as const) {
      const startedMs = performance.now();
      await requests.sql(QUERIES[name]);
      times[name].push(performance.now() - startedMs);
    }
  } while (performance.now() < untilMs);
  return times;
}

function extra(name: keyof typeof QUERIES, busy: readonly number[], atRest: readonly number[]): Record<string, Figure> {
  const restMs = median(atRest);
  const figure = (share: number): Figure => {
    const value = rounded(percentile(busy, share) - restMs);
    return { value, peers: { "the same query at rest": rounded(restMs) } };
  };
  return { [`${name}P50`]: figure(0.5), [`${name}P99`]: figure(0.99) };
}

/** Waits until the events posted so far are in the tables. */
async function flushed(requests: Requests): Promise<void> {
  for (;;) {
    const { hops } = JSON.parse(await requests.get("/v1/ledger")) as { hops: { pending: number }[] };
    if (hops.every((hop) => hop.pending === 0)) return;
    await sleep(100);
  }
}
