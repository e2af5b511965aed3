import { setTimeout as sleep } from "node:timers/promises";
import { loadBeyond, type Platform, withPlatform } from "../processes.ts";
import { percentile, rounded } from "../quantities.ts";
import { Requests } from "../requests.ts";
import type { Measurement } from "../results.ts";
import { EVENT_BYTES, TelemetryEvents } from "../telemetry.ts";

const EVENTS_PER_SECOND = 20_000;
const EVENTS_PER_REQUEST = 100;
const FEATURES = ["readings_10m", "speed_10m", "coolant_1h", "revs_1m"];
const ENTITIES = 10;
/** The first seconds of a platform are those of its compiler. */
const WARM_MS = 4_000;
/** Event time of the load begins at eight; by then its windows are full. */
const AT = "2026-01-05T08:02:00Z";

/** Reads of features over HTTP while events come in, one after the other on one connection. */
export async function measure(seconds: number): Promise<Measurement> {
  return withPlatform([], (platform) => reads(platform, seconds), "bench/features-project");
}

async function reads(platform: Platform, seconds: number): Promise<Measurement> {
  const requests = new Requests(platform);
  const coming = loadBeyond(platform, {
    ...{ connections: 8, eventsPerRequest: EVENTS_PER_REQUEST, durationMs: seconds * 1000 + WARM_MS },
    requestsPerSecond: EVENTS_PER_SECOND / EVENTS_PER_REQUEST,
  });
  let over = false;
  coming.then(
    () => {
      over = true;
    },
    () => {
      over = true; // told where it is awaited
    },
  );
  await sleep(WARM_MS);
  const [one, many, bare, fresh] = [[], [], [], []] as number[][] as [number[], number[], number[], number[]];
  const timed = async (into: number[], work: () => Promise<unknown>) => {
    const startedMs = performance.now();
    await work();
    into.push(performance.now() - startedMs);
  };
  const mine = new TelemetryEvents({ sender: 200, seed: 9 });
  for (let i = 0; !over; i++) {
    const vehicle = `v0${4000 + (i % 900)}`;
    await timed(one, () => requests.get(`/v1/features/speed_10m?key=${vehicle}&at=${AT}`));
    await timed(bare, () => requests.get("/healthz"));
    const entities = Array.from({ length: ENTITIES }, (_, n) => ({ vehicle_id: `v0${4000 + ((i + n) % 900)}` }));
    await timed(many, () => requests.post("/v1/features", JSON.stringify({ features: FEATURES, entities, at: AT })));
    if (i % 20 === 0) await timed(fresh, await visible(requests, mine));
  }
  const { eventsPerSecond } = await coming;
  requests.close();
  const health = { "GET /healthz in the same run": rounded(percentile(bare, 0.99)) };
  return {
    figures: {
      p50: { value: rounded(percentile(one, 0.5)), peers: { "GET /healthz, p50": rounded(percentile(bare, 0.5)) } },
      p99: { value: rounded(percentile(one, 0.99)), peers: health },
      manyP99: { value: rounded(percentile(many, 0.99)), peers: health },
      freshP50: { value: rounded(percentile(fresh, 0.5)) },
      freshP99: { value: rounded(percentile(fresh, 0.99)) },
      rate: { value: rounded(eventsPerSecond) },
    },
    conditions: {
      events: `${EVENT_BYTES} bytes, ${EVENTS_PER_REQUEST} a request, with an id, so that repeated ones are looked for; 4 features of each, windows of a minute to an hour`,
      reads: `${one.length} of one value, as many of ${FEATURES.length} features of ${ENTITIES} keys, each on one kept-open connection`,
      fresh: "from the answer 202 of an event to the first read that counts it, reads one after the other",
      fsync: "of every request with events, shared by those waiting; default flushes beside it",
    },
  };
}

/** Posts an event of a vehicle, and gives what waits until its features have it. */
async function visible(requests: Requests, events: TelemetryEvents): Promise<() => Promise<void>> {
  const event = JSON.parse(events.one().toString()) as Record<string, unknown>;
  const read = async () => {
    const answer = await requests.get(`/v1/features/readings_10m?key=bench&at=${AT}`);
    return (JSON.parse(answer) as { value: number }).value;
  };
  const before = await read();
  await requests.event(Buffer.from(JSON.stringify({ ...event, vehicle_id: "bench" })));
  return async () => {
    while ((await read()) === before) await sleep(0);
  };
}
