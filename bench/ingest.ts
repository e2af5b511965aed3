/** What both rows of ingest do: the door under load with nothing else to do and with its flushes, and its two bare peers. */
import { bareAppend } from "./bare-disk.ts";
import type { LoadResult } from "./load-generator.ts";
import { FLUSHES_AWAY, load, withBareDoor, withFolder, withPlatform } from "./processes.ts";
import { rounded } from "./quantities.ts";
import type { Measurement } from "./results.ts";
import { EVENT_BYTES, TelemetryEvents } from "./telemetry.ts";

export interface Ingest {
  readonly connections: number;
  readonly eventsPerRequest: number;
  readonly seconds: number;
  /** What of a load is the row's rate. */
  readonly rate: (result: LoadResult) => number;
}

export async function measureIngest({ connections, eventsPerRequest, seconds, rate }: Ingest): Promise<Measurement> {
  const options = { connections, eventsPerRequest, durationMs: seconds * 1000 };
  const away = await withPlatform(FLUSHES_AWAY, (platform) => load(platform, options));
  const flushing = await withPlatform([], (platform) => load(platform, options));
  const door = await withBareDoor((server) => load(server, { ...options, durationMs: options.durationMs / 2 }));
  const group = new TelemetryEvents().ndjson(connections * eventsPerRequest);
  const bytesPerSecond = await withFolder((dir) => bareAppend(dir, group, 1_000));
  const requestBytes = eventsPerRequest * (EVENT_BYTES + 1);
  const append = rate({ ...away, ...perSecond(bytesPerSecond / requestBytes, eventsPerRequest) });
  const peers = { [DOOR]: rounded(rate(door)), [`${APPEND} ${connections} requests each`]: rounded(append) };
  return {
    figures: {
      rate: { value: rounded(rate(away)), peers },
      p99: { value: rounded(away.latencyMs.p99), peers: { [DOOR]: rounded(door.latencyMs.p99) } },
      flushingRate: { value: rounded(rate(flushing)), peers },
      flushingP99: { value: rounded(flushing.latencyMs.p99), peers: { [DOOR]: rounded(door.latencyMs.p99) } },
      generatorCores: { value: rounded(away.generatorCores), peers: { [DOOR]: rounded(door.generatorCores) } },
    },
    conditions: {
      events: `${EVENT_BYTES} bytes`,
      batch: eventsPerRequest === 1 ? "one event a request" : `${eventsPerRequest} events a request, NDJSON`,
      fsync: "fdatasync before every answer, shared by the requests waiting for it",
      load: `${connections} connections, one request under way on each, from one process on the same machine`,
      time: `${seconds} s after 1 s of warming up`,
    },
  };
}

const DOOR = "a node:http server that only reads the body, same load";
const APPEND = "bare appends to one file, an fdatasync after";

function perSecond(requests: number, eventsPerRequest: number) {
  return { requestsPerSecond: requests, eventsPerSecond: requests * eventsPerRequest };
}
