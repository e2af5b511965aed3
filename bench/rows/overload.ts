import { setTimeout as sleep } from "node:timers/promises";
import type { LoadResult } from "../load-generator.ts";
import { EVENTS_PER_REQUEST, mostStored, OPEN_CONNECTIONS, OVERLOAD, openLoop, refusals } from "../overload.ts";
import { type Platform, residentBytes, withPlatform } from "../processes.ts";
import { median, percentile, rounded } from "../quantities.ts";
import { Requests } from "../requests.ts";
import type { Measurement } from "../results.ts";
import { EVENT_BYTES, TelemetryEvents } from "../telemetry.ts";

const SAMPLE_MS = 100;
/** Accepted within the time of an idle platform, so many in a row. */
const WELL_MS = 100;
const WELL_IN_A_ROW = 10;
const LONGEST_RECOVERY_S = 60;

/** By turns, since what a machine gives changes from minute to minute. */
const ROUNDS = 3;

/**
 * The most that can be stored, then twice as much from senders that heed no refusal, some times in turn. All of it with the default
 * flushes, which take their part of the machine.
 */
export async function measure(seconds: number): Promise<Measurement> {
  return withPlatform([], async (platform) => {
    const closed: Watched[] = [];
    const open: Watched[] = [];
    const recoveries: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const most = await watched(platform, () => mostStored(platform, seconds / 2, round * 64));
      const requestsPerSecond = most.result.requestsPerSecond * OVERLOAD;
      const options = { requestsPerSecond, durationMs: seconds * 500, sender: round * 64 + 200 };
      open.push(await watched(platform, () => openLoop(platform, options)));
      recoveries.push(await recovered(platform));
      closed.push(most);
    }
    const mean = (of: readonly Watched[]) =>
      of.reduce((sum, { result }) => sum + result.eventsPerSecond, 0) / of.length;
    const most = (of: readonly Watched[], figure: (one: Watched) => number) => rounded(Math.max(...of.map(figure)));
    const beside = (figure: (one: Watched) => number) => ({
      value: most(open, figure),
      peers: { [CLOSED]: most(closed, figure) },
    });
    return {
      figures: {
        goodput: { value: rounded(mean(open) / mean(closed)) },
        rate: { value: rounded(mean(open)), peers: { [CLOSED]: rounded(mean(closed)) } },
        p99: beside(({ result }) => result.latencyMs.p99),
        recovery: { value: rounded(Math.max(...recoveries)) },
        inflight: beside(({ inflight }) => inflight / 1e6),
        resident: beside(({ resident }) => resident / 1e6),
        health: beside(({ health }) => health),
        query: beside(({ query }) => query),
      },
      conditions: {
        events: `${EVENT_BYTES} bytes`,
        batch: `${EVENTS_PER_REQUEST} events a request, NDJSON`,
        fsync: "fdatasync before every answer",
        load: `${OPEN_CONNECTIONS} connections from one process on the same machine; ${open.map(({ result }) => refusals(result)).join("; then ")}`,
        bound: "inflightBytes of 256 MiB for requests under way; resident memory holds the SQL engine's too",
        time: `${ROUNDS} rounds of ${seconds / 2} s each, after 1 s of warming up and 4 s of opening connections; a sample every ${SAMPLE_MS} ms; times and bytes are of the worst round`,
      },
    };
  });
}

const CLOSED = "the most that can be stored, each sender waiting for its answers";

interface Watched {
  readonly result: LoadResult;
  readonly inflight: number;
  readonly resident: number;
  readonly health: number;
  readonly query: number;
}

/** Does `work` and looks at the platform from outside meanwhile. */
async function watched(platform: Platform, work: () => Promise<LoadResult>): Promise<Watched> {
  const requests = new Requests(platform);
  const [health, query]: [number[], number[]] = [[], []];
  const most = { inflight: 0, resident: 0 };
  let running = true;
  const working = work().finally(() => {
    running = false;
  });
  await sleep(1_000);
  while (running) {
    most.resident = Math.max(most.resident, await residentBytes(platform.pid));
    health.push(await timed(() => requests.get("/healthz")));
    query.push(await timed(() => requests.sql("select count(*) from system.dead_letters")));
    const metrics = await requests.get("/metrics");
    const inflight = Number(/^millrace_door_inflight_bytes (\d+)/m.exec(metrics)?.[1]);
    most.inflight = Math.max(most.inflight, inflight);
    await sleep(SAMPLE_MS);
  }
  const result = await working;
  requests.close();
  return { result, ...most, health: percentile(health, 1), query: median(query) };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

/** Seconds until single events are accepted at once again. */
async function recovered(platform: Platform): Promise<number> {
  const requests = new Requests(platform);
  const events = new TelemetryEvents({ sender: 255 });
  const startedMs = performance.now();
  let wellSinceMs = startedMs;
  for (let well = 0; well < WELL_IN_A_ROW; ) {
    const sentMs = performance.now();
    if (sentMs - startedMs > LONGEST_RECOVERY_S * 1000) throw new Error(`not recovered in ${LONGEST_RECOVERY_S} s`);
    const accepted = await requests.event(events.one()).then(
      () => true,
      () => false,
    );
    const isWell = accepted && performance.now() - sentMs < WELL_MS;
    if (well === 0 || !isWell) wellSinceMs = sentMs;
    well = isWell ? well + 1 : 0;
    if (!isWell) await sleep(10);
  }
  requests.close();
  return (wellSinceMs - startedMs) / 1000;
}
