import { setTimeout as sleep } from "node:timers/promises";
import { RunningCluster, type RunningWorker, until, type WorkerView } from "../../test/engines/running-cluster.ts";
import { cpuSeconds } from "../processes.ts";
import { rounded } from "../quantities.ts";
import type { Measurement } from "../results.ts";
import { EVENT_BYTES, TelemetryEvents } from "../telemetry.ts";

const PARTITIONS = 4;
const EVENTS_PER_REQUEST = 2_000;
const PEER = "one flow worker, the same events";

/** Flow workers behind a gateway that takes what it can: one of them, then two. */
export async function measure(seconds: number): Promise<Measurement> {
  const events = Math.round(seconds * 100_000);
  const one = await drained(1, events);
  const two = await drained(2, events);
  return {
    figures: {
      rate: { value: rounded(two.eventsPerSecond), peers: { [PEER]: rounded(one.eventsPerSecond) } },
      cpu: { value: rounded(two.cpuUsPerEvent), peers: { [PEER]: rounded(one.cpuUsPerEvent) } },
      cores: { value: rounded(two.cores), peers: { [PEER]: rounded(one.cores) } },
    },
    conditions: {
      events: `${events.toLocaleString("en")} of ${EVENT_BYTES} bytes in ${PARTITIONS} partitions, with an id; bronze and silver stored`,
      workers: "1 engine thread and 384 MiB of engine memory each, flushes every 2 s",
      fsync: "none of the workers: acks=all of 3 replicas, objects in S3",
      servers: "three brokers, the S3 server and PostgreSQL on the same machine, which take their share of its cores",
      measured:
        "from the first event, one gateway taking what it can, until all are stored; two workers can only be faster than one where cores are free",
    },
  };
}

interface Drained {
  readonly eventsPerSecond: number;
  readonly cpuUsPerEvent: number;
  /** Used by the workers together. */
  readonly cores: number;
}

async function drained(count: number, events: number): Promise<Drained> {
  const cluster = await RunningCluster.open("bench/project", {
    MILLRACE_PARTITIONS: String(PARTITIONS),
    MILLRACE_ENGINE_MEMORY_BYTES: "384MiB",
  });
  try {
    const ids = Array.from({ length: count }, (_, i) => `flow-${i + 1}`);
    const gateway = await cluster.start("gateway", "gateway");
    const workers = await Promise.all(ids.map((id) => cluster.start(id, "flow")));
    await until(async () => {
      const { body } = await gateway.json<{ workers: WorkerView[] }>("/v1/workers");
      const owned = ids.map((id) => body.workers.find((one) => one.id === id)?.owns["flow"]?.["telemetry"]?.length);
      return owned.every((partitions) => partitions === PARTITIONS / count);
    }, "the partitions are divided");
    const before = await stateOf(workers);
    const startedAt = performance.now();
    await fill(cluster, gateway, events);
    let now = await stateOf(workers);
    while (now.stored < events) {
      await sleep(250);
      now = await stateOf(workers);
    }
    const elapsedS = (performance.now() - startedAt) / 1_000;
    const cpuS = now.cpuS - before.cpuS;
    return { eventsPerSecond: events / elapsedS, cpuUsPerEvent: (cpuS * 1e6) / events, cores: cpuS / elapsedS };
  } finally {
    await cluster.close();
  }
}

async function fill(cluster: RunningCluster, gateway: RunningWorker, events: number): Promise<void> {
  const maker = new TelemetryEvents();
  const lanes = Array.from({ length: 4 }, async () => {
    while (maker.made < events) {
      const body = new Uint8Array(maker.ndjson(EVENTS_PER_REQUEST));
      for (;;) {
        const response = await fetch(`${gateway.url}/v1/streams/telemetry/events`, {
          method: "POST",
          headers: { authorization: `Bearer ${cluster.key}`, "content-type": "application/x-ndjson" },
          body,
        });
        const answer = await response.text();
        if (response.status === 202) break;
        if (response.status !== 503 && response.status !== 429) throw new Error(answer);
        await sleep(500);
      }
    }
  });
  await Promise.all(lanes);
}

async function stateOf(workers: readonly RunningWorker[]): Promise<{ readonly stored: number; readonly cpuS: number }> {
  const states = await Promise.all(
    workers.map(async (worker) => {
      // Every worker knows what all have stored, sooner or later.
      const stored = [...(await worker.metrics()).matchAll(STORED)].reduce((sum, [, value]) => sum + Number(value), 0);
      return { stored, cpuS: await cpuSeconds(worker.pid) };
    }),
  );
  return {
    stored: Math.max(...states.map(({ stored }) => stored)),
    cpuS: states.reduce((sum, { cpuS }) => sum + cpuS, 0),
  };
}

const STORED = /^millrace_hop_stored_events\{stream="telemetry",hop="bronze.telemetry"[^}]*\} (\d+)$/gm;
