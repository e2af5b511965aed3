/** The Kinesis door under load, and beside it in the same run the plain door with as many events a request. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { AccessKey } from "../kinesis-requests.ts";
import { RECORD_BYTES } from "../kinesis-requests.ts";
import { FLUSHES_AWAY, load, type Platform, withPlatform } from "../processes.ts";
import { rounded } from "../quantities.ts";
import { Requests } from "../requests.ts";
import type { Measurement } from "../results.ts";

const CONNECTIONS = 8;
const RECORDS_PER_REQUEST = 500;
/** Requests of the SDK under way on its one connection. */
const SDK_UNDER_WAY = 8;

export async function measure(seconds: number): Promise<Measurement> {
  const plain = { connections: CONNECTIONS, eventsPerRequest: RECORDS_PER_REQUEST, durationMs: seconds * 1000 };
  const [halves, door, sdk] = await withPlatform(FLUSHES_AWAY, async (platform) => {
    const kinesis = await accessKey(platform);
    const half = { ...plain, kinesis, durationMs: plain.durationMs / 2 };
    // By turns on one platform, since what a machine gives changes from minute to minute.
    const first = await load(platform, half);
    const events = await load(platform, plain);
    const second = await load(platform, { ...half, sender: 100 });
    return [[first, second], events, await withSdk(platform, kinesis, plain.durationMs)] as const;
  });
  const flushing = await withPlatform([], async (platform) =>
    load(platform, { ...plain, kinesis: await accessKey(platform) }),
  );
  const peer = `the plain door in the same run, NDJSON of ${RECORDS_PER_REQUEST} events`;
  return {
    figures: {
      rate: {
        value: rounded(mean(halves.map(({ eventsPerSecond }) => eventsPerSecond))),
        peers: { [peer]: rounded(door.eventsPerSecond) },
      },
      p99: {
        value: rounded(mean(halves.map(({ latencyMs }) => latencyMs.p99))),
        peers: { [peer]: rounded(door.latencyMs.p99) },
      },
      flushingRate: { value: rounded(flushing.eventsPerSecond) },
      generatorCores: {
        value: rounded(mean(halves.map(({ generatorCores }) => generatorCores))),
        peers: { [peer]: rounded(door.generatorCores) },
      },
      sdkRate: { value: rounded(sdk.recordsPerSecond) },
      sdkCores: { value: rounded(sdk.cores) },
    },
    conditions: {
      events: `${RECORD_BYTES} bytes of JSON each, in base64, validated; the signature of every request is verified`,
      batch: `${RECORDS_PER_REQUEST} records a request`,
      fsync: "fdatasync before every answer, shared by the requests waiting for it",
      load: `${CONNECTIONS} connections over HTTP/1.1, one request under way on each, signed ahead and sent again; the SDK: one connection over HTTP/2, ${SDK_UNDER_WAY} requests under way, signed and encoded by itself`,
      time: `${seconds} s after 1 s of warming up`,
    },
  };
}

async function accessKey(platform: Platform): Promise<AccessKey> {
  const requests = new Requests(platform);
  try {
    const made = await requests.post("/v1/keys", JSON.stringify({ name: "bench", scopes: ["ingest"], aws: true }));
    return (JSON.parse(made) as { accessKey: AccessKey }).accessKey;
  } finally {
    requests.close();
  }
}

async function withSdk(
  { port }: Platform,
  key: AccessKey,
  durationMs: number,
): Promise<{ readonly recordsPerSecond: number; readonly cores: number }> {
  const options = { port, key, underWay: SDK_UNDER_WAY, durationMs, recordsPerRequest: RECORDS_PER_REQUEST };
  const child = spawn(process.execPath, [join(import.meta.dirname, "../kinesis-sdk.ts"), JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  child.stdout.on("data", (text) => {
    out += text;
  });
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`the SDK's process ended with ${code}`);
  return JSON.parse(out) as { recordsPerSecond: number; cores: number };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
