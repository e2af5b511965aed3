import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { endpoint, type KafkaEndpoint } from "../../engines/endpoints.ts";
import { cpuSeconds, FLUSHES_AWAY, loadBeyond, type Platform, withFolder, withPlatform } from "../processes.ts";
import { rounded } from "../quantities.ts";
import type { Measurement } from "../results.ts";
import { EVENT_BYTES, TelemetryEvents } from "../telemetry.ts";

const PARTITIONS = 3;
const CONNECTIONS = 64;
const EVENTS_PER_REQUEST = 100;
const PAYLOADS = 20_000;
const PEER = "kafka-producer-perf-test, same topic, records and acks";
const TUNED = "… with batches of a megabyte (batch.size, linger.ms=5)";

/** The door with the log on three brokers, and Kafka's own producer at the same topic; first as they are, then compressed. */
export async function measure(seconds: number): Promise<Measurement> {
  const kafka = await endpoint("kafka");
  const plain = await compared(kafka, "none", seconds);
  const packed = await compared(kafka, "zstd", seconds);
  return {
    figures: {
      rate: { value: rounded(plain.door.eventsPerSecond), peers: rates(plain) },
      p50: { value: rounded(plain.door.latencyMs.p50), peers: { [PEER]: rounded(plain.peer.averageMs) } },
      p99: { value: rounded(plain.door.latencyMs.p99), peers: { [PEER]: rounded(plain.peer.p99Ms) } },
      cpu: { value: rounded(plain.cpuUsPerEvent) },
      zstdRate: { value: rounded(packed.door.eventsPerSecond), peers: rates(packed) },
      zstdCpu: { value: rounded(packed.cpuUsPerEvent) },
      zstdP99: { value: rounded(packed.door.latencyMs.p99), peers: { [PEER]: rounded(packed.peer.p99Ms) } },
    },
    conditions: {
      events: `${EVENT_BYTES} bytes`,
      batch: `${EVENTS_PER_REQUEST} events a request, NDJSON, validated; nothing flushed meanwhile`,
      fsync: "none before the answer: acks=all of 3 replicas, min.insync.replicas 2",
      load: `${CONNECTIONS} connections, one request under way on each; ${PARTITIONS} partitions; brokers, platform and load on the same machine`,
      peer: "its producer's defaults but for acks=all (and compression.type), JVM warm-up included",
      time: `${seconds} s after 1 s of warming up`,
    },
  };
}

function rates({ peer, tuned }: Awaited<ReturnType<typeof compared>>): Record<string, number> {
  return { [PEER]: rounded(peer.recordsPerSecond), [TUNED]: rounded(tuned.recordsPerSecond) };
}

async function compared(kafka: KafkaEndpoint, compression: "none" | "zstd", seconds: number) {
  const prefix = `bench-${compression}-${Date.now()}.`;
  const flags = [
    ...["--kafka-brokers", kafka.bootstrap, "--kafka-topic-prefix", prefix, "--kafka-compression", compression],
    ...["--partitions", String(PARTITIONS), ...FLUSHES_AWAY],
  ];
  const options = { connections: CONNECTIONS, eventsPerRequest: EVENTS_PER_REQUEST, durationMs: seconds * 1000 };
  const { door, cpuUsPerEvent } = await withPlatform(flags, async (platform) => {
    const before = await cpuSeconds(platform.pid);
    const door = await loadBeyond(platform, options);
    const usedS = (await cpuSeconds(platform.pid)) - before;
    return { door, cpuUsPerEvent: (usedS * 1e6) / (await accepted(platform)) };
  });
  const records = Math.round(Math.max(50_000, door.eventsPerSecond * seconds));
  const topic = `${prefix}telemetry`;
  const produce = (...settings: string[]) =>
    withFolder((dir) =>
      producerPerformance(kafka, dir, topic, records, [`compression.type=${compression}`, ...settings]),
    );
  const peer = await produce();
  const tuned = await produce("batch.size=1048576", "linger.ms=5");
  return { door, cpuUsPerEvent, peer, tuned };
}

/** Events that the door has taken, the load's warming up among them. */
async function accepted({ url, key }: Platform): Promise<number> {
  const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${key}` } });
  const counts = (await response.text()).matchAll(/^millrace_door_events_accepted_total\{[^}]*\} (\d+)$/gm);
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** What the tool that comes with Kafka says of its own producer. */
async function producerPerformance(
  { jars, bootstrap }: KafkaEndpoint,
  dir: string,
  topic: string,
  records: number,
  settings: readonly string[],
): Promise<{ recordsPerSecond: number; averageMs: number; p99Ms: number }> {
  const payloads = join(dir, "payloads.ndjson");
  await writeFile(payloads, new TelemetryEvents({ sender: 9 }).ndjson(PAYLOADS));
  const tool = ["-Xmx512m", "-cp", join(jars, "*"), "org.apache.kafka.tools.ProducerPerformance"];
  const what = ["--topic", topic, "--num-records", String(records), "--throughput", "-1", "--payload-file", payloads];
  const producer = [`bootstrap.servers=${bootstrap}`, "acks=all", ...settings];
  const child = spawn("java", [...tool, ...what, "--producer-props", ...producer], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
  const [code] = (await once(child, "close")) as [number | null];
  const summary = /^(\d+) records sent, ([\d.]+) records\/sec .*?([\d.]+) ms avg latency.* ([\d.]+) ms 99th/m.exec(
    said.split("\n").findLast((line) => line.includes("99th")) ?? "",
  );
  if (code !== 0 || !summary) throw new Error(`kafka-producer-perf-test ended with ${code}: ${said.slice(-1_000)}`);
  return { recordsPerSecond: Number(summary[2]), averageMs: Number(summary[3]), p99Ms: Number(summary[4]) };
}
