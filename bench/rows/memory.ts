import { setTimeout as sleep } from "node:timers/promises";
import { descendantsBytes, load, residentBytes, type Server, withBareDoor, withPlatform } from "../processes.ts";
import { rounded } from "../quantities.ts";
import type { Measurement } from "../results.ts";
import { EVENT_BYTES } from "../telemetry.ts";

const LOAD = { connections: 16, eventsPerRequest: 100 };
const SETTLE_MS = 3_000;
const EVERY_MS = 100;

/** Resident memory of a fresh platform, and its highest while as much comes in as goes in. */
export async function measure(seconds: number): Promise<Measurement> {
  const [platform, bare] = [
    await withPlatform([], (server) => measured(server, seconds)),
    await withBareDoor((server) => measured(server, seconds / 4)),
  ];
  const peers = { idle: { [PEER]: bare.idle.node }, ingest: { [PEER]: bare.ingest.node } };
  return {
    figures: {
      idle: { value: platform.idle.all, peers: peers.idle },
      ingest: { value: platform.ingest.all, peers: peers.ingest },
      idleNode: { value: platform.idle.node, peers: peers.idle },
      ingestNode: { value: platform.ingest.node, peers: peers.ingest },
    },
    conditions: {
      events: `${EVENT_BYTES} bytes, ${rounded(platform.eventsPerSecond)} a second acknowledged`,
      batch: `${LOAD.eventsPerRequest} events a request, ${LOAD.connections} connections`,
      fsync: "fdatasync before every answer",
      time: `idle: ${SETTLE_MS / 1000} s after the ready line; ingest: the highest of a sample every ${EVERY_MS} ms for ${seconds} s`,
      counted: "resident pages of the platform, and for PostgreSQL's processes their proportional share (Pss)",
    },
  };
}

const PEER = "a node:http server that only reads the body, same load";

async function measured(server: Server, seconds: number) {
  await sleep(SETTLE_MS);
  const idle = await sample(server.pid);
  const loading = load(server, { ...LOAD, durationMs: seconds * 1000 });
  let running = true;
  const ended = loading.finally(() => {
    running = false;
  });
  const ingest = { all: 0, node: 0 };
  while (running) {
    const now = await sample(server.pid);
    ingest.all = Math.max(ingest.all, now.all);
    ingest.node = Math.max(ingest.node, now.node);
    await sleep(EVERY_MS);
  }
  return { idle, ingest, eventsPerSecond: (await ended).eventsPerSecond };
}

async function sample(pid: number): Promise<{ all: number; node: number }> {
  const node = await residentBytes(pid);
  const others = await descendantsBytes(pid);
  return { node: Math.round(node / 1e6), all: Math.round((node + others) / 1e6) };
}
