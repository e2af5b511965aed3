/** A flow over real parts in a folder, fed through the log directly: what a flush costs without the door in front of it. */
import { join } from "node:path";
import { pino } from "pino";
import { loadProject } from "../src/define/load-project.ts";
import { openDuckdbEngine } from "../src/engine/duckdb-engine.ts";
import { Flow } from "../src/flow/flow.ts";
import { openFsStore } from "../src/lake/fs-store.ts";
import { openEmbeddedLog } from "../src/log/embedded-log.ts";

const HOUR_MS = 3_600_000;

/** Flushes happen only when asked for. */
export async function openBenchFlow(dir: string) {
  const engine = await openDuckdbEngine({
    memoryBytes: 512 * 1024 * 1024,
    threads: 2,
    tempDir: join(dir, "tmp"),
    allowedDirs: [dir],
  });
  const project = await loadProject(join(import.meta.dirname, "project"), engine.inspector);
  const log = await openEmbeddedLog({ dir: join(dir, "log"), segmentBytes: 128 << 20, retentionMs: 168 * HOUR_MS });
  const flow = await Flow.open({
    project,
    log,
    engine,
    store: await openFsStore(join(dir, "lake")),
    lakeRoot: join(dir, "lake"),
    dataDir: dir,
    flushIntervalMs: 24 * HOUR_MS,
    flushBytes: 64 * 1024 * 1024,
    maxEventBytes: 1 << 20,
    refreshDebounceMs: HOUR_MS,
    retentionMs: 168 * HOUR_MS,
    horizonMs: 168 * HOUR_MS,
    partitions: 1,
    logger: pino({ level: "error" }),
    clock: Date.now,
  });
  const close = async () => {
    await flow.close({ drain: false });
    await log.close();
    await engine.close();
  };
  return { flow, log, engine, close };
}
