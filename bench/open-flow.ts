/** A flow over real parts in a folder, fed through the log directly: what a flush costs without the door in front of it. */
import { join } from "node:path";
import { pino } from "pino";
import { loadProject } from "../src/define/load-project.ts";
import { type DuckdbEngine, openDuckdbEngine } from "../src/engine/duckdb-engine.ts";
import { Flow } from "../src/flow/flow.ts";
import { openFsStore } from "../src/lake/fs-store.ts";
import { openEmbeddedLog } from "../src/log/embedded-log.ts";
import type { EventLog } from "../src/log/event-log.ts";
import { TelemetryEvents } from "./telemetry.ts";

const HOUR_MS = 3_600_000;
const EVENTS_PER_APPEND = 2_000;

export class BenchFlow {
  readonly dir: string;
  readonly engine: DuckdbEngine;
  readonly #log: EventLog;
  readonly #maker = new TelemetryEvents();
  #flow: Flow | undefined;

  private constructor(dir: string, engine: DuckdbEngine, log: EventLog) {
    this.dir = dir;
    this.engine = engine;
    this.#log = log;
  }

  static async open(dir: string): Promise<BenchFlow> {
    const engine = await openDuckdbEngine({
      memoryBytes: 512 * 1024 * 1024,
      threads: 2,
      tempDir: join(dir, "tmp"),
      allowedDirs: [dir],
    });
    const log = await openEmbeddedLog({ dir: join(dir, "log"), segmentBytes: 128 << 20, retentionMs: 168 * HOUR_MS });
    await log.open("telemetry");
    return new BenchFlow(dir, engine, log);
  }

  get flow(): Flow {
    if (this.#flow === undefined) throw new Error("the flow is not open");
    return this.#flow;
  }

  get lakeRoot(): string {
    return join(this.dir, "lake");
  }

  /** It flushes when asked to, and by itself once 64 MiB wait for it. */
  async openFlow(): Promise<void> {
    this.#flow = await Flow.open({
      project: await loadProject(join(import.meta.dirname, "project"), this.engine.inspector),
      log: this.#log,
      engine: this.engine,
      store: await openFsStore(this.lakeRoot),
      dataDir: this.dir,
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
  }

  async closeFlow(): Promise<void> {
    await this.#flow?.close({ drain: false });
    this.#flow = undefined;
  }

  /** Puts new events into the log. */
  async append(count: number): Promise<void> {
    for (let left = count; left > 0; left -= EVENTS_PER_APPEND) {
      const batch = Math.min(EVENTS_PER_APPEND, left);
      await this.#log.append("telemetry", 0, { payload: this.#maker.ndjson(batch), count: batch, source: "bench" });
    }
  }

  /** Milliseconds to store all that is in the log. */
  async timedFlush(): Promise<number> {
    const startedMs = performance.now();
    await this.flow.flush(["telemetry"]);
    return performance.now() - startedMs;
  }

  async close(): Promise<void> {
    await this.closeFlow();
    await this.#log.close();
    await this.engine.close();
  }
}
