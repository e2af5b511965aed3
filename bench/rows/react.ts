import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { Stream } from "../../src/define/project.ts";
import { readStream } from "../../src/define/read-stream.ts";
import { stream } from "../../src/define/stream.ts";
import { openEmbeddedLog } from "../../src/log/embedded-log.ts";
import type { EventLog } from "../../src/log/event-log.ts";
import { nodeFs } from "../../src/log/file-system.ts";
import { partitionOf } from "../../src/log/partitioner.ts";
import { contractDoor } from "../../src/platform/contract-door.ts";
import { FileCheckpoints } from "../../src/react/checkpoint-file.ts";
import type { OperatorPlan } from "../../src/react/operator.ts";
import { Reactor } from "../../src/react/reactor.ts";
import { residentBytes, withFolder } from "../processes.ts";
import { percentile, rounded } from "../quantities.ts";
import type { Measurement } from "../results.ts";
import { EVENT_BYTES, TelemetryEvents, telemetrySchema } from "../telemetry.ts";

const KEYS = 1_000_000;
const EVENTS_AT_ONCE = 500_000;
const READS_PER_SECOND = 200;

/** Operators over the embedded log: how fast they go, how soon an alert can be read, and a million keys. */
export async function measure(seconds: number): Promise<Measurement> {
  const million = await withFolder((dir) => millionKeys(dir)); // first: memory is counted of the whole process
  const rate = await withFolder((dir) => throughput(dir));
  const slow = await withFolder((dir) => latency(dir, 20_000, seconds));
  const fast = await withFolder((dir) => latency(dir, 100_000, seconds));
  return {
    figures: {
      cpu: { value: rounded(rate.cpuUs) },
      rate: { value: rounded(rate.perSecond), peers: { "JSON.parse of each line, nothing else": rounded(rate.bare) } },
      alertP50: {
        value: rounded(slow.p50),
        peers: { "the log's own append of one such event, p50": rounded(slow.appendP50) },
      },
      alertP99: {
        value: rounded(slow.p99),
        peers: { "the log's own append of one such event, p99": rounded(slow.appendP99) },
      },
      busyP50: { value: rounded(fast.p50) },
      busyP99: { value: rounded(fast.p99) },
      readP99: { value: rounded(slow.readP99) },
      busyReadP99: { value: rounded(fast.readP99) },
      restore: { value: rounded(million.restoreS) },
      memory: { value: rounded(million.bytes / 1e6) },
      checkpoint: { value: rounded(million.checkpointMs) },
    },
    conditions: {
      events: `${EVENT_BYTES} bytes; one in a hundred gives an alert`,
      state: `per vehicle three windows of count, sum, least and greatest: 120 bytes; ${KEYS} keys for the last three figures`,
      latency: "from the answer to the append of an event to its alert being readable in its stream",
      fsync: "of each append and of each checkpoint, every second",
    },
  };
}

async function throughput(dir: string) {
  const { log, reactor, close } = await open(dir, [plan("windows")], async (opened) => {
    const events = new TelemetryEvents();
    for (let left = EVENTS_AT_ONCE; left > 0; left -= 5_000)
      await opened.append("telemetry", 0, { payload: events.ndjson(5_000), count: 5_000, source: "bench" });
  });
  await reactor.applied("telemetry", 0, EVENTS_AT_ONCE / 5); // compiled
  const warm = performance.now();
  const cpu = process.cpuUsage();
  await reactor.applied("telemetry", 0, log.ends("telemetry", 0).end - 1);
  const perSecond = (EVENTS_AT_ONCE * 0.8) / ((performance.now() - warm) / 1000);
  const { user, system } = process.cpuUsage(cpu);
  await close();
  const lines = new TelemetryEvents().ndjson(100_000).toString("latin1").trimEnd().split("\n");
  const bareStarted = performance.now();
  for (const line of lines) JSON.parse(line);
  const bare = lines.length / ((performance.now() - bareStarted) / 1000);
  return { perSecond, bare, cpuUs: (user + system) / (EVENTS_AT_ONCE * 0.8) };
}

