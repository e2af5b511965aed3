/** How this process does, and the disk it stands on. */
import type { Dirent } from "node:fs";
import { readdir, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Registry } from "prom-client";
import type { DiskView, ProcessView, SystemView } from "../serve/system-route.ts";
import { latencies } from "./latencies.ts";

export interface SystemParts {
  /** The data folder. */
  readonly dir: string;
  /** What is kept elsewhere than in the data folder. */
  readonly elsewhere: { readonly log: boolean; readonly lake: boolean; readonly state: boolean };
  readonly registry: Registry;
  readonly startedAtMs: number;
  readonly clock: () => number;
}

export interface System {
  view(): Promise<SystemView>;
  process(): ProcessView;
  close(): void;
}

const NS_PER_MS = 1e6;
const LOOP_WINDOW_MS = 60_000;
const DISK_EVERY_MS = 60_000;

export function openSystem(parts: SystemParts): System {
  const { dir, registry, startedAtMs, clock } = parts;
  const loop = eventLoopWatch();
  const cpu = cpuMeter();
  let disk: Promise<DiskView> | undefined;
  let diskAtMs = Number.NEGATIVE_INFINITY;
  const measured = () => {
    const now = clock();
    if (disk === undefined || now - diskAtMs >= DISK_EVERY_MS || now < diskAtMs) {
      diskAtMs = now;
      disk = measureDisk(dir, parts.elsewhere, now);
      // What could not be read is tried again with the next look, and the look that met it says so.
      disk.catch(() => {
        disk = undefined;
      });
    }
    return disk;
  };
  const process = (): ProcessView => {
    const { rss, heapUsed, heapTotal, external } = globalThis.process.memoryUsage();
    const memory = {
      ...{ residentBytes: rss, heapUsedBytes: heapUsed, heapTotalBytes: heapTotal, externalBytes: external },
      availableBytes: globalThis.process.availableMemory(),
    };
    return { pid: globalThis.process.pid, startedAtMs, cpu: cpu(), memory, eventLoop: loop.view() };
  };
  return {
    process,
    view: async () => ({ process: process(), disk: await measured(), latencies: await latencies(registry) }),
    close: () => loop.close(),
  };
}

/** Delays of the last half minute to minute: two histograms that are begun anew in turn. */
function eventLoopWatch() {
  // The histogram counts the time between its own ticks: what is beyond the resolution was late.
  const RESOLUTION_MS = 10;
  const begin = () => {
    const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    histogram.enable();
    return { histogram, sinceMs: performance.now() };
  };
  let older = begin();
  let newer = older;
  const turn = setInterval(() => {
    if (older !== newer) older.histogram.disable();
    older = newer;
    newer = begin();
  }, LOOP_WINDOW_MS / 2).unref();
  const late = (ns: number) => Math.max(0, Math.round((ns / NS_PER_MS - RESOLUTION_MS) * 100) / 100);
  return {
    view(): ProcessView["eventLoop"] {
      const { histogram, sinceMs } = older;
      const overMs = Math.round(performance.now() - sinceMs);
      if (histogram.count === 0) return { p50Ms: 0, p99Ms: 0, maxMs: 0, overMs };
      const at = (percent: number) => late(histogram.percentile(percent));
      return { p50Ms: at(50), p99Ms: at(99), maxMs: late(histogram.max), overMs };
    },
    close() {
      clearInterval(turn);
      older.histogram.disable();
      newer.histogram.disable();
    },
  };
}

/** Looks that follow each other closely are told the same. */
function cpuMeter(): () => number {
  let before = process.cpuUsage();
  let atMs = performance.now();
  let cores = 0;
  return () => {
    const elapsedMs = performance.now() - atMs;
    if (elapsedMs < 500) return cores;
    const { user, system } = process.cpuUsage(before);
    cores = Math.round(((user + system) / 1000 / elapsedMs) * 100) / 100;
    before = process.cpuUsage();
    atMs += elapsedMs;
    return cores;
  };
}

async function measureDisk(dir: string, elsewhere: SystemParts["elsewhere"], nowMs: number): Promise<DiskView> {
  const { bsize, blocks, bavail } = await statfs(dir);
  const used: { -readonly [Part in keyof DiskView["used"]]: DiskView["used"][Part] } = {
    ...{ log: elsewhere.log ? null : 0, lake: elsewhere.lake ? null : 0, state: elsewhere.state ? null : 0, other: 0 },
  };
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const bytes = await entryBytes(dir, entry);
    const part = PARTS[entry.name];
    if (part === undefined || used[part] === null) used.other += bytes;
    else used[part] += bytes;
  }
  return { totalBytes: blocks * bsize, freeBytes: bavail * bsize, used, measuredAtMs: nowMs };
}

/** What the parts keep their things in. */
const PARTS: Readonly<Record<string, "log" | "lake" | "state">> = { log: "log", lake: "lake", postgres: "state" };

/** Bytes that a file, or all files of a folder, take on the disk. What goes meanwhile is gone. */
async function entryBytes(dir: string, entry: Dirent): Promise<number> {
  const path = join(dir, entry.name);
  if (entry.isFile()) return ((await stat(path).catch(gone))?.blocks ?? 0) * 512;
  if (!entry.isDirectory()) return 0;
  let bytes = 0;
  for (const inner of (await readdir(path, { withFileTypes: true }).catch(gone)) ?? [])
    bytes += await entryBytes(path, inner);
  return bytes;
}

function gone(error: NodeJS.ErrnoException): undefined {
  if (error.code === "ENOENT") return undefined;
  throw error;
}
