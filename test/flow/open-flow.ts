/** A flow over real parts in a temporary folder, without the HTTP door: events are appended to the log directly. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pino } from "pino";
import { loadProject } from "../../src/define/load-project.ts";
import { openDuckdbEngine } from "../../src/engine/duckdb-engine.ts";
import type { GeoDatabase } from "../../src/engine/geo-database.ts";
import { Flow, type FlowOptions } from "../../src/flow/flow.ts";
import { openFsStore } from "../../src/lake/fs-store.ts";
import { openEmbeddedLog } from "../../src/log/embedded-log.ts";
import { featureTables } from "../../src/platform/features.ts";

export const DAY_MS = 86_400_000;

export async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "millrace-flow-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) };
}

export interface OpenFlowOptions {
  /** One of `projects/`, or the path of a folder. */
  project?: string;
  clock?: () => number;
  flushIntervalMs?: number;
  flushBytes?: number;
  partitions?: number;
  /** Of files that tables no longer need. */
  retentionMs?: number;
  segmentBytes?: number;
  /** What `locate_ip` reads. */
  geo?: GeoDatabase;
  published?: FlowOptions["published"];
  publishAgain?: FlowOptions["publishAgain"];
  reactions?: FlowOptions["reactions"];
}

/** Flushes and refreshes happen only when a test asks, unless it sets an interval. */
export async function openFlow(dir: string, options: OpenFlowOptions = {}) {
  const clock = options.clock ?? Date.now;
  const engine = await openDuckdbEngine({
    memoryBytes: 1024 ** 3,
    threads: 2,
    tempDir: join(dir, "tmp"),
    allowedDirs: [dir],
    geo: options.geo,
  });
  const project = await loadProject(
    resolve(import.meta.dirname, "projects", options.project ?? "shop"),
    engine.inspector,
  );
  const log = await openEmbeddedLog({
    dir: join(dir, "log"),
    segmentBytes: options.segmentBytes ?? 1 << 20,
    retentionMs: 7 * DAY_MS,
    clock,
  });
  const store = await openFsStore(join(dir, "lake"));
  const flow = await Flow.open({
    project,
    log,
    engine,
    store,
    dataDir: dir,
    flushIntervalMs: options.flushIntervalMs ?? 3_600_000,
    flushBytes: options.flushBytes ?? 64 << 20,
    maxEventBytes: 1 << 20,
    refreshDebounceMs: 3_600_000,
    retentionMs: options.retentionMs ?? 7 * DAY_MS,
    horizonMs: 7 * DAY_MS,
    partitions: options.partitions ?? 1,
    logger: pino({ level: "silent" }),
    clock,
    virtual: featureTables(project),
    ...(options.published && { published: options.published }),
    ...(options.reactions && { reactions: options.reactions }),
    ...(options.publishAgain && { publishAgain: options.publishAgain }),
  });

  const append = (stream: string, events: readonly unknown[], source = "test") => {
    const payload = Buffer.from(events.map((e) => `${typeof e === "string" ? e : JSON.stringify(e)}\n`).join(""));
    return log.append(stream, 0, { payload, count: events.length, source });
  };

  /** Rows as a query sees them; `names` are what the SQL reads. */
  const query = async (sql: string, names: readonly string[], reach: "acknowledged" | "committed" = "acknowledged") => {
    const { inputs, release } = await flow.resolve(
      names.map((name) => ({ name })),
      reach,
    );
    try {
      const result = await engine.query({ sql, inputs });
      const rows: unknown[][] = [];
      for await (const batch of result.batches) rows.push(...batch);
      return rows;
    } finally {
      release();
    }
  };

  let open = true;
  const end = async (drain: boolean) => {
    if (!open) return;
    open = false;
    await flow.close({ drain });
    await log.close();
    await engine.close();
  };

  return {
    flow,
    log,
    engine,
    project,
    append,
    query,
    /** Ends without storing what is only in the log, as a crash would. */
    crash: () => end(false),
    close: () => end(true),
    [Symbol.asyncDispose]: () => end(false),
  };
}
