/** The Segment door under load, and beside it in the same run the plain door with as many events a request. */
import { FLUSHES_AWAY, loadBeyond, withPlatform } from "../processes.ts";
import { rounded } from "../quantities.ts";
import type { Measurement } from "../results.ts";
import { MESSAGE_BYTES } from "../segment-messages.ts";
import { EVENT_BYTES } from "../telemetry.ts";

const PROJECT = "bench/segment-project";
const CONNECTIONS = 64;
const EVENTS_PER_REQUEST = 100;

export async function measure(seconds: number): Promise<Measurement> {
  const plain = { connections: CONNECTIONS, eventsPerRequest: EVENTS_PER_REQUEST, durationMs: seconds * 1000 };
  const segment = { ...plain, segment: true, path: "/v1/batch" };
  // By turns on one platform, since what a machine gives changes from minute to minute.
  const [away, door] = await withPlatform(
    FLUSHES_AWAY,
    async (platform) => {
      const messages = [await loadBeyond(platform, { ...segment, durationMs: segment.durationMs / 2 })];
      const events = await loadBeyond(platform, plain);
      messages.push(await loadBeyond(platform, { ...segment, sender: 100, durationMs: segment.durationMs / 2 }));
      return [messages, events] as const;
    },
    PROJECT,
  );
  const flushing = await withPlatform([], (platform) => loadBeyond(platform, segment), PROJECT);
  const rate = mean(away.map(({ eventsPerSecond }) => eventsPerSecond));
  const peer = `the plain door in the same run, events of ${EVENT_BYTES} bytes`;
  return {
    figures: {
      rate: { value: rounded(rate), peers: { [peer]: rounded(door.eventsPerSecond) } },
      p99: {
        value: rounded(mean(away.map(({ latencyMs }) => latencyMs.p99))),
        peers: { [peer]: rounded(door.latencyMs.p99) },
      },
      flushingRate: { value: rounded(flushing.eventsPerSecond) },
      generatorCores: {
        value: rounded(mean(away.map(({ generatorCores }) => generatorCores))),
        peers: { [peer]: rounded(door.generatorCores) },
      },
    },
    conditions: {
      events: `${MESSAGE_BYTES} bytes, track messages as the library for Node sends them; the door adds each batch's sentAt`,
      batch: `${EVENTS_PER_REQUEST} messages a request`,
      fsync: "fdatasync before every answer, shared by the requests waiting for it",
      load: `${CONNECTIONS} connections, one request under way on each, from one process on the same machine; what is refused for lack of room does not count`,
      time: `${seconds} s after 1 s of warming up`,
    },
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