async function latency(dir: string, perSecond: number, seconds: number) {
  const { log, reactor, close } = await open(dir, [plan("windows"), plan("brakes")], async () => undefined);
  const events = new TelemetryEvents();
  const acknowledged = new Map<number, number>();
  const latencies: number[] = [];
  const appends: number[] = [];
  const reads: number[] = [];
  const end = new AbortController();
  const following = follow(log, end.signal, (cause) => {
    const atMs = acknowledged.get(cause);
    if (atMs !== undefined) latencies.push(Math.max(0, performance.now() - atMs));
  });
  const asking = (async () => {
    while (!end.signal.aborted) {
      await sleep(1000 / READS_PER_SECOND);
      const askedMs = performance.now();
      await reactor.read("windows", "v04001");
      reads.push(performance.now() - askedMs);
    }
  })();
  const began = performance.now();
  const everyMs = 2;
  const warmMs = 1_000;
  const under: Promise<unknown>[] = [];
  let sent = 0;
  for (let elapsed = 0; elapsed < seconds * 1000 + warmMs; elapsed = performance.now() - began) {
    const due = Math.floor((elapsed * perSecond) / 1000) - sent;
    if (due > 0) {
      sent += due;
      const first = sent - due;
      const warm = elapsed < warmMs;
      const payload = events.ndjson(due);
      const askedMs = performance.now();
      under.push(
        log.append("telemetry", 0, { payload, count: due, source: "bench" }).then(({ from, to }) => {
          const nowMs = performance.now();
          if (warm) return;
          appends.push(nowMs - askedMs);
          // Ids count up from 0, so those that give alerts are known.
          for (let i = 0; i < due; i++) if ((first + i) % 100 === 0) acknowledged.set(from + i, nowMs);
          return to;
        }),
      );
    }
    await sleep(everyMs);
  }
  await Promise.all(under);
  await reactor.applied("telemetry", 0, sent - 1);
  end.abort();
  await Promise.all([following, asking]);
  await close();
  return {
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    appendP50: percentile(appends, 0.5),
    appendP99: percentile(appends, 0.99),
    readP99: percentile(reads, 0.99),
  };
}

async function millionKeys(dir: string) {
  const first = await open(dir, [plan("windows")], async (log) => {
    for (let from = 0; from < KEYS; from += 10_000) {
      const lines = Array.from(
        { length: 10_000 },
        (_, i) => `{"vehicle_id":"vehicle-${from + i}","speed_kmh":${i % 100}}\n`,
      );
      await log.append("telemetry", 0, { payload: Buffer.from(lines.join("")), count: 10_000, source: "bench" });
    }
  });
  await first.reactor.applied("telemetry", 0, KEYS - 1);
  await first.reactor.checkpoint();
  await first.log.append("telemetry", 0, {
    payload: Buffer.from('{"vehicle_id":"vehicle-7","speed_kmh":1}\n'),
    count: 1,
    source: "bench",
  });
  await first.reactor.applied("telemetry", 0, KEYS);
  const checkpointStarted = performance.now();
  await first.reactor.checkpoint();
  const checkpointMs = performance.now() - checkpointStarted;
  await first.close();
  const restoreStarted = performance.now();
  const second = await open(dir, [plan("windows")], async () => undefined);
  const restoreS = (performance.now() - restoreStarted) / 1000;
  if (!((await second.reactor.read("windows", "vehicle-999999")) instanceof Float64Array))
    throw new Error("the last key is not there");
  const bytes = await residentBytes(process.pid);
  await second.close();
  return { restoreS, checkpointMs, bytes };
}

/** Tells of each alert, as soon as it can be read. */
async function follow(log: EventLog, signal: AbortSignal, take: (cause: number) => void): Promise<void> {
  for (let at = 0; !signal.aborted; ) {
    const run = await log.read("alerts", 0, at, 1024 * 1024);
    if (!run) {
      await log.wait("alerts", 0, at, signal);
      continue;
    }
    at = run.to + 1;
    for (const line of Buffer.from(run.bytes).toString("latin1").trimEnd().split("\n"))
      take((JSON.parse(line) as { cause: number }).cause);
  }
}

function plan(name: "windows" | "brakes"): OperatorPlan {
  return { kind: "function", name, stream: "telemetry", lane: name, from: "beginning", stateHash: "1", plan: name };
}

async function open(dir: string, plans: readonly OperatorPlan[], fill: (log: EventLog) => Promise<void>) {
  const log = await openEmbeddedLog({ dir: join(dir, "log") });
  const alertSchema = z.object({ alert_id: z.string(), vehicle_id: z.string(), cause: z.int32() });
  const streams = new Map(
    [
      stream("telemetry", { schema: telemetrySchema, id: ["event_id"] }),
      stream("alerts", { schema: alertSchema, id: ["alert_id"] }),
    ].map((definition) => {
      const read = readStream(definition, "bench", 7 * 86_400_000);
      if (!("name" in read)) throw new Error(JSON.stringify(read));
      return [read.name, read as Stream];
    }),
  );
  for (const name of streams.keys()) await log.open(name);
  await fill(log);
  const reactor = await Reactor.open({
    project: { dir: new URL("../react", import.meta.url).pathname, modules: ["definitions.ts"] },
    kinds: new URL("../react/kinds.ts", import.meta.url).href,
    ...{ plans, streams, log, checkpoints: new FileCheckpoints(nodeFs, join(dir, "react")) },
    admit: contractDoor({ streams, log, partitionOf, limits: { maxEventBytes: 1_000_000, maxNesting: 32 } }),
    deadLetters: async (letters) => {
      throw new Error(`dead letters: ${letters[0]?.message}`);
    },
    report: (error, what) => console.error(what, error),
  });
  const close = async () => {
    await reactor.close();
    await log.close();
  };
  return { log, reactor, close };
}
