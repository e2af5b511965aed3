import { EVENTS_PER_REQUEST, mostStored, OPEN_CONNECTIONS, OVERLOAD, openLoop, refusals } from "../overload.ts";
import { EVENTS_PATH, loadBeyond, type Platform, withPlatform } from "../processes.ts";
import { rounded } from "../quantities.ts";
import { Requests } from "../requests.ts";
import type { Measurement } from "../results.ts";
import { EVENT_BYTES } from "../telemetry.ts";

const QUIET = { connections: 8, eventsPerRequest: 1, requestsPerSecond: 20 } as const;

/** A sender of little, alone and beside one of too much: once in a stream of its own, once with a key of its own. */
export async function measure(seconds: number): Promise<Measurement> {
  return withPlatform([], async (platform) => {
    const most = await mostStored(platform, seconds / 2, 1);
    const otherStream = { platform, path: EVENTS_PATH.replace("telemetry", "neighbours"), sender: 250 };
    const otherKey = { platform: { ...platform, key: await newKey(platform) }, path: EVENTS_PATH, sender: 240 };
    const alone = { stream: await quiet(otherStream, seconds), key: await quiet(otherKey, seconds) };
    const beside = async (sender: Quiet, noisySender: number) => {
      const requestsPerSecond = most.requestsPerSecond * OVERLOAD;
      // The noisy one is there before the quiet one's first measured request, and still there after its last.
      const noisy = openLoop(platform, {
        requestsPerSecond,
        sender: noisySender,
        durationMs: (seconds + 2) * 1000,
      });
      const answered = await quiet({ ...sender, sender: sender.sender + 1 }, seconds, 5_000);
      return { ...answered, noisy: await noisy };
    };
    const stream = await beside(otherStream, 30);
    const key = await beside(otherKey, 60);
    return {
      figures: {
        stream: { value: stream.accepted, peers: { [ALONE]: alone.stream.accepted } },
        streamP99: { value: stream.p99, peers: { [ALONE]: alone.stream.p99 } },
        key: { value: key.accepted, peers: { [ALONE]: alone.key.accepted } },
        keyP99: { value: key.p99, peers: { [ALONE]: alone.key.p99 } },
      },
      conditions: {
        events: `${EVENT_BYTES} bytes`,
        batch: `one event a request; of the noisy sender ${EVENTS_PER_REQUEST}`,
        fsync: "fdatasync before every answer",
        noisy: `${OPEN_CONNECTIONS} connections: ${refusals(stream.noisy)}`,
        time: `${seconds} s each`,
      },
    };
  });
}

const ALONE = "the same without the noisy one";

interface Quiet {
  readonly platform: Platform;
  readonly path: string;
  readonly sender: number;
}

async function quiet({ platform, path, sender }: Quiet, seconds: number, warmupMs = 1_000) {
  const result = await loadBeyond(platform, { ...QUIET, path, sender, warmupMs, durationMs: seconds * 1000 });
  return { accepted: rounded(1 - result.failed / result.requests), p99: rounded(result.latencyMs.p99) };
}

async function newKey(platform: Platform): Promise<string> {
  const requests = new Requests(platform);
  const answer = await requests.post("/v1/keys", JSON.stringify({ name: "quiet", scopes: ["ingest"] }));
  requests.close();
  return (JSON.parse(answer) as { token: string }).token;
}
